"""The evidence log in the ledger: one leaf per bundle, no gap, provable at any size, and cheap to append to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from oem_submissions.domain import merkle
from oem_submissions.domain.checkpoints import Checkpoint, claimed, leaf_of, signed_note
from oem_submissions.domain.evidence_log import LogEntry, Stamp
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.merkle import Growing, is_consistent
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.ports import EvidenceLogBroken
from oem_submissions_tests.making import new_claim

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def note_of(size: int, root: bytes, before: str | None) -> str:
    """A note with a signature that nobody checks here."""
    assert (claimed(before).size if before else 0) == size - 1
    return signed_note(Checkpoint("log.example", size, root).text, "log.example", "ab" * 32, b"signature")


def log(ledger: Ledger, number: int) -> LogEntry:
    claim = ledger.add_claim(new_claim(number))
    return ledger.append_to_log(claim.claim_id, sha256_hex(str(number)), b"signature", "ab" * 32, note_of)


def test_a_bundle_that_is_logged_again_gets_the_entry_that_it_had(ledger: Ledger) -> None:
    first = log(ledger, 1)
    assert ledger.logged(first.bundle_digest) == first
    log(ledger, 2)

    def sign_nothing(size: int, root: bytes, before: str | None) -> str:
        raise AssertionError("nothing is to be signed")

    again = ledger.append_to_log(first.claim_id, first.bundle_digest, b"another signature", "cd" * 32, sign_nothing)
    assert again == first
    assert ledger.log_size() == 2
    assert ledger.logged("0" * 64) is None


def test_every_entry_is_proven_in_every_later_checkpoint_and_every_checkpoint_in_the_next(ledger: Ledger) -> None:
    entries = [log(ledger, number) for number in range(9)]
    assert [entry.index for entry in entries] == list(range(9))
    growing, heads = Growing(), []
    for entry in entries:
        growing.add(merkle.leaf_hash(leaf_of(entry.claim_id, entry.bundle_digest)))
        heads.append(growing.root)
    for size in range(1, 10):
        kept = ledger.checkpoint(size)
        assert kept is not None
        assert (kept.root, claimed(kept.note)) == (heads[size - 1], Checkpoint("log.example", size, heads[size - 1]))
        for entry in entries[:size]:
            proof = ledger.log_proof(entry.index, size)
            assert proof.note == kept.note
            assert proof.shows(leaf_of(entry.claim_id, entry.bundle_digest), claimed(proof.note))
        steps = ledger.log_consistency(size, 9)
        assert is_consistent(size, heads[size - 1], 9, heads[8], steps)
    newest = ledger.newest_checkpoint()
    assert newest is not None
    assert newest.size == 9


def test_many_that_append_at_once_leave_no_gap_and_no_twin(ledger: Ledger) -> None:
    claims = [ledger.add_claim(new_claim(number)).claim_id for number in range(4)]
    jobs = [(claim, sha256_hex(f"{claim} {number}")) for claim in claims for number in range(6)] * 2
    gate, found = threading.Barrier(4), []

    def work(mine: list[tuple[str, str]]) -> None:
        gate.wait()
        for claim, digest in mine:
            found.append(ledger.append_to_log(claim, digest, b"s", "ab" * 32, note_of))

    threads = [threading.Thread(target=work, args=(jobs[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 48
    assert sorted({entry.index for entry in found}) == list(range(24))
    assert {(entry.index, entry.bundle_digest) for entry in found} == {
        (entry.index, entry.bundle_digest) for entry in ledger.log_page(0, 24)[0]
    }


def test_what_goes_wrong_while_the_checkpoint_is_signed_leaves_nothing(ledger: Ledger) -> None:
    log(ledger, 1)
    claim = ledger.add_claim(new_claim(2))

    def fail(size: int, root: bytes, before: str | None) -> str:
        raise TimeoutError("no signature came")

    with pytest.raises(TimeoutError):
        ledger.append_to_log(claim.claim_id, "d" * 64, b"s", "ab" * 32, fail)
    assert ledger.log_size() == 1
    assert log(ledger, 2).index == 1


def test_an_append_costs_the_same_few_statements_however_long_the_log_is(ledger: Ledger) -> None:
    def statements(number: int) -> int:
        claim, said = ledger.add_claim(new_claim(number)), []
        listen = event.listens_for(ledger._engine, "before_cursor_execute")
        heard = listen(lambda *words: said.append(words[2]))
        ledger.append_to_log(claim.claim_id, sha256_hex(str(number)), b"s", "ab" * 32, note_of)
        event.remove(ledger._engine, "before_cursor_execute", heard)
        return len(said)

    counts = [statements(number) for number in range(20)]
    assert len(set(counts[1:])) == 1
    assert counts[-1] <= 9


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE evidence_log_nodes SET hash = sha256('x') WHERE level = 0 AND position = 2",
        "DELETE FROM evidence_log_nodes WHERE level = 1",
        "DELETE FROM evidence_checkpoints WHERE size = 3",
        "UPDATE evidence_checkpoints SET root = sha256('x') WHERE size = 3",
    ],
)
def test_a_log_that_was_changed_in_the_database_is_not_signed_any_further(
    ledger: Ledger, database_url: str, change: str
) -> None:
    for number in range(3):
        log(ledger, number)
    engine = ledger_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # past the triggers, as an owner can
        connection.execute(text(change))
    engine.dispose()
    with pytest.raises(EvidenceLogBroken, match="evidence audit"):
        log(ledger, 3)


def test_pages_hold_the_entries_their_checkpoints_and_what_they_completed(ledger: Ledger) -> None:
    entries = [log(ledger, number) for number in range(11)]
    growing, completed = Growing(), []
    for entry in entries:
        completed.append(growing.add(merkle.leaf_hash(leaf_of(entry.claim_id, entry.bundle_digest))))
    for first, last in ((0, 4), (4, 8), (8, 11), (0, 11), (3, 9)):
        page, checkpoints, nodes = ledger.log_page(first, last)
        assert page == entries[first:last]
        assert [checkpoint.size for checkpoint in checkpoints] == list(range(first + 1, last + 1))
        wanted = {place: item for part in completed[first:last] for place, item in part.items()}
        assert nodes == wanted


def test_stamps_are_kept_by_checkpoint(ledger: Ledger) -> None:
    log(ledger, 1)
    log(ledger, 2)
    for size in (1, 2):
        ledger.keep_stamp(size, Stamp(b"response", "https://tsa.example", NOON))
    assert [kept.size for kept in ledger.stamps()] == [2, 1]
    (newest,) = ledger.stamps(limit=1)
    assert newest.stamp == Stamp(b"response", "https://tsa.example", NOON)


def test_a_sealed_claim_that_is_not_in_the_log_is_named(ledger: Ledger) -> None:
    entry = log(ledger, 1)
    assert ledger.unlogged() == []
    assert ledger.sealed_digests([entry.claim_id]) == {entry.claim_id: None}
