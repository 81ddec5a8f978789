"""How a claim may end: what fits, what does not, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oem_submissions.conformance.endings import (
    FILED,
    FILED_AGAIN,
    FOUND,
    REFUSED,
    Ending,
    Seen,
    dead,
    held,
    in_words,
    without_history,
)
from oem_submissions.conformance.scenarios import SCENARIOS
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State

PLAIN = Seen(filed=1, state=State.SYNCED, reason=None, looks=0, absences=0)
SEEN = {
    "filed once and confirmed": PLAIN,
    "filed once, found by reconciliation": replace(PLAIN, looks=2),
    "proven absent, then filed once": replace(PLAIN, looks=1, absences=1),
    "filed twice, confirmed": replace(PLAIN, filed=2),
    "not filed, confirmed": replace(PLAIN, filed=0),
    "filed once, held for a person: REFERENCE_SUSPECT": Seen(1, State.NEEDS_REVIEW, ReasonCode.REFERENCE_SUSPECT, 1, 0),
    "not filed, dead letter: LOGIN_FAILED": Seen(0, State.DEAD, ReasonCode.LOGIN_FAILED, 0, 0),
    "refused, not filed: CUTOFF_PASSED": Seen(0, State.REJECTED, ReasonCode.CUTOFF_PASSED, 0, 0),
    "filed once, still held: OUTCOME_UNKNOWN": Seen(1, State.OUTCOME_UNKNOWN, ReasonCode.OUTCOME_UNKNOWN, 3, 0),
    "not filed, left READY": Seen(0, State.READY, None, 0, 0),
    "filed once, confirmed, and the CRM was not told": Seen(1, State.SEALED, None, 0, 0),
}
ENDINGS = (FILED, FOUND, FILED_AGAIN, REFUSED, held(), held(filed=2), dead(ReasonCode.LOGIN_FAILED))


@pytest.mark.parametrize("words", SEEN)
def test_what_happened_is_said_in_words(words: str) -> None:
    assert in_words(SEEN[words]) == words


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("filed once and confirmed", {FILED}),
        ("filed once, found by reconciliation", {FOUND}),
        ("proven absent, then filed once", {FILED_AGAIN}),
        ("filed twice, confirmed", set()),
        ("not filed, confirmed", set()),
        ("filed once, held for a person: REFERENCE_SUSPECT", {held()}),
        ("not filed, dead letter: LOGIN_FAILED", {dead(ReasonCode.LOGIN_FAILED)}),
        ("refused, not filed: CUTOFF_PASSED", {REFUSED}),
        ("filed once, still held: OUTCOME_UNKNOWN", set()),
        ("not filed, left READY", set()),
        ("filed once, confirmed, and the CRM was not told", set()),
    ],
)
def test_each_ending_fits_what_it_says_and_nothing_else(words: str, fits: set[Ending]) -> None:
    assert {ending for ending in ENDINGS if ending.fits(SEEN[words])} == fits


def test_where_there_is_no_history_a_person_decides() -> None:
    assert without_history(FILED) == FILED
    assert without_history(FOUND) == held(filed=1)
    assert without_history(FILED_AGAIN) == held(filed=0)


def test_no_scenario_allows_a_second_submission_of_what_was_filed() -> None:
    for scenario in SCENARIOS:
        for ending in (one for ways in scenario.expected for one in ways):
            assert ending.posts <= 1 or ending.returned, scenario.name
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
