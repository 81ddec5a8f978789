"""The real parts that scenarios run on: PostgreSQL, Chromium, the simulated portal, the evidence store. No scenario.

One of each for all scenarios: what keeps these apart is that each has a dealer of its own.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from adapters.registry import adapter
from oem_submissions.conformance.clocks import Clocks
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine, open_ledger
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.packs import Pack, load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.steps import Limits
from oem_submissions.ports import Portal
from oem_submissions.settings import PREFIX, Settings, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.skin import Skin
from oem_submissions.simulator.skins import SKINS

LIMITS = Limits(page_seconds=15, action_seconds=5, sent_seconds=3, answer_seconds=5)
"""A portal on this machine answers at once or not at all."""


@dataclass(frozen=True)
class Subject:
    """What is tried: an adapter with its newest pack, and the skin of its portal."""

    adapter: PortalAdapter
    pack: Pack
    skin: type[Skin]
    selectors: Path

    @property
    def oem(self) -> str:
        """The OEM's name."""
        return self.adapter.oem


def make_subject(one: PortalAdapter, skin: type[Skin], selectors: Path) -> Subject:
    """Raises `ConfigurationError` when adapter, pack and skin don't belong together."""
    if skin.oem != one.oem:
        raise ConfigurationError(
            f"The skin {skin.__name__} is for '{skin.oem}', not for '{one.oem}': name another one."
        )
    if missing := sorted(set(one.claim_types()) - set(skin.kinds)):
        raise ConfigurationError(
            f"The adapter of {one.oem} files '{missing[0]}', which the skin {skin.__name__} does not take."
        )
    return Subject(one, load_pack(selectors, one.oem), skin, selectors)


def registered(oem: str, selectors: Path, skin: type[Skin] | None) -> Subject:
    """The OEM's adapter as it is registered, with our own skin unless there is another one."""
    known = skin or SKINS.get(oem)
    if known is None:
        raise ConfigurationError(
            f"There is no simulator skin for '{oem}': write one, and name it by --skin MODULE:CLASS."
        )
    return make_subject(adapter(oem), known, selectors)


@dataclass(frozen=True)
class Stage:
    """Everything that a scenario needs, running."""

    subject: Subject
    settings: Settings
    ledger: Ledger
    evidence: DirectoryStore
    simulator: Simulator
    portal: Portal
    """The subject, pinned, behind the one browser."""
    clocks: Clocks


@contextmanager
def set_up(subject: Subject, postgres: EmbeddedPostgres | None = None) -> Iterator[Stage]:
    """A stage in a temporary folder, gone at the end; `postgres` is a server to use instead of one of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="oem-submissions-conformance-", ignore_cleanup_errors=True) as scratch,
        _database(postgres, Path(scratch)) as url,
        Simulator(skins=[subject.skin]) as simulator,
    ):
        engine = ledger_engine(url)
        migrate(engine)
        engine.dispose()
        clocks = Clocks(url, simulator.client)
        settings = read_settings(
            {
                f"{PREFIX}HOME": scratch,
                f"{PREFIX}DATABASE_URL": url,
                f"{PREFIX}SELECTORS": str(subject.selectors),
                f"{PREFIX}ATTEMPTS_BUDGET": "2",  # one that fails, one more: a third shows nothing new
                f"{PREFIX}PORTAL_URL_{subject.oem.upper()}": simulator.http_url,
            }
        )
        with open_ledger(url, settings.attempts_budget) as ledger, browser(subject.adapter, settings) as runtime:
            evidence = DirectoryStore(settings.evidence)
            yield Stage(subject, settings, ledger, evidence, simulator, runtime.portal(subject.oem), clocks)


def browser(one: PortalAdapter, settings: Settings) -> BrowserRuntime:
    """A browser for this adapter alone."""
    return BrowserRuntime(lambda oem: one, settings.selectors, settings.portal_urls, limits=LIMITS)


@contextmanager
def _database(given: EmbeddedPostgres | None, scratch: Path) -> Iterator[str]:
    """The URL of an empty database of our own."""
    server = given or EmbeddedPostgres(scratch / "postgres")
    name = f"conformance_{uuid.uuid4().hex[:12]}"
    try:
        yield server.url(name)
    finally:
        if given is None:
            server.stop()
        else:
            with psycopg.connect(given.url("postgres"), autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
