"""A desk that really listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from oem_submissions.desk.app import create_app
from oem_submissions.desk.pages import Proof
from oem_submissions.desk.room import Addresses
from oem_submissions.desk.serving import with_access
from oem_submissions_tests.desk.access import NoHelp, listening, loopback_access
from oem_submissions_tests.desk.gates import MadeUpOperating
from oem_submissions_tests.desk.ledger import NOON, MadeUpLedger, made_up

ADDRESSES = Addresses("http://127.0.0.1:3000/", "http://127.0.0.1:8700/crm/{id}")


class MadeUpProofs:
    """Everything is signed, logged, and stamped a little later."""

    def proof(self, claim_id: str, digest: str) -> Proof | None:
        return Proof("fe" * 32, 7, 8, NOON, NOON + timedelta(hours=1), "tsa.example")

    def public_key(self, fingerprint: str) -> bytes | None:
        return b"-----BEGIN PUBLIC KEY-----" if fingerprint == "fe" * 32 else None


@dataclass(frozen=True)
class RunningDesk:
    """Where it listens and what it reads."""

    url: str
    ledger: MadeUpLedger
    operating: MadeUpOperating


@pytest.fixture(scope="module")
def desk() -> Iterator[RunningDesk]:
    """With ana, an operator, at it."""
    ledger, operating = made_up(), MadeUpOperating()
    desk = create_app(ledger, ledger.store, ADDRESSES, operating, NoHelp(), MadeUpProofs())
    app = with_access(desk, loopback_access())
    with listening(app) as url:
        yield RunningDesk(url, ledger, operating)
