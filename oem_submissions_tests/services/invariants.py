"""The invariants of a claim, read from the ledger's rows and held against what the portal really has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.evidence import CONTROL, POST_CONFIRM, PRE_SUBMIT, bundle_key
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, State, crm_status
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import attempts, events
from oem_submissions.ports import CrmOutcome, EvidenceUnavailable
from oem_submissions_tests.services.simulated_oem import SETTLE_MINUTES, SimulatedOem

OF_ARMED = frozenset({State.CONFIRMED, State.REJECTED, State.OUTCOME_UNKNOWN, State.AWAITING_REFERENCE})


class QuietCrm(MemoryCrm):
    """A CRM that a test can ask also while it is down."""

    def told(self, record_id: str) -> CrmOutcome | None:
        """What the record says."""
        return self._records[record_id].outcome


class QuietStore(MemoryStore):
    """An evidence store that can be gone; a test still sees what it has."""

    is_down = False

    def put(self, key: str, data: bytes) -> None:
        if self.is_down:
            raise EvidenceUnavailable("The evidence store is down.")
        super().put(key, data)

    def get(self, key: str) -> bytes:
        if self.is_down:
            raise EvidenceUnavailable("The evidence store is down.")
        return super().get(key)

    def kept(self, key: str) -> bytes:
        """What is there."""
        return super().get(key)


class Invariants:
    """`check` raises an AssertionError that begins with the number of the invariant that does not hold."""

    def __init__(self, ledger: Ledger, evidence: QuietStore, crm: QuietCrm, oem: SimulatedOem) -> None:
        self._ledger, self._evidence, self._crm, self._oem = ledger, evidence, crm, oem
        self.left: list[str] = []
        """What is to be said of requests that left without a durable ARMED."""

    def request_leaves(self, claim_id: str) -> None:
        """A request is about to leave: was that durable before?"""
        last = self._ledger.attempts(claim_id)[-1]
        armed = [e.fencing_token for e in self._ledger.events(claim_id) if e.to_state is State.ARMED]
        if last.armed_at is None or last.sent_at is None or last.fencing_token not in armed:
            self.left.append(f"a request of claim {claim_id} left, and no durable ARMED and SENT stood before it")

    def check_filings(self) -> None:
        """I1, by what the portal has."""
        for key, times in Counter(filing.key for filing in self._oem.filings).items():
            assert times == 1, f"I1: claim {key} was filed {times} times"

    def check(self, found: Sequence[Claim]) -> None:
        """All others, by what the ledger says. `found` are all its claims, as they stand."""
        chains = self._chains()
        assert not self.left, f"I2: {self.left[0]}"
        for claim in found:
            self._one(claim, chains[claim.claim_id])
        references = [claim.reference for claim in found if claim.reference]
        assert len(references) == len(set(references)), "I4: two claims have one reference"

    def _chains(self) -> dict[str, list[Any]]:
        chains = defaultdict(list)
        with self._ledger._engine.connect() as connection:
            for row in connection.execute(select(events).order_by(events.c.claim_id, events.c.sequence)):
                chains[row.claim_id].append(row)
        return chains

    def _one(self, claim: Claim, chain: Sequence[Any]) -> None:
        key = claim.natural_key or ""
        filed = self._oem.filed(key)
        moves = [event for event in chain if event.to_state is not None]
        assert moves[-1].to_state == claim.state, f"claim {claim.claim_id} is {claim.state}, its events say otherwise"
        self._check_armed(moves)
        if claim.state in FILED:
            self._check_filed(claim, key)
        if claim.state is State.REJECTED:
            assert filed == 0, f"I6: claim {claim.claim_id} is REJECTED, and the portal has it"
        self._check_told(claim, filed)
        self._check_absences(claim, moves)

    def _check_armed(self, moves: Sequence[Any]) -> None:
        token = None
        for event in moves:
            if event.from_state == State.ARMED:
                allowed = OF_ARMED if event.fencing_token == token else {State.OUTCOME_UNKNOWN}
                said = f"I3: claim {event.claim_id} went from ARMED to {event.to_state}"
                assert State(event.to_state) in allowed, said
            token = event.fencing_token if event.to_state == State.ARMED else None

    def _check_filed(self, claim: Claim, key: str) -> None:
        ours = [f for f in self._oem.filings if f.key == key]
        said = f"I4: claim {claim.claim_id} is {claim.state} under {claim.reference}"
        assert [f.number for f in ours] == [claim.reference], f"{said}; the portal has {ours}"
        by_attempt = defaultdict(set)
        for kept in self._ledger.artifacts(claim.claim_id):
            if kept.name in (PRE_SUBMIT, POST_CONFIRM):
                assert sha256_hex(self._evidence.kept(kept.key)) == kept.sha256, f"{said}; {kept.name} was changed"
                by_attempt[kept.attempt_id].add(kept.name)
        assert {PRE_SUBMIT, POST_CONFIRM} in by_attempt.values(), f"{said}, without both pictures"

    def _check_told(self, claim: Claim, filed: int) -> None:
        told = self._crm.told(claim.crm_record_id)
        if told is None:
            return
        if told.status == crm_status(State.CONFIRMED):
            assert filed == 1, f"I5: the CRM says that claim {claim.claim_id} is filed, the portal does not have it"
        if told.evidence_digest is not None:
            stored = self._evidence.keys(bundle_key(claim.claim_id, told.evidence_digest))
            sealed = claim.bundle_digest == told.evidence_digest and stored
            assert sealed, f"I5: the CRM links claim {claim.claim_id} to a bundle that is not sealed"

    def _check_absences(self, claim: Claim, moves: Sequence[Any]) -> None:
        for event in moves:
            if event.to_state != State.PROVEN_ABSENT or event.fencing_token is None:
                continue
            said = f"I7: claim {claim.claim_id} was called absent"
            waited = (event.at - self._last_click(claim, event.at)).total_seconds()
            assert waited >= SETTLE_MINUTES * 60, f"{said} {waited:.0f} s after its click"
            look = f"look_{event.details['look']:03d}_{CONTROL}"
            assert look in {kept.name for kept in self._ledger.artifacts(claim.claim_id)}, f"{said} without a control"

    def _last_click(self, claim: Claim, before: datetime) -> datetime:
        with self._ledger._engine.connect() as connection:
            rows = connection.execute(select(attempts).where(attempts.c.claim_id == claim.claim_id)).all()
        return max(row.sent_at or row.armed_at for row in rows if row.armed_at and row.armed_at <= before)
