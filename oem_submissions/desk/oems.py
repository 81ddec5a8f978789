"""The release gate per OEM: where it stands, its dots, what reset them, how the release runs; and what people do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.operating import Act, NotPossible
from oem_submissions.desk.room import Room, outcome_in_words, posting, see_other, text_field
from oem_submissions.domain.breaker import Position
from oem_submissions.domain.charts import cusum_chart, seconds_chart
from oem_submissions.domain.gate import NEEDED, Judgement, Streak, Verdict
from oem_submissions.domain.releases import FILES, Release, ReleaseState
from oem_submissions.services.drifting import Drift
from oem_submissions.services.release_report import ReleaseReport

PROBES = 10
ROWS = 30
"""Of the table beside a chart: the newest runs."""
_DONE = {
    Act.APPROVE: "The release is approved in your name; it goes live within seconds.",
    Act.SUSPEND: "Nothing more is filed for this OEM. Probes go on.",
    Act.RESUME: "It is filed for again; the next batch is probed first.",
    Act.ROLLBACK: "The earlier release files again, from now on.",
    Act.REBASELINE: "The baseline begins anew with the next run.",
    "breaker": "It is tried again; the next log-in or claim shows whether it works.",
}
_TONES = {
    ReleaseState.LIVE: "good",
    ReleaseState.VERIFYING: "plain",
    ReleaseState.DEGRADED: "held",
    ReleaseState.SUSPENDED: "bad",
}


@dataclass(frozen=True)
class Action:
    """Something that an operator may do about a release, in words."""

    act: Act
    title: str
    button: str
    happens: str


ACTIONS = {
    Act.APPROVE: Action(
        Act.APPROVE, "Approve the release", "Approve it",
        "The release that has passed its gate goes live: every dealer’s claims are filed with it from then on.",
    ),
    Act.SUSPEND: Action(
        Act.SUSPEND, "Suspend filing", "Suspend it",
        "Nothing more is filed for this OEM, with any release, until somebody resumes it. Claims wait; probes go on.",
    ),
    Act.RESUME: Action(
        Act.RESUME, "Resume filing", "Resume it",
        "Whatever suspended it is taken back: claims that waited are filed. The next batch is probed first.",
    ),
    Act.ROLLBACK: Action(
        Act.ROLLBACK, "Roll back", "Roll back",
        "The release that was live before takes the place of the one that is, at once, for every dealer.",
    ),
    Act.REBASELINE: Action(
        Act.REBASELINE, "Begin the baseline anew", "Begin anew",
        "Times and successes so far no longer count; the next runs make the new baseline. An alarm of drift is closed.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Dot:
    """One of the streak's dots."""

    clean: bool
    run_id: str | None
    text: str


def dots_of(streak: Streak) -> list[Dot]:
    """The last clean runs in a row, oldest first, then the ones that are still needed."""
    row: list[Judgement] = []
    for judged in reversed(streak.judgements):
        if judged.verdict is Verdict.UNCLEAN or len(row) == min(streak.count, NEEDED):
            break
        if judged.verdict is Verdict.CLEAN:
            row.append(judged)
    clean = [Dot(True, j.run.run_id, f"clean run of dealer {j.run.dealer}, {j.run.period}") for j in reversed(row)]
    return clean + [Dot(False, None, "still needed")] * (NEEDED - len(clean))


def possible(report: ReleaseReport | None, releases: list[Release]) -> list[Action]:
    """What makes sense now; whether it can be done is the service's word."""
    if report is None:
        return []
    acts = [Act.RESUME] if any(release.state is ReleaseState.SUSPENDED for release in releases) else []
    acts += [Act.SUSPEND] if any(release.state in FILES for release in releases) else []
    if report.release.is_verifying and report.streak.opens:
        acts.insert(0, Act.APPROVE)
    if sum(1 for release in releases if any(entry.note == "promoted" for entry in release.log)) > 1:
        acts.append(Act.ROLLBACK)
    return [ACTIONS[act] for act in [*acts, Act.REBASELINE]]


class Oems(Room):
    """`/oems`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [
            Route("/oems", self.listed),
            Route("/oems/{oem}", self.one),
            Route("/oems/{oem}/breaker", self.ask_breaker, methods=["GET"]),
            posting("/oems/{oem}/breaker", self.reset_breaker),
            Route("/oems/{oem}/{act}", self.ask, methods=["GET"]),
            posting("/oems/{oem}/{act}", self.act),
        ]

    def listed(self, request: Request) -> Response:
        """Every OEM, a line each."""
        lines = [self.operating.gate_line(oem) for oem in self.operating.oems()]
        dots = {line.oem: dots_of(line.streak) if line.streak else [] for line in lines}
        return self.page(request, "oems.html.j2", lines=lines, dots=dots, tones=_TONES, positions=Position)

    def one(self, request: Request) -> Response:
        """One OEM's gate, or an earlier release of it."""
        oem, asked = self._oem(request), request.query_params.get("release", "")
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 18 else None
        report, releases = self.operating.report(oem, number), self.reader.releases(oem)
        if number is not None and report is None:
            raise HTTPException(404, f"{oem} has no such release.")
        line = self.operating.gate_line(oem)
        return self.page(
            request, "oem.html.j2", oem=oem, line=line, report=report, releases=releases, tones=_TONES,
            dots=dots_of(report.streak) if report else [], verdicts=Verdict, positions=Position,
            probes=self.reader.probes(oem, PROBES), actions=possible(report, releases),
            charts=_charts(report.drift) if report else None, done=outcome_in_words(request, _DONE),
            accounts=[breaker for breaker in self.reader.breakers() if breaker.oem == oem and breaker.dealer],
        )  # fmt: skip

    def ask(self, request: Request) -> Response:
        """What the action would do, and why it is wanted."""
        return self._ask(request, self._oem(request), self._action(request), "")

    def _ask(self, request: Request, oem: str, action: Action, refusal: str, status: int = 200) -> Response:
        line = self.operating.gate_line(oem)
        return self.page(request, "gate_act.html.j2", status, oem=oem, line=line, action=action, refusal=refusal)

    def act(self, request: Request, form: FormData, name: str) -> Response:
        """Do it, in the operator's name."""
        oem, action, why = self._oem(request), self._action(request), text_field(form, "why")
        if not why:
            return self._ask(request, oem, action, "Say why: it stands in the release’s log for ever.", 422)
        try:
            self.operating.act(oem, action.act, name, why)
        except NotPossible as refused:
            return self._ask(request, oem, action, f"{refused} Nothing was changed.", 409)
        return see_other(f"/oems/{quote(oem)}", done=action.act)

    def ask_breaker(self, request: Request) -> Response:
        """What giving a portal or an account free would do."""
        return self._ask_breaker(request, self._oem(request), request.query_params.get("dealer") or None, "")

    def _ask_breaker(self, request: Request, oem: str, dealer: str | None, refusal: str, status: int = 200) -> Response:
        mine = [b for b in self.reader.breakers() if (b.oem, b.dealer) == (oem, dealer)]
        refusal = refusal or ("" if mine else "Nothing is left alone there any more.")
        breaker = mine[0] if mine else None
        return self.page(request, "breaker.html.j2", status, oem=oem, dealer=dealer, breaker=breaker, refusal=refusal)

    def reset_breaker(self, request: Request, form: FormData, name: str) -> Response:
        """Give it free, in the operator's name."""
        oem, dealer = self._oem(request), text_field(form, "dealer") or None
        try:
            self.operating.reset_breaker(oem, dealer, name)
        except NotPossible as refused:
            return self._ask_breaker(request, oem, dealer, str(refused), 409)
        return see_other(f"/oems/{quote(oem)}", done="breaker")

    def _oem(self, request: Request) -> str:
        oem = str(request.path_params["oem"])
        if oem not in self.operating.oems():
            raise HTTPException(404, "There is no OEM of this name here.")
        return oem

    @staticmethod
    def _action(request: Request) -> Action:
        act = request.path_params["act"]
        if act not in set(Act):
            raise HTTPException(404, "There is no such page.")
        return ACTIONS[Act(act)]


@dataclass(frozen=True)
class Charts:
    """A release's runs as pictures, with the same figures for those who can't see them, newest first."""

    seconds: Markup
    successes: Markup
    timed: list[tuple[int, str, float]]
    """(number, run id, seconds)."""
    outcomes: list[tuple[int, bool]]
    """(number, whether it went well)."""


def _charts(drift: Drift) -> Charts:
    timed = [(n, m.run_id, s) for n, (m, s) in enumerate(zip(drift.timed, drift.seconds, strict=True), 1)]
    return Charts(
        Markup(seconds_chart(drift.seconds, "Seconds to submit a claim, by run")),  # noqa: S704 - it escapes its texts
        Markup(cusum_chart(drift.success, "Failures against the service level (CUSUM), by run")),  # noqa: S704 - likewise
        timed[::-1][:ROWS],
        list(enumerate(drift.outcomes, 1))[::-1][:ROWS],
    )
