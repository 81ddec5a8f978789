"""The audit: a log that was tampered with, in the ledger or in the store, is found whatever was done to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import text, update

from oem_submissions.domain.checkpoints import Checkpoint, claimed, leaf_of, signed_note
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.evidence_log import LogEntry, Stamp
from oem_submissions.domain.merkle import Growing, leaf_hash
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import claims
from oem_submissions.services import audit as module
from oem_submissions.services.audit import Auditor, AuditReport, glance
from oem_submissions_tests.evidence.sealing import KEYS, NOTARY, FixedSigner, notary
from oem_submissions_tests.services.test_seal import file, seal


class Shop:
    """Four sealed claims, in the ledger and in the store."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.evidence = ledger, MemoryStore()
        self.claims = file(ledger, self.evidence, 1, 2, 3, 4)
        assert seal(self.claims, ledger, self.evidence) == []
        self.entries, self.checkpoints, _ = ledger.log_page(0, 4)

    def audit(self, quick: bool = True, **held: str) -> AuditReport:
        return Auditor(self.ledger, self.evidence, KEYS.trust, None if quick else _verify, None).audit(held)

    def findings(self, **held: str) -> list[str]:
        return self.audit(**held).findings

    def sql(self, *statements: str) -> None:
        """As the owner of the database can, past every trigger and key."""
        with self.ledger._engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                connection.execute(text(statement))

    @contextmanager
    def tampered(self, change: Sequence[str]) -> Iterator[None]:
        """With the change, and then as it was."""
        tables = ("evidence_log", "evidence_log_nodes", "evidence_checkpoints")
        copies = [f"CREATE TABLE was_{table} AS TABLE {table}" for table in tables]
        self.sql(*copies, "CREATE TABLE was_claims AS SELECT claim_id, bundle_digest FROM claims", *change)
        yield
        for table in tables:
            self.sql(f"DELETE FROM {table}", f"INSERT INTO {table} TABLE was_{table}", f"DROP TABLE was_{table}")  # noqa: S608
        back = "UPDATE claims c SET bundle_digest = w.bundle_digest FROM was_claims w WHERE c.claim_id = w.claim_id"
        self.sql(back, "DROP TABLE was_claims")

    def lose(self, entry: LogEntry) -> None:
        """The bundle goes from the store."""
        del self.evidence._files[bundle_key(entry.claim_id, entry.bundle_digest)]

    def unseal(self, entry: LogEntry, state: State) -> None:
        """The claim forgets its bundle."""
        with self.ledger._engine.begin() as connection:
            values = {"bundle_digest": None, "state": state}
            connection.execute(update(claims).where(claims.c.claim_id == entry.claim_id).values(values))

    def make_log_anew(self, keep: list[int], by: FixedSigner) -> None:
        """What an insider with a key does: the whole log again, of these entries, with roots that fit."""
        self.sql("DELETE FROM evidence_log_nodes", "DELETE FROM evidence_checkpoints", "DELETE FROM evidence_log")
        for index in keep:
            entry = self.entries[index]
            self.ledger.append_to_log(
                entry.claim_id, entry.bundle_digest, entry.signature, entry.key_fingerprint, notary(by).note
            )


def _verify(bundle: bytes, digest: str) -> list[str]:
    return [str(finding) for finding in verify_bundle(bundle, digest, KEYS).findings]


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    return Shop(ledger)


def test_a_sound_log_has_no_findings_page_by_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    held = {f"checkpoint {kept.size}": kept.note for kept in shop.checkpoints}
    report = shop.audit(quick=False, **held)
    assert report.findings == []
    assert (report.entries, report.checkpoints, report.bundles) == (4, 4, 4)
    assert shop.audit().bundles == 0


def test_a_deleted_bundle_is_found(shop: Shop) -> None:
    entry = shop.entries[2]
    shop.lose(entry)
    expected = [f"Entry 2, claim {entry.claim_id}: its bundle {entry.bundle_digest} is not in the store."]
    assert shop.findings() == shop.audit(quick=False).findings == expected


def test_a_changed_bundle_is_found_by_who_reads_it(shop: Shop) -> None:
    entry = shop.entries[1]
    key = f"bundles/{entry.claim_id}/{entry.bundle_digest}.zip"
    data = bytearray(shop.evidence.get(key))
    data[data.index(b'"outcome"') + 1] ^= 1
    shop.evidence._files[key] = bytes(data)
    assert shop.findings() == []
    found = shop.audit(quick=False).findings
    assert found
    assert all(line.startswith(f"Entry 1, claim {entry.claim_id}: ") for line in found)


def test_a_bundle_that_nobody_logged_is_found(shop: Shop) -> None:
    shop.evidence.put(f"bundles/{shop.entries[0].claim_id}/{'0' * 64}.zip", b"x")
    (found,) = shop.findings()
    assert found == f"bundles/{shop.entries[0].claim_id}/{'0' * 64}.zip: is in the store, but not in the log."


_TWO_SWAPPED = (
    "UPDATE evidence_log a SET claim_id = b.claim_id, bundle_digest = repeat(b.leaf::text, 64)"
    " FROM evidence_log b WHERE (a.leaf, b.leaf) IN ((1, 2), (2, 1))",
    "UPDATE evidence_log a SET bundle_digest = c.bundle_digest FROM claims c"
    " WHERE a.claim_id = c.claim_id AND a.leaf IN (1, 2)",
)
_CUT_OFF = (
    "DELETE FROM evidence_log WHERE leaf = 3",
    "DELETE FROM evidence_log_nodes WHERE (position + 1) << level = 4",
    "DELETE FROM evidence_checkpoints WHERE size = 4",
)
_NODE = "UPDATE evidence_log_nodes SET hash = sha256('x') WHERE "
_NOTE = "UPDATE evidence_checkpoints a SET note = "
TAMPERINGS = [
    (
        ("UPDATE evidence_log SET bundle_digest = repeat('0', 64) WHERE leaf = 1",),
        ["Entry 1: was rewritten", "is not in the store", "the claim is sealed with another bundle",
         "is in the store, but not in the log", "which is not in the log"],
    ),
    (_TWO_SWAPPED, ["Entry 1: was rewritten", "Entry 2: was rewritten"]),
    (("DELETE FROM evidence_log WHERE leaf = 1",), ["Entry 1: is missing.", "but not in the log", "is not in the log"]),
    (
        (f"{_NODE} level = 0 AND position = 1",),
        ["Entry 1: was rewritten", "Checkpoint 2: was signed for another log than this one, and so were 2 after it",
         "Subtree 0 of level 1"],
    ),
    ((f"{_NODE} level = 1",), ["Subtree 0 of level 1: is not what its leaves give, and so are 1 more"]),
    (("DELETE FROM evidence_checkpoints WHERE size = 2",), ["Checkpoint 2: is missing."]),
    (("UPDATE evidence_checkpoints SET root = sha256('x') WHERE size = 2",), ["Checkpoint 2: says another"]),
    (
        (f"{_NOTE} replace(note, 'log.example', 'log.exampel') WHERE size = 2",),
        ["Checkpoint 2: bears a false signature"],
    ),
    (
        (f"{_NOTE} b.note FROM evidence_checkpoints b WHERE a.size = 2 AND b.size = 3",),
        ["Checkpoint 2: says another", "Checkpoint 2: was signed for another log"],
    ),
    (_CUT_OFF, ["is in the store, but not in the log", "which is not in the log: it was cut off"]),
    (
        ("UPDATE claims SET bundle_digest = repeat('0', 64) WHERE claim_id IN (SELECT claim_id FROM evidence_log"
         " WHERE leaf = 0)",),
        ["the claim is sealed with another bundle", "which is not in the log"],
    ),
]  # fmt: skip


def test_whatever_was_done_to_the_ledger_is_found(shop: Shop) -> None:
    for change, words in TAMPERINGS:
        with shop.tampered(change):
            found = shop.findings()
        assert len(found) == len(words), (change, found)
        for wanted in words:
            assert any(wanted in line for line in found), (change, wanted, found)
    assert shop.findings() == []


def test_a_log_that_was_made_anew_with_another_key_is_found(shop: Shop) -> None:
    shop.make_log_anew([0, 1, 3], FixedSigner(666))
    found = shop.findings()
    assert [line for line in found if line.startswith("Checkpoint")] == [
        f"Checkpoint {size}: is not signed by any trusted key." for size in (1, 2, 3)
    ]


def test_a_log_made_anew_with_the_key_itself_is_found_by_whoever_holds_a_checkpoint(shop: Shop) -> None:
    removed = shop.entries[2]
    shop.make_log_anew([0, 1, 3], FixedSigner())
    shop.lose(removed)
    shop.unseal(removed, State.READY)
    assert shop.findings() == [], "nothing here shows it any more"
    held = {f"of {kept.size}": kept.note for kept in shop.checkpoints}
    assert shop.findings(**held) == [
        "of 3: was signed for another log of 3 entries than this one.",
        "of 4: is of size 4, but the log has 3 entries: it was cut off.",
    ]


def test_a_checkpoint_that_was_never_signed_proves_nothing(shop: Shop) -> None:
    root = b"x" * 32
    note = signed_note(
        Checkpoint("log.example/evidence", 2, root).text, "log.example/evidence", "ab" * 32, b"signature"
    )
    assert shop.findings(forged=note, text="hello") == [
        "forged: is not signed by any trusted key.",
        "text: is not a text, an empty line and signatures.",
    ]


def test_a_bundle_that_is_logged_and_not_sealed_is_named_after_a_while(shop: Shop) -> None:
    entry = shop.entries[3]
    shop.lose(entry)
    shop.unseal(entry, State.CONFIRMED)
    assert shop.findings() == [], "a run may be at it"
    shop.sql("UPDATE evidence_log SET at = at - interval '2 hours'")
    assert shop.findings() == [
        f"Entry 3, claim {entry.claim_id}: its bundle {entry.bundle_digest} is not in the store.",
        f"Entry 3, claim {entry.claim_id}: was logged, but the claim is not sealed: run its partition again, or see who"
        " undid it.",
    ]


def test_a_glance_sees_the_head_and_what_was_stamped(shop: Shop) -> None:
    assert glance(shop.ledger, KEYS.trust) == []
    shop.ledger.keep_stamp(2, Stamp(b"", "tsa", shop.ledger.now()))
    assert glance(shop.ledger, KEYS.trust) == []
    for change, words in (
        (_NODE + "level = 2", "was signed for another log than the one that is kept"),
        (_NODE + "level = 0", "was not signed for the newest entry"),
        (_NODE + "level = 1 AND position = 0", "was not signed for the newest entry"),
        (f"{_NOTE} replace(note, 'log.example', 'log.exampel')", "A checkpoint bears a false signature"),
        ("DELETE FROM evidence_checkpoints WHERE size = 2", "Checkpoint 2 was time-stamped, and is gone."),
        ("DELETE FROM evidence_log_nodes WHERE level = 1", "is incomplete"),
    ):
        with shop.tampered((change,)):
            (found,) = glance(shop.ledger, KEYS.trust)
        assert words in found, change
    shop.make_log_anew([0, 2, 1, 3], FixedSigner())
    assert glance(shop.ledger, KEYS.trust) == [], "the log made anew with the key: it takes a checkpoint from outside"


def test_the_roots_are_those_of_the_entries(shop: Shop) -> None:
    growing = Growing()
    for entry, kept in zip(shop.entries, shop.checkpoints, strict=True):
        growing.add(leaf_hash(leaf_of(entry.claim_id, entry.bundle_digest)))
        assert growing.root == claimed(kept.note).root
    assert NOTARY.origin == claimed(shop.checkpoints[0].note).origin
