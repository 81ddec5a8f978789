"""Adapter, pack and browser put together. One browser per runtime, a fresh context per session.

Sync Playwright belongs to the thread that started it: open and close a runtime within one thread, and within one run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.sync_api import Browser, sync_playwright

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.listing import Likeness, ListingRules
from oem_submissions.domain.looking import HistoryRules
from oem_submissions.domain.records import Pins
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.browser import BrowserChoice, find_browser, launch
from oem_submissions.portal.goldens import came_out_right, check_goldens
from oem_submissions.portal.listing import likeness, natural_key_fields
from oem_submissions.portal.packs import Pack, check_packs, load_pack
from oem_submissions.portal.papers import require_whose
from oem_submissions.portal.probe import OnView
from oem_submissions.portal.session import BrowserSession, form_values
from oem_submissions.portal.site_proxy import SiteProxy
from oem_submissions.portal.steps import Limits
from oem_submissions.ports import Account, HandOvers, SessionShelf, Submission

log = logging.getLogger(__name__)
_checked: set[tuple[str, str]] = set()
"""Packs and adapters, by digest, whose goldens came out right in this process."""


class BrowserPortal:
    """A `ports.Portal`: one OEM, with adapter and pack pinned."""

    def __init__(
        self, runtime: BrowserRuntime, adapter: PortalAdapter, pack: Pack, base_url: str, limits: Limits,
        extra: Mapping[str, str], site_proxy: SiteProxy | None, on_page: Callable[[OnView], None] | None = None,
        readback_key: bytes | None = None, people: HandOvers | None = None,
    ) -> None:  # fmt: skip
        self._readback_key, self._people = readback_key, people
        self._on_page = on_page
        self.oem = adapter.oem
        self.pins = Pins(adapter.digest, pack.version, pack.digest)
        self._runtime, self._adapter, self._pack, self._base_url = runtime, adapter, pack, base_url
        self._limits, self._extra, self._site_proxy = limits, extra, site_proxy

    @contextmanager
    def session(
        self, account: Account, shelf: SessionShelf | None = None, *, attended: bool = True
    ) -> Iterator[BrowserSession]:
        """A session that logs in when it is first used, and leaves nothing behind but what it keeps on the shelf.

        `attended`: whether a person may be asked for help with the log-in, where there are people for that. Raises
        `ConfigurationError` when the pack's golden pages don't come out as they should.
        """
        browser = self._runtime.browser()
        checked = (self.pins.pack_digest, self.pins.adapter_digest)
        if checked not in _checked:
            came_out_right(self._pack, self._adapter, browser, self._runtime.remembered)
            _checked.add(checked)
        session = BrowserSession(
            browser, self._adapter, self._pack, self._base_url, account, self._limits, self._extra, self._site_proxy,
            self._on_page, self._readback_key, shelf, self._people if attended else None,
        )  # fmt: skip
        in_order = False
        try:
            yield session
            in_order = True
        finally:
            session.close(in_order)

    def history_rules(self, claim_type: str) -> HistoryRules | None:
        """What the pack says of where such claims are looked up; None when it says nothing."""
        form = self._pack.form(claim_type)
        if form.history is None and form.confirmation.email is None:
            return None
        later = form.confirmation.later
        hours = later.deadline_hours if later else None
        settle = form.history.settle_minutes if form.history else None
        return HistoryRules(settle, hours, form.history is not None and form.documents is not None)

    def listing_rules(self, claim_type: str) -> ListingRules | None:
        """What the pack says of the whole list of such claims; None when this version can't list them."""
        history = self._pack.form(claim_type).history
        if history is None or history.listing is None:
            return None
        decisions = history.listing.decisions
        days = decisions.deadline_days if decisions else None
        return ListingRules(history.settle_minutes, history.listing.days, days)

    def likeness(self, submission: Submission) -> Likeness:
        """How the list would show the claim. Only for types that can be listed."""
        claim_type = submission.claim.claim_type
        values = form_values(self._adapter, self._pack, self._pack.form(claim_type), submission)
        return likeness(self._pack.form(claim_type), values, natural_key_fields(self._adapter, claim_type))


class BrowserRuntime:
    """Context manager over one browser, launched when the first session needs it, relaunched when it died."""

    def __init__(
        self,
        adapter_of: Callable[[str], PortalAdapter],
        selectors: Path,
        base_urls: Mapping[str, str],
        *,
        limits: Limits | None = None,
        choice: BrowserChoice | None = None,
        browser_arguments: tuple[str, ...] = (),
        log_extra: Mapping[str, str] | None = None,
        site_proxy: SiteProxy | None = None,
        readback_key: bytes | None = None,
        remembered: Path | None = None,
        people: HandOvers | None = None,
    ) -> None:
        """`base_urls` by OEM; `log_extra` goes with every log record, for example the run's id.

        `site_proxy` is the one that this site makes everybody use; None where there is none. `readback_key` is the
        tenant's, for the HMAC of personal values that are read back; None makes one up for every session.
        `remembered` is the folder that says which golden pages came out right, see `goldens`. `people` help with
        log-ins; None: nobody does.
        """
        self._people = people
        self.remembered = remembered
        self._readback_key = readback_key
        self._adapter_of, self._selectors, self._base_urls = adapter_of, selectors, base_urls
        self._limits, self._choice, self._arguments = limits or Limits(), choice, browser_arguments
        self._extra, self._site_proxy = dict(log_extra or {}), site_proxy
        self._open = ExitStack()
        self._browser: Browser | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser = None
        self._open.close()

    def browser(self) -> Browser:
        """The running browser. Raises `ConfigurationError` when there is none on this machine."""
        if self._browser is None or not self._browser.is_connected():
            self._open.close()
            choice = self._choice or find_browser()
            playwright = self._open.enter_context(sync_playwright())
            self._browser = launch(playwright, choice, self._arguments)
            self._open.callback(self._browser.close)
            log.info("Browser: %s %s (%s)", choice.path, self._browser.version, choice.why)
        return self._browser

    def portal(
        self, oem: str, pack_version: str | None = None, on_page: Callable[[OnView], None] | None = None
    ) -> BrowserPortal:
        """The OEM's portal with its newest pack, or the one named. Raises `ConfigurationError` with one sentence.

        `on_page` is called with every page of a form that a probe sees.
        """
        adapter = self._adapter_of(oem)
        pack = load_pack(self._selectors, oem, pack_version)
        require_whose(adapter, pack)
        if oem not in self._base_urls:
            raise ConfigurationError(
                f"The address of {oem}'s portal is not set: set OEM_SUBMISSIONS_PORTAL_URL_{oem.upper()}."
            )
        return BrowserPortal(
            self, adapter, pack, self._base_urls[oem], self._limits, self._extra, self._site_proxy, on_page,
            self._readback_key, self._people,
        )  # fmt: skip

    def check(self) -> list[Pack]:
        """Every pack with its golden pages. Raises `ConfigurationError` at the first that is wrong."""
        packs = check_packs(self._selectors)
        for pack in packs:
            require_whose(self._adapter_of(pack.oem), pack)
            check_goldens(pack, self._adapter_of(pack.oem), self.browser())
        return packs
