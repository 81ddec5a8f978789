"""Runs over a partition, and workers that die in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import text, update

from oem_submissions.domain.claims import WarrantyClaim, parse_claim
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import attempts, breaker_log, claims, leases
from oem_submissions.ports import Account
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions_tests.evidence.sealing import LEAK_GATE
from oem_submissions_tests.services.fakes import FakePortal

PARTITION = Partition("aurora", "10234", "2026-11-10")
ACCOUNT = Account("aurora", "10234", "user", "password")


def run(
    ledger: Any, portal: FakePortal, evidence: Any = None, partition: Partition = PARTITION, **changes: Any
) -> list[Claim]:
    """One run over the partition."""
    wanted = {
        "ledger": ledger,
        "evidence": evidence or MemoryStore(),
        "portal": portal,
        "gate": OpenGate(),
        "account": lambda: ACCOUNT,
        "parse": lambda payload: parse_claim(WarrantyClaim, payload),
        "lease_seconds": 60,
        "click_seconds": 5,
        "attempts_budget": 3,
        "look_hours": 24,
        "leak_gate": LEAK_GATE,
        "breaker_failures": 1000,  # what is tested with many claims of bad luck is seldom the breaker
    }
    return submit_partition(partition, "run-1", "worker-1", **(wanted | changes))


class Killed(BaseException):
    """The worker is gone: nothing catches it."""


class KilledAt:
    """Any object, whose worker dies before or after its n-th write. What counts as a write it finds out by itself."""

    WRITES = ("add", "start", "keep", "prepared", "arm", "record", "confirm", "settle", "put", "acquire", "release",
              "begin", "end", "absent", "note", "see", "decision_", "disposition_", "write")  # fmt: skip

    def __init__(self, target: Any, clock: Clock) -> None:
        self._target, self._clock = target, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._clock.guard(value) if callable(value) and name.startswith(self.WRITES) else value


class Clock:
    """Counts writes over all wrapped objects, and strikes at one side of one of them. A dead worker writes no more."""

    def __init__(self, strike: int, after: bool) -> None:
        self.count, self.strike, self.after, self.dead = 0, strike, after, False

    def guard(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.dead or (self.count == self.strike and not self.after):
                self.dead = True
                raise Killed
            result = write(*args, **kwargs)
            if self.count == self.strike:
                self.dead = True
                raise Killed
            return result

        return guarded


def expire_leases(ledger: Ledger) -> None:
    """As if a minute had passed."""
    with ledger._engine.begin() as connection:
        connection.execute(
            update(leases).values(expires_at=text("clock_timestamp()")).where(leases.c.released_at.is_(None))
        )


def let_pass(ledger: Ledger, hours: float) -> None:
    """As if every click had been so long ago, and every look were due; breakers have moved so long ago, too."""
    with ledger._engine.begin() as connection:
        connection.execute(text("ALTER TABLE breaker_log DISABLE TRIGGER append_only"))
        connection.execute(update(breaker_log).values(at=breaker_log.c.at - text(f"interval '{hours} hours'")))
        connection.execute(text("ALTER TABLE breaker_log ENABLE TRIGGER append_only"))
        connection.execute(update(attempts).values(ended_at=attempts.c.ended_at - text(f"interval '{hours} hours'")))
        for moment in (attempts.c.armed_at, attempts.c.sent_at):
            connection.execute(update(attempts).values({moment: moment - text(f"interval '{hours} hours'")}))
        connection.execute(update(claims).values(look_again_at=text("clock_timestamp()")))
        connection.execute(
            update(claims).values(
                {
                    moment: moment - text(f"interval '{hours} hours'")
                    for moment in (claims.c.confirmed_at, claims.c.in_doubt_since)
                }
            )
        )
