"""Keeping a signed-in session from one run of an account to the next: encrypted, under the account's lease.

What a session is, whom it fits and when it is kept is the portal package's; where it lies is the ledger's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from oem_submissions.domain.failures import LeaseLost
from oem_submissions.domain.records import Lease, Pins
from oem_submissions.ports import (
    EvidenceUnavailable,
    KeptSession,
    Ledger,
    LedgerUnavailable,
    SealedSession,
    Vault,
)

_log = logging.getLogger(__name__)
_WHAT = "cookies and local storage"


@dataclass(frozen=True)
class LedgerShelf:
    """The `SessionShelf` of the account whose lease is held. Only what is live is used to it: the gate tests log-ins.

    What can't be kept, or read back, is only logged: it costs a log-in.
    """

    ledger: Ledger
    vault: Vault
    lease: Lease
    pins: Pins

    def take(self) -> KeptSession | None:
        """As the port says. Raises `LedgerUnavailable`."""
        found = self.ledger.take_session(self.lease) if self._is_live() else None
        if found is None:
            return None
        try:
            state = self.vault.box(self._name, found.key).open(_WHAT, found.sealed)
        except EvidenceUnavailable as error:
            _log.warning("The kept session of %s is thrown away: %s", self._account, error)
            return None
        return KeptSession(state, found.seconds)

    def keep(self, session: KeptSession, good_seconds: float) -> bool:
        """As the port says."""
        try:
            if not self._is_live():
                return False
            key, box = self.vault.new(self._name)
            sealed = SealedSession(key, box.seal(_WHAT, session.state), session.seconds)
            return self.ledger.keep_session(self.lease, sealed, good_seconds)
        except (EvidenceUnavailable, LedgerUnavailable, LeaseLost) as error:
            _log.warning("The session of %s is not kept: %s", self._account, error)
            return False

    @property
    def _account(self) -> str:
        return f"{self.lease.oem}/{self.lease.dealer}"

    @property
    def _name(self) -> str:
        return f"session of {self._account}"

    def _is_live(self) -> bool:
        return any(known.is_production and known.pins == self.pins for known in self.ledger.releases(self.lease.oem))
