"""The CRMs of the contract suite: the fake, and each connector on the nearest thing to its CRM that runs here."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from oem_submissions.crm.hubspot import HubSpotCrm
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.crm.salesforce import SalesforceCrm
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ports import Crm
from oem_submissions.simulator.crm import CrmTruth, routes
from oem_submissions.simulator.crm_client import CrmAdmin
from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET
from oem_submissions_tests.crm.hubspot import TOKEN, HubSpotServer, HubSpotWorld, account, mapping_at
from oem_submissions_tests.crm.roundup import RoundupWorld, roundup_world
from oem_submissions_tests.crm.table import TableWorld, table_world

DUE = date(2026, 11, 10)


class World(Protocol):
    """A CRM, and what people do in it."""

    crm: Crm

    def add(
        self,
        name: str,
        payload: dict[str, Any] | str | None,
        *,
        oem: str = "aurora",
        due_on: date | None = DUE,
        files: list[tuple[str, str, bytes]] | None = None,
        modified_at: datetime | None = None,
    ) -> str: ...

    def edit(self, record_id: str, payload: dict[str, Any]) -> None: ...

    def writes(self, record_id: str) -> int: ...

    def small_pages(self) -> None: ...

    def break_down(self) -> None: ...

    def mend(self) -> None: ...


class MemoryWorld:
    """The fake."""

    def __init__(self) -> None:
        self.crm = MemoryCrm()

    def add(self, name: str, payload: Any, *, oem: str = "aurora", due_on: date | None = DUE, **more: Any) -> str:
        return self.crm.add(
            name, oem=oem, dealer="10234", claim_type="warranty", due_on=due_on, payload=payload, **more
        )

    def edit(self, record_id: str, payload: dict[str, Any]) -> None:
        self.crm.edit(record_id, payload)

    def writes(self, record_id: str) -> int:
        return self.crm.writes(record_id)

    def small_pages(self) -> None:
        """It has none."""

    def break_down(self) -> None:
        self.crm.unavailable = "The CRM is down."

    def mend(self) -> None:
        self.crm.unavailable = None


@dataclass
class SalesforceWorld:
    """The real client and the simulator."""

    crm: SalesforceCrm
    admin: CrmAdmin

    def add(
        self,
        name: str,
        payload: Any,
        *,
        oem: str = "aurora",
        due_on: date | None = DUE,
        files: list[tuple[str, str, bytes]] | None = None,
        modified_at: datetime | None = None,
    ) -> str:
        record = {
            "name": name,
            "oem": oem,
            "dealer": "10234",
            "claim_type": "warranty",
            "due_on": due_on.isoformat() if due_on else None,
            "payload": payload,
            "files": [
                {"name": file, "kind": kind, "content": base64.b64encode(data).decode()}
                for file, kind, data in files or []
            ],
            "modified_at": modified_at.isoformat() if modified_at else None,
        }
        return self.admin.seed([record])[0]

    def edit(self, record_id: str, payload: dict[str, Any]) -> None:
        self.admin.edit(record_id, payload=payload)

    def writes(self, record_id: str) -> int:
        return int(self.admin.record(record_id)["writes"])

    def small_pages(self) -> None:
        self.admin.set_page_size(3)

    def break_down(self) -> None:
        self.admin.set_fault("outage")

    def mend(self) -> None:
        self.admin.clear_faults()


@dataclass(frozen=True)
class Served:
    """Where an app runs."""

    http: str
    https: str
    ca: Path


def _listening() -> socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY; without, every answer waits 40 ms for a delayed ACK.
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    one.bind(("127.0.0.1", 0))
    one.listen(128)  # the first request needs no retry
    return one


@contextmanager
def serving(app: ASGIApp, folder: Path) -> Iterator[Served]:
    """Runs the app on http and https until the block ends."""
    authority = trustme.CA()
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))

    def context(config: uvicorn.Config, default: object) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(made)
        return made

    common: dict[str, Any] = {"log_level": "critical", "lifespan": "off", "ws": "none", "timeout_graceful_shutdown": 1}
    servers = [
        uvicorn.Server(uvicorn.Config(app, **common)),
        uvicorn.Server(uvicorn.Config(app, ssl_context_factory=context, **common)),
    ]
    sockets = [_listening() for _ in servers]
    http, https = (one.getsockname()[1] for one in sockets)

    async def serve() -> None:
        await asyncio.gather(*(s.serve(sockets=[one]) for s, one in zip(servers, sockets, strict=True)))
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:  # answers that nobody waits for any more
            await asyncio.wait(rest, timeout=5)
        loop: Any = asyncio.get_running_loop()
        for transport in list(loop._transports.values()):
            transport.abort()  # of a client that went without TLS's goodbye, which would be waited for half a minute
        await asyncio.sleep(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    yield Served(f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", ca)
    for server in servers:
        server.should_exit = True
    thread.join(10)
    for one in sockets:
        one.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One simulated CRM for all tests."""
    with serving(Starlette(routes=routes(CrmTruth())), tmp_path_factory.mktemp("crm")) as one:
        yield one


@pytest.fixture
def salesforce(served: Served) -> Iterator[SalesforceWorld]:
    """The Salesforce client on an empty CRM."""
    admin = CrmAdmin(served.http)
    admin.reset()
    admin.set_page_size(2000)
    crm = SalesforceCrm(served.https, CLIENT_ID, CLIENT_SECRET, ca_file=served.ca)
    yield SalesforceWorld(crm, admin)
    crm.close()
    admin.close()


@pytest.fixture(scope="session")
def tracker() -> Iterator[RoundupWorld]:
    """One real Roundup for all tests."""
    with roundup_world() as one:
        yield one


@pytest.fixture
def rest(tracker: RoundupWorld) -> RoundupWorld:
    """The REST connector on an empty Roundup."""
    tracker.mend()
    tracker.reset()
    return tracker


@pytest.fixture(scope="session")
def claims_table(postgres: EmbeddedPostgres) -> Iterator[TableWorld]:
    """One real table for all tests."""
    with table_world(postgres) as one:
        yield one


@pytest.fixture
def table(claims_table: TableWorld) -> TableWorld:
    """The connector on an empty table."""
    claims_table.mend()
    claims_table.reset()
    return claims_table


@pytest.fixture(scope="session")
def hubspot_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubSpotServer, HubSpotCrm]]:
    """One local server that follows HubSpot's contract, and the connector on it."""
    server = HubSpotServer()
    with serving(server.app(), tmp_path_factory.mktemp("hubspot")) as one:
        crm = HubSpotCrm(mapping_at(one.http), TOKEN, wait=lambda seconds: None)
        yield server, crm
        crm.close()


@pytest.fixture
def hubspot(hubspot_served: tuple[HubSpotServer, HubSpotCrm]) -> HubSpotWorld:
    """The connector on an empty account."""
    server, crm = hubspot_served
    vars(server).update(vars(account(crm._mapping)))
    return HubSpotWorld(crm, server)


@pytest.fixture(params=["memory", "salesforce", "rest", "table", "hubspot"])
def world(request: pytest.FixtureRequest) -> World:
    """Each of them."""
    made: World = MemoryWorld() if request.param == "memory" else request.getfixturevalue(request.param)
    return made
