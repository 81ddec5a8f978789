"""The disk under the evidence store is full, and has space again: nothing is clicked, lost, dead or filed twice.

The kernel refuses the writes: no file of this process may grow beyond some bytes, so that a write is cut short as on a
full disk. (Only its word is another, EFBIG and not ENOSPC, and a small file still finds room.)
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oem_submissions.domain.records import AlertKind
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.seal import seal_claims
from oem_submissions_tests.evidence.sealing import SEALING
from oem_submissions_tests.faults.test_outages import InterruptedPortal, run_or_wait
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import PARTITION, let_pass, run

_ROOM = 64


def fill() -> None:
    """No file can grow beyond a few bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_ROOM, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def free() -> None:
    """As it was."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def full_disk() -> Iterator[None]:
    fill()
    try:
        yield
    finally:
        free()


def left_over(store: DirectoryStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.stat().st_size <= _ROOM]


def test_on_a_full_disk_nothing_is_clicked_people_are_told_and_it_goes_on_by_itself(
    ledger: Ledger, tmp_path: Path
) -> None:
    store, portal = DirectoryStore(tmp_path / "evidence"), FakePortal()
    claim = ledger.add_claim(new_claim())
    with full_disk():
        for _ in range(5):  # more often than a claim may fail
            let_pass(ledger, 2)
            run_or_wait(ledger, portal, store, breaker_failures=3)
    (waiting,) = ledger.claims(*vars(PARTITION).values())
    assert (waiting.state, portal.filed, left_over(store)) == (State.READY, [], [])
    assert waiting.attempts > 3
    (alert,) = ledger.alerts()
    assert alert.kind is AlertKind.BREAKER_OPEN
    assert f"The evidence store in {store.root} could not keep" in alert.text
    let_pass(ledger, 2)
    (filed,) = run(ledger, portal, store, breaker_failures=3)
    assert (filed.claim_id, filed.state, len(portal.filed)) == (claim.claim_id, State.CONFIRMED, 1)
    assert ledger.alerts() == []


def test_a_disk_that_is_full_after_the_click_costs_no_proof_and_no_second_click(ledger: Ledger, tmp_path: Path) -> None:
    store, portal = DirectoryStore(tmp_path / "evidence"), InterruptedPortal(moment="SENT is noted", happens=fill)
    claim = ledger.add_claim(new_claim())
    try:
        (held,) = run(ledger, portal, store)
        let_pass(ledger, 2)
        (still,) = run(ledger, portal, store)
    finally:
        free()
    assert {held.state, still.state} <= {State.OUTCOME_UNKNOWN}
    assert "The evidence store" in (still.reason_text or "")
    let_pass(ledger, 2)
    (filed,) = run(ledger, portal, store)
    assert (filed.state, len(portal.filed)) == (State.CONFIRMED, 1)
    with full_disk():
        (unsealed,) = seal_claims([filed], "r", "w", ledger=ledger, evidence=store, **SEALING)
        assert "The evidence store" in unsealed.problem
    assert seal_claims([filed], "r", "w", ledger=ledger, evidence=store, **SEALING) == []
    sealed = ledger.claim(claim.claim_id)
    assert sealed is not None
    assert (sealed.state, left_over(store)) == (State.SEALED, [])
