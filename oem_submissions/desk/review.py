"""Claims held for a person: the list, everything that a verdict needs on one page, and the three verdicts.

A verdict is given in two steps: first it is checked and what will happen is shown, then it is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.pages import shots_of
from oem_submissions.desk.room import Room, posting, see_other, text_field
from oem_submissions.desk.story import tell
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import HELD, State
from oem_submissions.services.review import Verdict, VerdictRefused

SHOWN = 200
_LAST_LINES = 6
"""Of the story, on the page where a verdict is given."""
_NOTHING_CHANGED = "Nothing was changed."


@dataclass(frozen=True)
class Given:
    """A verdict as it was typed."""

    verdict: Verdict
    why: str
    reference: str
    version: int
    """Of the claim that the person looked at."""


class Review(Room):
    """`/review`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [
            Route("/review", self.listed),
            Route("/review/{claim_id}", self.one),
            posting("/review/{claim_id}", self.check),
            posting("/review/{claim_id}/verdict", self.carry_out),
        ]

    def listed(self, request: Request) -> Response:
        """Claims that need a verdict, then those that are still looked up."""
        needs = self.reader.held_claims([State.NEEDS_REVIEW], SHOWN)
        waits = self.reader.held_claims(HELD - {State.NEEDS_REVIEW}, SHOWN)
        hours = timedelta(hours=self.operating.look_hours)
        until = {held.claim.claim_id: held.clicked_at + hours for held in waits if held.clicked_at is not None}
        now = datetime.now(UTC)
        return self.page(request, "review.html.j2", needs=needs, waits=waits, until=until, most=SHOWN, now=now)

    def one(self, request: Request) -> Response:
        """Everything that a verdict needs."""
        return self._one(request, self.known_claim(request), None, "")

    def _one(self, request: Request, claim: Claim, given: Given | None, refusal: str, status: int = 200) -> Response:
        events = self.reader.events(claim.claim_id)
        return self.page(
            request, "verdict.html.j2", status, claim=claim, pictures=shots_of(self.reader.artifacts(claim.claim_id)),
            lines=tell(events)[-_LAST_LINES:], attempts=self.reader.attempts(claim.claim_id), given=given,
            refusal=refusal, open=claim.state is State.NEEDS_REVIEW, verdicts=Verdict,
        )  # fmt: skip

    def check(self, request: Request, form: FormData, name: str) -> Response:
        """What will happen; nothing has yet."""
        claim, given = self.known_claim(request), _given(form)
        if moved := _moved(claim, given):
            return self._one(request, claim, None, moved, 409)
        try:
            reference = self.operating.verdict_preview(claim, given.verdict, name, given.why, given.reference or None)
        except VerdictRefused as refused:
            return self._one(request, claim, given, f"{refused} {_NOTHING_CHANGED}", 422)
        return self._confirm(request, claim, given, reference, "")

    def _confirm(
        self, request: Request, claim: Claim, given: Given, reference: Reference | None, refusal: str,
        status: int = 200,
    ) -> Response:  # fmt: skip
        must = given.verdict is Verdict.FILED and self.operating.needs_picture(claim)
        return self.page(
            request, "verdict_confirm.html.j2", status, claim=claim, given=given, reference=reference,
            needs_picture=must, refusal=refusal, verdicts=Verdict,
        )  # fmt: skip

    def carry_out(self, request: Request, form: FormData, name: str) -> Response:
        """Record it, on the claim as the person saw it."""
        claim, given = self.known_claim(request), _given(form)
        if moved := _moved(claim, given):
            return self._one(request, claim, None, moved, 409)
        reference = given.reference or None
        try:
            picture = _picture(form)
            self.operating.give_verdict(claim, given.verdict, name, given.why, reference, picture)
        except StateConflict:
            now = self.reader.claim(claim.claim_id) or claim
            return self._one(request, now, None, _faster(now), 409)
        except VerdictRefused as refused:
            return self._refused(request, claim, given, name, f"{refused} {_NOTHING_CHANGED}")
        return see_other(f"/claims/{quote(claim.claim_id)}", done=given.verdict)

    def _refused(self, request: Request, claim: Claim, given: Given, name: str, why: str) -> Response:
        """Back to the page that can mend it: of the picture here, of everything else where it was typed."""
        try:
            reference = self.operating.verdict_preview(claim, given.verdict, name, given.why, given.reference or None)
        except VerdictRefused:
            return self._one(request, claim, given, why, 422)
        return self._confirm(request, claim, given, reference, why, 422)


def _given(form: FormData) -> Given:
    """Raises `HTTPException` 400 when the form is none of ours."""
    version = text_field(form, "version")
    try:
        verdict = Verdict(text_field(form, "verdict"))
        return Given(verdict, text_field(form, "why"), text_field(form, "reference", 200), int(version))
    except ValueError as error:
        raise HTTPException(
            400, "Choose one of the three verdicts, on the claim’s page. Nothing was changed."
        ) from error


def _picture(form: FormData) -> bytes | None:
    """The uploaded picture; None when none was chosen. The body's limit bounds it."""
    upload = form.get("picture")
    return (upload.file.read() or None) if isinstance(upload, UploadFile) else None


def _moved(claim: Claim, given: Given) -> str:
    return "" if claim.version == given.version else _faster(claim)


def _faster(claim: Claim) -> str:
    return f"Somebody was faster: since you looked, this claim has moved. It is {claim.state} now. {_NOTHING_CHANGED}"
