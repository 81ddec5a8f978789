"""Log-ins that wait for a person: the list, and the page of one, on which its picture is clicked and typed into.

A picture is shown to the operator who took the log-in, and to nobody else. What is typed is in no address and no log:
the desk's log says who took a log-in, worked on it and gave it up, as of every form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.access import require_operator
from oem_submissions.desk.room import Room, outcome_in_words, posting, see_other, text_field
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.hand_over import TYPED, Click, Deed, HandOver, HandOverEnding, Key, Press, Typing

_ENDED: Mapping[HandOverEnding, str] = {
    HandOverEnding.SIGNED_IN: "The portal has signed in. The run goes on by itself: there is nothing more to do.",
    HandOverEnding.REFUSED: "The portal refused the log-in. Nobody logs in to this account again before you say so.",
    HandOverEnding.GIVEN_UP: "It was given up. Nobody logs in to this account again before you say so.",
    HandOverEnding.TIMED_OUT: "Its time is over. Nobody logs in to this account again before you say so.",
    HandOverEnding.BROKEN: "The page, the browser or its worker failed. The run’s log says why.",
}
_DONE = {"late": "This log-in is over, or somebody else has it. Nothing was done."}
_MOST = 100_000
"""Pixels, or pictures."""
_ID = re.compile(r"[0-9a-f]{16}")


class Helping(Protocol):
    """What a named person does about a log-in: `services.hand_over.HelpDesk`."""

    def take(self, hand_over_id: str, by: str) -> HandOver:
        """Have it from now on. Raises `StateConflict`."""
        ...

    def picture(self, hand_over_id: str, by: str) -> bytes | None:
        """The newest picture, a JPEG, for the person who has it."""
        ...

    def do(self, hand_over_id: str, by: str, picture: int, deeds: Sequence[Deed]) -> None:
        """Have the worker do it, and wait a little for what comes of it. Raises `StateConflict`."""
        ...

    def give_up(self, hand_over_id: str, by: str) -> None:
        """It can't be done. Raises `StateConflict`."""
        ...


@dataclass(frozen=True)
class HandOvers(Room):
    """`/hand-overs`."""

    helping: Helping

    def routes(self) -> list[Route]:
        """The room's addresses."""
        one = "/hand-overs/{hand_over_id:str}"
        return [
            Route("/hand-overs", self.listed),
            Route(one, self.one),
            Route(f"{one}/picture", self.picture),
            posting(f"{one}/take", self.take),
            posting(f"{one}/do", self.do),
            posting(f"{one}/give-up", self.give_up),
        ]

    def listed(self, request: Request) -> Response:
        """Those that wait, the oldest first."""
        return self.page(request, "hand_overs.html.j2", waiting=self.reader.open_hand_overs(), now=datetime.now(UTC))

    def one(self, request: Request) -> Response:
        """What it is about; for who has it, the page to work on."""
        known, user = self._known(request), require_operator(request)
        over = known.ended_at is not None or known.given_up_at is not None
        return self.page(
            request, "hand_over.html.j2", known=known, mine=known.taken_by == user.name and not over, over=over,
            ended=_ENDED[known.ending] if known.ending else "", keys=Key, typed=TYPED, now=datetime.now(UTC),
            note=outcome_in_words(request, _DONE),
        )  # fmt: skip

    def picture(self, request: Request) -> Response:
        """The newest one. Nobody's cache keeps it."""
        known, user = self._known(request), require_operator(request)
        picture = self.helping.picture(known.hand_over_id, user.name)
        if picture is None:
            raise HTTPException(404, "There is no picture: the log-in is over, or somebody else has it.")
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    def take(self, request: Request, form: FormData, name: str) -> Response:
        """The first who does has it."""
        return self._acted(request, lambda known: self.helping.take(known.hand_over_id, name))

    def do(self, request: Request, form: FormData, name: str) -> Response:
        """A click, some text, a key; then the page as it is after it."""
        picture, deeds = _number(form, "picture"), _deeds(form)
        return self._acted(request, lambda known: self.helping.do(known.hand_over_id, name, picture, deeds))

    def give_up(self, request: Request, form: FormData, name: str) -> Response:
        """The run ends as it does where nobody helps."""
        return self._acted(request, lambda known: self.helping.give_up(known.hand_over_id, name))

    def _acted(self, request: Request, act: Callable[[HandOver], object]) -> Response:
        known = self._known(request)
        try:
            act(known)
        except StateConflict:
            return see_other(f"/hand-overs/{known.hand_over_id}", done="late")
        return see_other(f"/hand-overs/{known.hand_over_id}")

    def _known(self, request: Request) -> HandOver:
        hand_over_id = request.path_params["hand_over_id"]
        known = self.reader.hand_over(hand_over_id) if _ID.fullmatch(hand_over_id) else None
        if known is None:
            raise HTTPException(404, "There is no such log-in.")
        return known


def _deeds(form: FormData) -> list[Deed]:
    """What one form says. Raises `HTTPException` 400 for what no form of ours does."""
    if "at.x" in form:
        return [Click(_number(form, "at.x"), _number(form, "at.y"))]
    try:
        if "key" in form:
            return [Press(Key(text_field(form, "key")))]
        text, then = text_field(form, "text", TYPED), text_field(form, "then")
        deeds: list[Deed] = [Typing(text)] if text else []
        deeds += [Press(Key(then))] if then else []
    except ValueError as error:
        raise HTTPException(400, "There is no such key. Nothing was done.") from error
    if not deeds or not text.isprintable():
        raise HTTPException(400, "Type a line of text. Nothing was done.")
    return deeds


def _number(form: FormData, name: str) -> int:
    text = text_field(form, name)
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
        raise HTTPException(400, "This is no point of the picture. Nothing was done.")
    return int(text)
