"""The fault suite's stage with a real application on it: its truth read from its own database, its faults on the wire.

`RealPortal` stands where the suite has the simulator: of that one's client it has what the suite asks, and no more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from oem_submissions.conformance import stage as suites
from oem_submissions.conformance.clocks import Clocks
from oem_submissions.conformance.stage import Stage, Subject, make_subject
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import ledger_engine, open_ledger
from oem_submissions.settings import PREFIX, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.truth import business_key
from oem_submissions_tests.real.adapters.roundup.portal import Roundup as RoundupAdapter
from oem_submissions_tests.real.adapters.trac.portal import Trac as TracAdapter
from oem_submissions_tests.real.roundup import Roundup, roundup
from oem_submissions_tests.real.serving import free_port
from oem_submissions_tests.real.skins import RoundupSkin, TracSkin
from oem_submissions_tests.real.trac import Trac, trac
from oem_submissions_tests.real.wire import Places, Wire, wired

SELECTORS = Path(__file__).parent / "selectors"
TRAC = Places("/login", "/newticket", "/newticket", "/query", "/chrome/", "/attachment/")
ROUNDUP = Places("/claims/", "/claims/issue", "/claims/issue", "/claims/issue", "/claims/@@file/")
PATIENCE = 200.0
"""Seconds for a worker to start and to come so far: applications and machine may be slow."""
_TITLE = re.compile(r"Warranty (\S+) (\S+) line (\d+) (\w+)")


@dataclass
class Filed:
    """A filing as the application has it: dealer, repair order, line, coverage."""

    key: tuple[str, str, str, str]
    reference: str
    files: dict[str, bytes]


@dataclass
class RealPortal:
    """A running application behind its wire, as the suite sees it. It is its own client."""

    subject: Subject
    wire: Wire
    filed: Callable[[], list[Filed]]
    """The truth, oldest first."""
    add_user: Callable[[str, str], None]
    _gone: int = 0
    """Filings of earlier scenarios."""
    _posts: int = 0
    _set_at: int = 0

    @property
    def client(self) -> RealPortal:
        return self

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.wire.port}"

    def reset(self) -> None:
        """Nothing is filed, as far as the suite can see: each scenario has a dealer of its own."""
        self.wire.clear()
        self._gone, self._posts = len(self.filed()), self.wire.submits()

    def add_account(self, oem: str, dealer: str, username: str, password: str, *more: object) -> None:
        self.add_user(username, password)

    def advance(self, seconds: float) -> None:
        """A real application's clock can't be moved; nothing of it depends on time."""

    def set_fault(
        self, oem: str, fault: str, *, times: int | None = None, seconds: float | None = None, match: str | None = None
    ) -> None:
        self._set_at = len(self.wire.requests)
        self.wire.set(fault, times, 600.0 if seconds is None else seconds)

    def faults(self) -> list[dict[str, Any]]:
        return [{"fault": fault.name, "fired": fault.fired} for fault in self.wire.faults]

    def clear_faults(self, oem: str) -> None:
        self.wire.clear()

    def requests(self, path: str | None = None) -> list[dict[str, Any]]:
        return [seen for seen in self.wire.requests if path in (None, seen["path"])]

    def expect_request(self, path: str, timeout: float) -> dict[str, Any]:
        return self.wire.expect(path, self._set_at, max(timeout, PATIENCE))

    def truth(self, oem: str) -> dict[str, Any]:
        filings = [self._as_the_suite_wants(filing) for filing in self.filed()[self._gone :]]
        return {"filings": filings, "filed": len(filings), "submit_posts": self.wire.submits() - self._posts}

    def _as_the_suite_wants(self, filing: Filed) -> dict[str, Any]:
        dealer, order, line, coverage = filing.key
        values = {"repair_order": order, "line": line, "coverage": coverage}
        return {
            "business_key": business_key(self.subject.skin, "warranty", dealer, values),
            "reference": filing.reference,
            "attachments": [
                {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in filing.files.items()
            ],
        }


@contextmanager
def real_stage(oem: str, postgres: EmbeddedPostgres, scratch: Path) -> Iterator[Stage]:
    """The stage, with the application running and the database empty."""
    with ExitStack() as open_parts:
        portal = open_parts.enter_context(real_portal(oem))
        url = open_parts.enter_context(suites._database(postgres, scratch))
        engine = ledger_engine(url)
        migrate(engine)
        engine.dispose()
        subject = portal.subject
        clocks = Clocks(url, portal)  # type: ignore[arg-type]
        settings = read_settings(
            {
                f"{PREFIX}HOME": str(scratch),
                f"{PREFIX}DATABASE_URL": url,
                f"{PREFIX}SELECTORS": str(subject.selectors),
                f"{PREFIX}ATTEMPTS_BUDGET": "2",
                f"{PREFIX}PORTAL_URL_{oem.upper()}": portal.http_url,
            }
        )
        ledger = open_parts.enter_context(open_ledger(url, settings.attempts_budget))
        runtime = open_parts.enter_context(suites.browser(subject.adapter, settings))
        yield Stage(
            subject, settings, ledger, DirectoryStore(settings.evidence), cast(Simulator, portal), runtime.portal(oem),
            clocks,
        )  # fmt: skip


@contextmanager
def real_portal(oem: str) -> Iterator[RealPortal]:
    """The application with its adapter and newest pack, behind a wire that behaves."""
    own, port = free_port(), free_port()
    if oem == "trac":
        with trac(own) as app, wired(Wire(TRAC, own), port) as wire:
            yield RealPortal(
                make_subject(TracAdapter(), TracSkin, SELECTORS), wire, lambda: _tickets(app), app.add_user
            )
    else:
        with roundup(own, port) as tracker, wired(Wire(ROUNDUP, own), port) as wire:
            subject = make_subject(RoundupAdapter(), RoundupSkin, SELECTORS)
            yield RealPortal(subject, wire, lambda: _issues(tracker), tracker.add_user)


def _tickets(app: Trac) -> list[Filed]:
    filed = []
    for ticket in app.tickets():
        own = ticket.fields
        key = (ticket.reporter, own["repair_order"], own["repair_line"], own["coverage"])
        filed.append(Filed(key, f"#{ticket.number}", dict(ticket.files)))
    return filed


def _issues(tracker: Roundup) -> list[Filed]:
    filed = []
    for issue in tracker.issues():
        found = _TITLE.fullmatch(issue.title)
        assert found is not None, issue.title
        dealer, order, line, coverage = found.groups()
        assert dealer == issue.creator, f"{issue.title} was filed by {issue.creator}"
        filed.append(Filed((dealer, order, line, coverage), str(issue.number), dict(issue.files)))
    return filed
