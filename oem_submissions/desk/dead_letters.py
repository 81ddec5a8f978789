"""Dead letters: the list with its filters, and redriving, which first shows exactly which and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.room import Room, outcome_in_words, posting, see_other, text_field
from oem_submissions.domain.breaker import LOCKS
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.overview import Dead, DeadKind
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State

SHOWN = 200
AT_ONCE = 500
"""Claims that one press of a button redrives."""
_LONGEST = AT_ONCE * 130
_DONE = {
    "redriven": "{n} dead letters were sent round again; {lost} were moved by somebody else in the meantime, and left.",
}


@dataclass(frozen=True)
class Filter:
    """Which dead letters."""

    oem: str | None
    reason: ReasonCode | None
    pack: str | None

    @classmethod
    def of(cls, query: QueryParams) -> Filter:
        """As the address says. Raises `HTTPException` 404 for a reason that there is not."""
        reason = query.get("reason") or None
        if reason is not None and reason not in set(ReasonCode):
            raise HTTPException(404, f"There is no reason code ‘{reason}’.")
        return cls(query.get("oem") or None, ReasonCode(reason) if reason else None, query.get("pack") or None)

    @property
    def query(self) -> str:
        """As part of an address."""
        chosen = {"oem": self.oem, "reason": self.reason, "pack": self.pack}
        return urlencode({name: value for name, value in chosen.items() if value})

    def lets(self, kind: DeadKind) -> bool:
        """Whether dead letters of this kind are shown."""
        return (
            self.oem in (None, kind.oem)
            and self.reason in (None, kind.reason)
            and self.pack in (None, kind.pack)
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What redriving would do."""

    again: list[Dead]
    """Filed as if they had just come due."""
    looked_up: list[Dead]
    """Past the click: looked up in the portal's history, never filed again by this."""
    read_again: list[Dead]
    """No valid claims: their records are read again from the CRM."""
    accounts: list[tuple[str, str]]
    """That get one more log-in."""

    @property
    def letters(self) -> list[Dead]:
        """All of them."""
        return [*self.again, *self.looked_up, *self.read_again]

    @property
    def chosen(self) -> str:
        """What the form sends back: exactly these, as they stand."""
        return " ".join(f"{letter.claim.claim_id}:{letter.claim.version}" for letter in self.letters)


def plan_for(letters: Sequence[Dead]) -> Plan:
    """By what the ledger does with each."""
    records = [letter for letter in letters if letter.claim.natural_key is None]
    others = [letter for letter in letters if letter.claim.natural_key is not None]
    locked = {(letter.claim.oem, letter.claim.dealer) for letter in letters if letter.claim.reason in LOCKS}
    return Plan(
        [letter for letter in others if not letter.past_the_click],
        [letter for letter in others if letter.past_the_click],
        records,
        sorted(locked),
    )


class DeadLetters(Room):
    """`/dead-letters`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [
            Route("/dead-letters", self.listed),
            Route("/dead-letters/redrive", self.dry_run, methods=["GET"]),
            posting("/dead-letters/redrive", self.redrive),
        ]

    def listed(self, request: Request) -> Response:
        """Those of the filter, the newest first."""
        chosen, kinds = Filter.of(request.query_params), self.reader.dead_kinds()
        letters = self.reader.dead_lines(chosen.oem, chosen.reason, chosen.pack, SHOWN)
        count = sum(kind.claims for kind in kinds if chosen.lets(kind))
        return self.page(
            request, "dead_letters.html.j2", letters=letters, chosen=chosen, count=count, choices=_choices(kinds),
            reasons=_by_reason(kinds, chosen), done=outcome_in_words(request, _DONE),
        )  # fmt: skip

    def dry_run(self, request: Request) -> Response:
        """Exactly which would be redriven, and what would become of them. Changes nothing."""
        chosen, only = Filter.of(request.query_params), request.query_params.get("claim")
        letters = self.reader.dead_lines(chosen.oem, chosen.reason, chosen.pack, AT_ONCE)
        count = sum(kind.claims for kind in self.reader.dead_kinds() if chosen.lets(kind))
        if only:
            letters = self._one(only)
            count = len(letters)
        return self.page(request, "redrive.html.j2", plan=plan_for(letters), chosen=chosen, count=count)

    def _one(self, claim_id: str) -> list[Dead]:
        claim = self.reader.claim(claim_id)
        if claim is None or claim.state is not State.DEAD:
            raise HTTPException(404, "This claim is no dead letter (any more): look at its page.")
        attempts = self.reader.attempts(claim_id)
        pack = attempts[-1].pins.pack_version if attempts else None
        return [Dead(claim, len(attempts), pack, any(attempt.armed_at for attempt in attempts))]

    def redrive(self, _: Request, form: FormData, name: str) -> Response:
        """Send exactly those round again that were shown; one that has moved since is left alone."""
        redriven = lost = 0
        for claim_id, version in _chosen(form):
            claim = self.reader.claim(claim_id)
            if claim is not None and claim.version == version and self._redriven(claim, name):
                redriven += 1
            else:
                lost += 1
        return see_other("/dead-letters", done="redriven", n=redriven, lost=lost)

    def _redriven(self, claim: Claim, name: str) -> bool:
        try:
            self.operating.redrive(claim, name)
        except StateConflict:
            return False
        return True


def _chosen(form: FormData) -> list[tuple[str, int]]:
    """Raises `HTTPException` 400 when the form is none of ours."""
    pairs = [word.rpartition(":") for word in text_field(form, "claims", _LONGEST).split()]
    if not 0 < len(pairs) <= AT_ONCE or not all(version.isascii() and version.isdigit() for _, _, version in pairs):
        raise HTTPException(400, "Choose dead letters from their list first. Nothing was changed.")
    return [(claim_id, int(version)) for claim_id, _, version in pairs]


def _choices(kinds: Sequence[DeadKind]) -> Mapping[str, list[str]]:
    """What can be filtered by: what there is."""
    return {
        "oem": sorted({kind.oem for kind in kinds}),
        "reason": sorted({str(kind.reason) for kind in kinds if kind.reason}),
        "pack": sorted({kind.pack for kind in kinds if kind.pack}),
    }


def _by_reason(kinds: Sequence[DeadKind], chosen: Filter) -> list[tuple[ReasonCode, int]]:
    counts: Counter[ReasonCode] = Counter()
    for kind in kinds:
        if kind.reason is not None and chosen.lets(kind):
            counts[kind.reason] += kind.claims
    return counts.most_common()
