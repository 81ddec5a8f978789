"""What the desk asks of the ledger: reads only. The ledger has these methods, and so has the tests' made-up one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from oem_submissions.domain.alerting import ChannelState, Transition
from oem_submissions.domain.breaker import Breaker
from oem_submissions.domain.contracts import ProbeRecord
from oem_submissions.domain.dispositions import Standing
from oem_submissions.domain.hand_over import HandOver
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.overview import Dead, DeadKind, Held, Measures, QueueLine
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Alert, Attempt, Claim, Event, KeptArtifact, Lease, LostLease
from oem_submissions.domain.releases import Release
from oem_submissions.domain.states import State


class DeskReader(Protocol):
    """Claims and their stories, lists and counts: read-only."""

    # --- one claim ---

    def claim(self, claim_id: str) -> Claim | None:
        """The claim as it stands; None when there is none."""
        ...

    def events(self, claim_id: str) -> list[Event]:
        """Its chain of events, oldest first."""
        ...

    def attempts(self, claim_id: str) -> list[Attempt]:
        """Every go at it, oldest first."""
        ...

    def artifacts(self, claim_id: str) -> list[KeptArtifact]:
        """Every piece of evidence that is durable."""
        ...

    def standing(self, claim_id: str) -> Standing | None:
        """What the OEM decided of it, as last seen; None when it was never seen in the portal's history."""
        ...

    def captured_reference(self, claim_id: str) -> Reference | None:
        """The reference with the portal's text that it was taken from; None while there is none."""
        ...

    # --- many claims ---

    def look_up(self, text: str, limit: int) -> list[Claim]:
        """Claims by reference, claim id, CRM record, repair order, VIN or invoice, exactly, capitals or not."""
        ...

    def of_dealer(self, text: str, limit: int) -> list[Claim]:
        """The claims of a dealer code that changed last."""
        ...

    def recent_claims(self, limit: int) -> list[Claim]:
        """The claims that changed last, newest first."""
        ...

    def count_states(self, states: Collection[State]) -> dict[State, int]:
        """How many claims are in each of these states."""
        ...

    def held_claims(self, states: Collection[State], limit: int) -> list[Held]:
        """The claims in these states, those that came due longest ago first."""
        ...

    def dead_kinds(self) -> list[DeadKind]:
        """All dead letters, counted by what they have in common."""
        ...

    def dead_lines(self, oem: str | None, reason: ReasonCode | None, pack: str | None, limit: int) -> list[Dead]:
        """Dead letters, all or some, those that died last first."""
        ...

    # --- the system ---

    def queue_lines(self, oems: Sequence[str]) -> list[QueueLine]:
        """The queues of these OEMs."""
        ...

    def held_leases(self) -> list[Lease]:
        """The accounts that workers hold now."""
        ...

    def recent_losses(self, limit: int) -> list[LostLease]:
        """Workers that were lost, the newest first."""
        ...

    def breakers(self) -> list[Breaker]:
        """Portals and accounts that are left alone."""
        ...

    def releases(self, oem: str) -> list[Release]:
        """The OEM's releases, the newest first."""
        ...

    def probes(self, oem: str, limit: int) -> list[ProbeRecord]:
        """The OEM's probes, the newest first."""
        ...

    def alerts(self, only_open: bool = True, limit: int = 100) -> list[Alert]:
        """Alerts whose cause is not gone, or all of them, newest first."""
        ...

    def alert_transitions(self, alert_ids: Sequence[int]) -> list[Transition]:
        """What people were told of these alerts, oldest first."""
        ...

    def alert_channels(self) -> list[ChannelState]:
        """Where every alert channel stands."""
        ...

    def open_hand_overs(self) -> list[HandOver]:
        """Log-ins that a person can still help with, the oldest first."""
        ...

    def hand_over(self, hand_over_id: str) -> HandOver | None:
        """One of them, also when it has ended."""
        ...

    # --- monitoring ---

    def measures(self, oems: Sequence[str]) -> Measures:
        """What is counted and timed, per OEM."""
        ...
