"""A made-up ledger for the desk: claims in many states, with their stories, and a store that holds the proof."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from oem_submissions.domain.alerting import ChannelState, Transition
from oem_submissions.domain.breaker import Breaker, Position
from oem_submissions.domain.contracts import ProbeRecord
from oem_submissions.domain.dispositions import Disposition, Standing
from oem_submissions.domain.evidence import artifact_key, bundle_key
from oem_submissions.domain.hand_over import HandOver
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.overview import (
    AccountLeases,
    Dead,
    DeadKind,
    EndedAttempts,
    Held,
    Measures,
    OpenAlerts,
    QueueLine,
    StepSeconds,
)
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import (
    Alert,
    AlertChange,
    AlertKind,
    AlertSeverity,
    Attempt,
    Claim,
    Event,
    KeptArtifact,
    Lease,
    LostLease,
    Pins,
)
from oem_submissions.domain.releases import Release
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions_tests.desk import gates
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import sealed_bundle

FILED = "aurora-k3v7q2mxw5la"
REFUSED = "borealis-aaaabbbbcccc"
STOPPED = "cascade-ddddeeeeffff"
HELD = "aurora-gggghhhhiiii"
ASKED = "aurora-jjjjkkkkllll"
KEPT = "aurora-ppppqqqqrrrr"
SUNK = "borealis-mmmmnnnnoooo"
HOSTILE = gates.HOSTILE
RUN = gates.RUN
ACCOUNT = Breaker("aurora", "D1042", Position.OPEN, ReasonCode.LOGIN_FAILED, "The portal says: wrong password.", 9e4, 1)
SLOW = ReasonCode.PORTAL_UNAVAILABLE
PINS = Pins("sha256:c0de", "v0003", "sha256:ba5e")
NOON = datetime(2026, 3, 2, 9, 14, tzinfo=UTC)


LOG_IN = HandOver(
    "a" * 16, "aurora", "D1042", RUN, "the portal asks for a second factor that only a person has: 'I am no robot'",
    NOON, datetime(2126, 3, 2, tzinfo=UTC), "ana", None, None, None, "https://dealer.aurora.example", 3, NOON,
)  # fmt: skip
"""Ana has it."""


def a_claim(claim_id: str, state: State, **changes: object) -> Claim:
    """A claim of a dealer, otherwise plain."""
    values: dict[str, object] = {
        "claim_id": claim_id,
        "oem": claim_id.partition("-")[0],
        "dealer": "D1042",
        "period": "2026-03-01",
        "claim_type": "warranty",
        "crm_record_id": f"a0X5g00000{claim_id[-4:]}",
        "natural_key": f"aurora:warranty:D1042:{claim_id[-4:].upper()}:1:BASIC",
        "payload": {},
        "payload_sha256": "4be1" * 16,
        "source_sha256": "5e1f" * 16,
        "due_on": date(2026, 3, 2),
        "state": state,
        "version": 5,
        "attempts": 1,
        "reason": None,
        "reason_text": None,
        "reference": None,
        "reference_kind": None,
        "run_id": RUN,
        "bundle_digest": None,
        "crm_version": None,
        "created_at": NOON,
        "updated_at": NOON + timedelta(seconds=9),
        "confirmed_at": None,
    }
    return Claim(**(values | changes))  # type: ignore[arg-type]


class MadeUpLedger:
    """`DeskReader` in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.all: dict[str, Claim] = {}
        self.stories: dict[str, list[Event]] = {}
        self.goes: dict[str, list[Attempt]] = {}
        self.kept: dict[str, list[KeptArtifact]] = {}
        self.decided: dict[str, Standing] = {}
        self.references: dict[str, Reference] = {}

    def add(self, claim: Claim, *steps: tuple[float, str, State | None, dict[str, object]]) -> None:
        """Add a claim with a story of (second, kind, state reached, details)."""
        self.all[claim.claim_id] = claim
        state: State | None = None
        events = []
        for number, (second, kind, to, details) in enumerate(steps, 1):
            at = NOON + timedelta(seconds=second)
            events.append(
                Event(claim.claim_id, number, at, "worker-1", kind, state, to, RUN, 812, details, "0" * 64, "1" * 64)
            )
            state = to or state
        self.stories[claim.claim_id] = events

    def keep(self, claim_id: str, attempt_id: int, name: str, data: bytes) -> None:
        """Keep a picture in the store, and note it."""
        key = artifact_key(claim_id, attempt_id, name)
        self.store.put(key, data)
        digest = hashlib.sha256(data).hexdigest()
        artifact = KeptArtifact(claim_id, attempt_id, name, "image/webp", key, digest, len(data), NOON)
        self.kept.setdefault(claim_id, []).append(artifact)

    def claim(self, claim_id: str) -> Claim | None:
        return self.all.get(claim_id)

    def events(self, claim_id: str) -> list[Event]:
        return self.stories.get(claim_id, [])

    def attempts(self, claim_id: str) -> list[Attempt]:
        return self.goes.get(claim_id, [])

    def artifacts(self, claim_id: str) -> list[KeptArtifact]:
        return self.kept.get(claim_id, [])

    def standing(self, claim_id: str) -> Standing | None:
        return self.decided.get(claim_id)

    def captured_reference(self, claim_id: str) -> Reference | None:
        return self.references.get(claim_id)

    def look_up(self, text: str, limit: int) -> list[Claim]:
        wanted = text.upper()
        known = (c for c in self.all.values() if wanted in (c.claim_id.upper(), c.reference, c.crm_record_id.upper()))
        return list(known)[:limit]

    def of_dealer(self, text: str, limit: int) -> list[Claim]:
        return [claim for claim in self.all.values() if claim.dealer.upper() == text.upper()][:limit]

    def recent_claims(self, limit: int) -> list[Claim]:
        return sorted(self.all.values(), key=lambda claim: claim.updated_at, reverse=True)[:limit]

    def count_states(self, states: Collection[State]) -> dict[State, int]:
        return {state: sum(claim.state is state for claim in self.all.values()) for state in states}

    def held_claims(self, states: Collection[State], limit: int) -> list[Held]:
        held = [claim for claim in self.all.values() if claim.state in states][:limit]
        return [Held(claim, claim.updated_at, claim.updated_at) for claim in held]

    def dead_kinds(self) -> list[DeadKind]:
        kinds = Counter((c.oem, c.reason, "v0003") for c in self.all.values() if c.state is State.DEAD)
        return [DeadKind(*kind, claims=count) for kind, count in kinds.items()]

    def dead_lines(self, oem: str | None, reason: ReasonCode | None, pack: str | None, limit: int) -> list[Dead]:
        dead = [claim for claim in self.all.values() if claim.state is State.DEAD]
        return [Dead(c, 1, "v0003", c.claim_id == SUNK) for c in dead if oem in (None, c.oem)][:limit]

    def queue_lines(self, oems: Sequence[str]) -> list[QueueLine]:
        counts = {State.READY: 12, State.ARMED: 1, State.NEEDS_REVIEW: 1, State.DEAD: 2}
        return [
            QueueLine(oem, counts if oem == "aurora" else {}, NOON if oem == "aurora" else None, NOON) for oem in oems
        ]

    def held_leases(self) -> list[Lease]:
        return [Lease(1, "aurora", "D1042", RUN, f"worker {HOSTILE}", 812, NOON)]

    def open_hand_overs(self) -> list[HandOver]:
        return [LOG_IN, replace(LOG_IN, hand_over_id="f" * 16, taken_by=None, asks=HOSTILE)]

    def hand_over(self, hand_over_id: str) -> HandOver | None:
        return next((known for known in self.open_hand_overs() if known.hand_over_id == hand_over_id), None)

    def recent_losses(self, limit: int) -> list[LostLease]:
        return [LostLease(7, NOON, "borealis", "D2001", RUN, "worker-2", 811)]

    def breakers(self) -> list[Breaker]:
        return [ACCOUNT, Breaker("aurora", None, Position.OPEN, ReasonCode.PORTAL_UNAVAILABLE, HOSTILE, 340.0, 2)]

    def releases(self, oem: str) -> list[Release]:
        return gates.releases(oem)

    def probes(self, oem: str, limit: int) -> list[ProbeRecord]:
        return gates.probes(oem)

    def alerts(self, only_open: bool = True, limit: int = 100) -> list[Alert]:
        text = f"The portal of aurora is left alone: {HOSTILE}"
        claims = (FILED, REFUSED)
        now = Alert(2, "breaker aurora", AlertKind.BREAKER_OPEN, "aurora", None, RUN, text, claims, 3, NOON, NOON, None)
        past = replace(now, alert_id=1, kind=AlertKind.WORKER_LOST, resolved_at=NOON, count=1, dealer="D1042")
        return [now] if only_open else [now, past]

    def measures(self, oems: Sequence[str]) -> Measures:
        return Measures(
            NOON + timedelta(minutes=7),
            [EndedAttempts("aurora", State.CONFIRMED, None, 40), EndedAttempts("aurora", State.DEAD, SLOW, 3)],
            [StepSeconds("aurora", "fill", 1.5, 4.0)],
            [AccountLeases(oem, 2, 1, 5) if oem == "aurora" else AccountLeases(oem, 0, 0, 0) for oem in oems],
            [OpenAlerts(AlertKind.BREAKER_OPEN, "aurora", 1)],
        )

    def alert_transitions(self, alert_ids: Sequence[int]) -> list[Transition]:
        (alert,) = self.alerts()
        critical, told = AlertSeverity.CRITICAL, (("json://hooks.example", NOON), (f"mailtos://{HOSTILE}", NOON))
        raised = Transition(4, NOON, alert, AlertChange.RAISED, critical, 1, alert.text, told)
        return [raised, replace(raised, number=5, change=AlertChange.ESCALATED, count=3, channels=())]

    def alert_channels(self) -> list[ChannelState]:
        now = datetime.now(UTC)
        well = ChannelState("json://hooks.example", NOON, now, 5, NOON, 0, None, None, None)
        failing = {"failures": 4, "failing_since": NOON, "problem": f"it answered 500 {HOSTILE}", "waiting": 3}
        return [well, replace(well, channel=f"mailtos://{HOSTILE}", sent_at=None, **failing)]


def attempt(claim_id: str, **changes: object) -> Attempt:
    """An attempt that ended well, unless changed."""
    well = Attempt(
        7, claim_id, 1, RUN, "worker-1", PINS, 812, NOON, NOON + timedelta(seconds=5), NOON + timedelta(seconds=6),
        NOON + timedelta(seconds=7), 200, NOON + timedelta(seconds=8), None, None, None,
    )  # fmt: skip
    return replace(well, **changes)  # type: ignore[arg-type]


def made_up() -> MadeUpLedger:
    """A filed claim with its bundle, a refused one, a stopped one, and one that is held."""
    ledger = MadeUpLedger()
    bundle = sealed_bundle()
    ledger.store.put(bundle_key(FILED, bundle.digest), bundle.zip_bytes)
    filed = a_claim(
        FILED, State.SYNCED, reference="AUR-4471902", reference_kind="claim number", bundle_digest=bundle.digest,
        confirmed_at=NOON + timedelta(seconds=7),
    )  # fmt: skip
    ledger.add(
        filed,
        (-4000, "taken_in", State.READY, {"payload_sha256": "4be1" * 16}),
        (1.2, "attempt_started", None, {"attempt": 1, "pack_version": "v0003"}),
        (5.0, "evidence_kept", None, {"name": "pre_submit.webp", "size": 112_204}),
        (5.1, "moved", State.PREPARED, {}),
        (5.2, "moved", State.ARMED, {}),
        (5.3, "sent", None, {"method": "POST", "path": "/claims/submit"}),
        (5.9, "response", None, {"status": 200}),
        (6.4, "evidence_kept", None, {"name": "post_confirm.webp", "size": 98_114}),
        (6.5, "moved", State.CONFIRMED, {"reference": "AUR-4471902", "kind": "claim number"}),
        (6.9, "sealed", State.SEALED, {"digest": bundle.digest}),
        (7.8, "crm_told", State.SYNCED, {"record": filed.crm_record_id}),
    )
    start = samples.TEXT.index("AUR-4471902")
    ledger.references[FILED] = Reference("AUR-4471902", "claim number", samples.TEXT, (start, start + 11))
    ledger.decided[FILED] = Standing(FILED, Disposition.DENIED, HOSTILE, False, True, 3, 3, NOON, NOON)
    ledger.goes[FILED] = [
        attempt(FILED, attempt_id=6, armed_at=None, reason=ReasonCode.PORTAL_MAINTENANCE, step="log in"),
        attempt(FILED, number=2),
    ]
    ledger.keep(FILED, 6, "failure.webp", samples.shot("Down for maintenance"))
    ledger.keep(FILED, 7, "pre_submit.webp", samples.artifacts()["pre_submit.webp"])
    ledger.keep(FILED, 7, "post_confirm.webp", samples.artifacts()["post_confirm.webp"])
    ledger.keep(FILED, 7, "readback.json", samples.artifacts()["readback.json"])
    refused = a_claim(
        REFUSED, State.REJECTED, reason=ReasonCode.VALIDATION_REJECTED, reason_text=f"Not covered. {gates.WORSE}",
        dealer="D2001", claim_type="coop", updated_at=NOON,
    )  # fmt: skip
    ledger.add(refused, (0, "taken_in", State.READY, {}), (3, "moved", State.REJECTED, {"text": HOSTILE}))
    ledger.add(
        a_claim(STOPPED, State.DEAD, reason=ReasonCode.LOGIN_FAILED, reason_text="The portal says: wrong password."),
        (0, "taken_in", State.READY, {}),
        (4, "moved", State.DEAD, {"step": "log in"}),
    )
    ledger.add(a_claim(HELD, State.OUTCOME_UNKNOWN, reason=ReasonCode.OUTCOME_UNKNOWN, dealer=HOSTILE))
    _ask(ledger)
    for name in ("pre_submit.webp", "look_001_history.webp", "look_002_history.webp", "look_002_control.webp"):
        ledger.keep(HELD, 9, name, samples.shot(name))
    return ledger


def _ask(ledger: MadeUpLedger) -> None:
    """A claim that needs a verdict, one that is erased and pruned, and a dead letter that died past the click."""
    asked = a_claim(
        ASKED, State.NEEDS_REVIEW, reason=ReasonCode.OUTCOME_UNKNOWN, looks=9, version=11,
        reason_text=f"The history lists it twice. {HOSTILE}",
        payload={"repair_order": HOSTILE, "vin": "1HGCM82633A004352"},
    )  # fmt: skip
    ledger.add(
        asked,
        (0, "taken_in", State.READY, {}),
        (5.2, "moved", State.ARMED, {}),
        (5.3, "sent", None, {"method": "POST", "path": "/claims/submit"}),
        (25, "moved", State.OUTCOME_UNKNOWN, {"text": HOSTILE}),
        (80, "moved", State.RECONCILING, {"look": 1}),
        (90_000, "moved", State.NEEDS_REVIEW, {"text": "Listed twice."}),
    )
    ledger.goes[ASKED] = [attempt(ASKED, response_status=None, responded_at=None)]
    for name in ("pre_submit.webp", "look_009_history.webp", "look_009_control.webp"):
        ledger.keep(ASKED, 7, name, samples.shot(name))
    ledger.add(
        a_claim(KEPT, State.SYNCED, reference="AUR-0000001", bundle_digest="ab" * 32),
        (0, "taken_in", State.READY, {}),
        (9, "hold_placed", None, {"why": "a lawsuit that is over"}),
        (10, "hold_lifted", None, {"why": "it is over"}),
        (11, "erased", None, {"why": "the customer asked for it"}),
        (12, "pruned", None, {"why": "24 months of retention are over"}),
        (13, "hold_placed", None, {"why": HOSTILE}),
    )
    ledger.add(a_claim(SUNK, State.DEAD, reason=ReasonCode.SELECTOR_NOT_FOUND, reason_text="x" * 2_000_000))
