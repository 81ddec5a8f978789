"""A log-in that only a person gets through: the run asks, somebody at the desk takes it, both for a limited time.

What is shown and what is typed pass through the ledger encrypted, and are gone as soon as they were read, or it is
over. Here is who may do what, and until when; what happens in the browser is `portal.hand_over`'s.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.hand_over import Click, Deed, Done, HandOver, HandOverEnding, Key, Press, Typing
from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.ports import Attendance, Box, EvidenceUnavailable, Ledger, LedgerUnavailable, Vault

_log = logging.getLogger(__name__)
PREFIX = "person "
"""Of the alerts' keys."""
_PICTURE, _DEED = "picture", "deed"
_LOOK_SECONDS = 0.1


def alert_of(hand_over: HandOver) -> NewAlert:
    """What people are told while it is open. The pack's words are in it, and not the page's."""
    text = (
        f"The log-in to {hand_over.oem} of dealer {hand_over.dealer} needs a person until"
        f" {hand_over.deadline:%H:%M} UTC: {hand_over.asks}."
    )
    kind, where = AlertKind.PERSON_NEEDED, (hand_over.oem, hand_over.dealer)
    return NewAlert(f"{PREFIX}{hand_over.hand_over_id}", kind, text, *where, hand_over.run_id, count=1)


def people_needed(ledger: Ledger) -> list[NewAlert]:
    """Of every hand-over that is open; what died workers left is ended."""
    ledger.end_lost_hand_overs()
    return [alert_of(hand_over) for hand_over in ledger.open_hand_overs()]


# --- the worker ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunsHandOvers:
    """The `HandOvers` port of a run."""

    ledger: Ledger
    vault: Vault
    run_id: str
    minutes: float
    """The time box."""
    cadence: Callable[[str], Cadence]
    """By OEM: the time box ends where a window begins, in which nothing may be under way."""

    def begin(self, oem: str, dealer: str, asks: str) -> RunsHandOver:
        """Ask for a person. Raises `LedgerUnavailable`, `EvidenceUnavailable`: then nobody was asked.

        The run is no clean one from here on, whatever happens next.
        """
        self.ledger.note_trouble(self.run_id, "log in", f"a person was asked for help: {asks}")
        now = self.ledger.now()
        window = self.cadence(oem).next_window(now)
        longest = timedelta(minutes=self.minutes)
        seconds = min(longest, window[1] - now if window else longest).total_seconds()
        hand_over_id, began = token_hex(8), time.monotonic()
        key, box = self.vault.new(_name(hand_over_id))
        opened = self.ledger.open_hand_over(hand_over_id, oem, dealer, self.run_id, asks, seconds, key)
        self.ledger.raise_alert(alert_of(opened))
        _log.warning("A person is asked for, at the desk's /hand-overs/%s: %s", hand_over_id, asks)
        return RunsHandOver(self.ledger, opened, box, began + seconds)


class RunsHandOver:
    """The `OpenHandOver` port on the ledger."""

    def __init__(self, ledger: Ledger, opened: HandOver, box: Box, ends: float) -> None:
        """`ends` by the monotonic clock: the ledger's own can't be asked while it is away."""
        self._ledger, self._known, self._box, self._ends = ledger, opened, box, ends
        self._picture, self._away = 0, False
        self.minutes = (opened.deadline - opened.opened_at).total_seconds() / 60

    def show(self, site: str, picture: bytes) -> int:
        """Show the page as it looks now; the picture's number."""
        try:
            number = self._ledger.show(self._known.hand_over_id, site, self._box.seal(_PICTURE, picture))
        except LedgerUnavailable as error:
            _log.info("The log-in's picture was not shown: %s", error)
            number = None
        self._picture = number or self._picture
        return self._picture

    def attendance(self) -> Attendance:
        """What the person did since it was asked last, and whether anybody still helps."""
        sealed: list[tuple[int, bytes]] = []
        try:
            self._known, sealed = self._ledger.read_deeds(self._known.hand_over_id)
        except LedgerUnavailable as error:
            if not self._away:
                _log.warning("What the person did can't be read: %s", error)
            self._away = True
        else:
            self._away = False
        done = tuple(Done(picture, _deed_of(self._box.open(_DEED, piece))) for picture, piece in sealed)
        over = None
        if self._known.given_up_at is not None:
            over = HandOverEnding.GIVEN_UP
        elif self._known.ended_at is not None or time.monotonic() >= self._ends:
            over = HandOverEnding.TIMED_OUT
        return Attendance(done, self._known.taken_by, over)

    def end(self, ending: HandOverEnding) -> None:
        """It is over. While the ledger is away it ends by its deadline."""
        try:
            self._ledger.end_hand_over(self._known.hand_over_id, ending)
            self._ledger.resolve_alert(alert_of(self._known).key)
        except LedgerUnavailable as error:
            _log.warning("That the log-in is over could not be noted: %s", error)


# --- people -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HelpDesk:
    """What a named person does about a hand-over. The first who takes it has it."""

    ledger: Ledger
    vault: Vault

    def take(self, hand_over_id: str, by: str) -> HandOver:
        """Have it from now on. Raises `StateConflict` when somebody else was faster, or it is over."""
        if (taken := self.ledger.take_hand_over(hand_over_id, by)) is None:
            raise StateConflict("This log-in is over, or somebody else has it.")
        return taken

    def picture(self, hand_over_id: str, by: str) -> bytes | None:
        """The newest picture, a JPEG, for the person who has it. Raises `EvidenceUnavailable`."""
        key, sealed = self.ledger.hand_over_key(hand_over_id, by), self.ledger.picture_shown(hand_over_id, by)
        if key is None or sealed is None:
            return None
        return self.vault.box(_name(hand_over_id), key).open(_PICTURE, sealed)

    def do(self, hand_over_id: str, by: str, picture: int, deeds: Sequence[Deed], patience: float = 4.0) -> None:
        """Have the worker do it, and wait a little until it shows what came of it.

        Raises `StateConflict` when it is not theirs, or over; `EvidenceUnavailable`.
        """
        if (key := self.ledger.hand_over_key(hand_over_id, by)) is None:
            raise StateConflict("This log-in is over, or somebody else has it.")
        box = self.vault.box(_name(hand_over_id), key)
        before = self._shown(hand_over_id)
        sealed = [box.seal(_DEED, _written(deed)) for deed in deeds]
        self.ledger.add_deeds(hand_over_id, by, picture, sealed)
        until = time.monotonic() + patience
        while self._shown(hand_over_id) == before and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def _shown(self, hand_over_id: str) -> tuple[int, bool]:
        known = self.ledger.hand_over(hand_over_id)
        return (known.picture, known.ended_at is None) if known else (0, False)

    def give_up(self, hand_over_id: str, by: str) -> None:
        """It can't be done. Raises `StateConflict` when it is not theirs, or over."""
        if not self.ledger.give_up_hand_over(hand_over_id, by):
            raise StateConflict("This log-in is over, or somebody else has it.")


def _name(hand_over_id: str) -> str:
    return f"hand-over {hand_over_id}"


def _written(deed: Deed) -> bytes:
    match deed:
        case Click(x, y):
            words: list[object] = ["click", x, y]
        case Typing(text):
            words = ["type", text]
        case Press(key):
            words = ["press", key]
    return json.dumps(words).encode()


def _deed_of(written: bytes) -> Deed:
    match json.loads(written):
        case ["click", int(x), int(y)]:
            return Click(x, y)
        case ["type", str(text)]:
            return Typing(text)
        case ["press", str(key)]:
            return Press(Key(key))
    raise EvidenceUnavailable("What a person did can't be read: the desk and the worker are of different versions.")
