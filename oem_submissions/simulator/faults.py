"""The fault knobs: one table of names and what each does, and the faults that are set.

Where they bite is in `skin.py` and in the skins.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oem_submissions.simulator.database import Database


class FaultRefused(ValueError):
    """A fault that can't be set; the text says why in one sentence."""


@dataclass(frozen=True)
class Kind:
    """What a fault does, and how many seconds it lasts when nothing else is said."""

    does: str
    seconds: float | None = None


KINDS: dict[str, Kind] = {
    "slow": Kind("every matching answer of the portal is delayed by `seconds` (3)", seconds=3.0),
    "error_before_filing": Kind("the submit answers 500 and nothing is filed"),
    "error_after_filing": Kind("the claim is filed, then the submit answers 500"),
    "reset_before_filing": Kind("the submit's connection is reset (TCP RST) and nothing is filed"),
    "reset_after_filing": Kind("the claim is filed, then the submit's connection is reset (TCP RST)"),
    "lost_response": Kind("the claim is filed, but no answer comes until client or `seconds` (600) go", seconds=600.0),
    "maintenance": Kind("every page is a maintenance page, HTTP 503"),
    "login_refused": Kind("the log-in is refused although user and password are right"),
    "mfa": Kind("after the password a mailed code is asked for, which nobody has"),
    "puzzle": Kind("after the password a puzzle is asked: the red field of a picture, then the word that it shows"),
    "session_expired": Kind("the session is over at the matching request; with `seconds`, after so many idle seconds"),
    "session_elsewhere": Kind("the log-in finds another live session of the account"),
    "expired_at_submit": Kind("the session is over when the submit arrives, and nothing is filed"),
    "ended_elsewhere": Kind("the session is ended at the matching request, because the account signed in elsewhere"),
    "wrong_dealer": Kind("the pages show another dealer code than the account's"),
    "closes_connections": Kind("every answer ends its connection, so that the browser opens one ahead of need"),
    "renamed_label": Kind("a label of the form reads differently"),
    "moved_button": Kind("the submit button stands somewhere else on the page"),
    "new_required_field": Kind("the form has a required field that was not there before"),
    "new_hidden_input": Kind("the form has a hidden input that was not there before"),
    "changed_action": Kind("the form goes to another address, where nothing is filed"),
    "swapped_buttons": Kind("the submit button and another one of the form have swapped their labels"),
    "renamed_text": Kind("a text of the form that is no label reads differently"),
    "more_rows": Kind("a list on the form's page has more rows than before"),
    "restyled": Kind("the form looks different: nothing but its CSS has changed"),
    "reference_missing": Kind("the claim is filed, but the confirmation shows no reference"),
    "two_references": Kind("the claim is filed, but the confirmation shows a second, foreign reference"),
    "draft_number": Kind("a draft is saved instead of filing, and the page shows the draft's number"),
    "duplicate_answer": Kind("the claim is filed, but the answer says that it exists already, with its reference"),
    "duplicate_refused": Kind("nothing is filed, and the answer says that another's filing for the same exists"),
    "reference_reused": Kind("the claim is filed, but all pages show the reference of another dealer's filing for it"),
    "no_duplicate_check": Kind("a second claim for the same line is filed instead of refused"),
    "lying_success": Kind("the page shows a confirmation with a reference, but nothing is filed (cascade: HTTP 500)"),
    "double_processing": Kind("one submit is filed twice, under two references, of which one is shown"),
    "reference_later": Kind("the claim is filed without reference; the nightly run gives one, shown in the history"),
    "stuck_in_process": Kind("the claim is filed, but in process, without reference, until the batch"),
    "posts_twice": Kind("the page's script sends the submit twice"),
    "drops_filled_value": Kind("the VIN field keeps only what is typed key by key; a filled-in value is dropped"),
    "history_empty": Kind("the history page lists nothing at all"),
    "history_late": Kind("a filing appears in the history only `seconds` (3600) after it was filed", seconds=3600.0),
    "history_foreign": Kind("the history lists the dealer's filings with another value outside of the business key"),
    "history_twice": Kind("the history lists every filing twice, the second time under an unused reference"),
    "history_error": Kind("the history page answers 500"),
}


@dataclass(frozen=True)
class Fault:
    """A fault that is set. `times` is how often it still may fire at most in all, `seconds` is real time."""

    id: int
    oem: str
    fault: str
    match: str | None
    times: int | None
    seconds: float | None
    probability: float | None
    seed: int | None
    draws: int
    fired: int

    @property
    def duration(self) -> float:
        """Seconds, the kind's own unless the fault says otherwise."""
        return self.seconds if self.seconds is not None else KINDS[self.fault].seconds or 0.0


class Faults:
    """The faults that are set; they survive a restart."""

    def __init__(self, database: Database, without: Mapping[str, Mapping[str, str]]) -> None:
        """`without`: by OEM, the faults that make no sense there, each with the reason."""
        self._database = database
        self._without = without

    def set(
        self,
        oem: str,
        fault: str,
        match: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        probability: float | None = None,
        seed: int | None = None,
    ) -> Fault:
        """Sets a fault. Raises `FaultRefused` when there is no such fault, or not for that portal."""
        if oem not in self._without:
            raise FaultRefused(f"there is no portal {oem!r}; there are {', '.join(self._without)}")
        if fault not in KINDS:
            raise FaultRefused(f"there is no fault {fault!r}; there are {', '.join(KINDS)}")
        if fault in self._without[oem]:
            raise FaultRefused(f"the fault {fault!r} makes no sense for {oem}: {self._without[oem][fault]}")
        if probability is not None and not 0 <= probability <= 1:
            raise FaultRefused(f"the probability {probability} is not between 0 and 1")
        if times is not None and times < 1:
            raise FaultRefused(f"a fault that fires {times} times is no fault")
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO faults (oem, fault, match, times, seconds, probability, seed) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " RETURNING *",
                (oem, fault, match, times, seconds, probability, seed),
            ).fetchone()
            return Fault(**dict(row))

    def all(self) -> list[Fault]:
        """Every fault that is set, also the used-up ones."""
        return [Fault(**dict(row)) for row in self._database.rows("SELECT * FROM faults ORDER BY id")]

    def clear(self, oem: str | None = None, fault: str | None = None) -> None:
        """Takes faults away: those of a portal, those of a name, both, or all."""
        where = "(? IS NULL OR oem = ?) AND (? IS NULL OR fault = ?)"
        self._database.write(f"DELETE FROM faults WHERE {where}", oem, oem, fault, fault)  # noqa: S608 - no foreign text

    def take(self, oem: str, name: str, texts: Iterable[str]) -> Fault | None:
        """The fault of that name that bites here, if one does; it has then fired once more."""
        lowered = [text.lower() for text in texts]
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT * FROM faults WHERE oem = ? AND fault = ? AND (times IS NULL OR fired < times) ORDER BY id",
                (oem, name),
            ).fetchall()
            for row in found:
                fault = Fault(**dict(row))
                if fault.match and not any(fault.match.lower() in text for text in lowered):
                    continue
                if self._bites(connection, fault):
                    return fault
        return None

    def _bites(self, connection: sqlite3.Connection, fault: Fault) -> bool:
        bites = fault.probability is None or self._draw(fault) < fault.probability
        connection.execute(
            "UPDATE faults SET draws = draws + 1, fired = fired + ? WHERE id = ?", (int(bites), fault.id)
        )
        return bites

    @staticmethod
    def _draw(fault: Fault) -> float:
        # Seed and number of the draw, not a generator in memory: the same seed gives the same after a restart.
        return random.Random(f"{fault.seed}:{fault.draws}").random() if fault.seed is not None else random.random()

    def as_json(self) -> dict[str, Any]:
        """What is set, and the table of what there is."""
        return {"faults": [f.__dict__ for f in self.all()], "kinds": {name: kind.does for name, kind in KINDS.items()}}
