"""Filing with the submit gate, the single-shot tunnel, leases and read-back switched off: to measure what they cost.

Never for use: it may file twice. Production has no switch for it; its parts are replaced here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from playwright.sync_api import Browser, BrowserContext, Request

from oem_submissions.domain.evidence import DEALER_READBACK, FieldReadback
from oem_submissions.domain.outcomes import Wire
from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal import filling, forms
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.runtime import BrowserPortal
from oem_submissions.portal.schema import Form, FormPage
from oem_submissions.portal.session import BrowserSession
from oem_submissions.portal.steps import Walk
from oem_submissions.portal.tunnel import SingleShotTunnel
from oem_submissions.ports import Account, Prepared, SessionShelf, Submission

LONG = 24 * 3600.0


class NoTunnel(SingleShotTunnel):
    """The browser reaches the portal directly."""

    def start(self) -> None:
        pass

    @property
    def url(self) -> str:
        return ""

    def has_reached(self, host: str) -> bool:
        return True

    def close(self) -> None:
        pass


class DirectBrowser:
    """The browser, whose contexts go around every tunnel."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @property
    def version(self) -> str:
        return self._browser.version

    def new_context(self, proxy: Mapping[str, str], **options: Any) -> BrowserContext:
        return self._browser.new_context(**options)


class NoGate(SubmitGate):
    """Stops nothing and records nothing; it listens for the answer, because the judgement after the click needs it."""

    def install(self, context: BrowserContext, tunnel: SingleShotTunnel | None) -> None:
        context.on("request", self._note)
        context.on("response", self._on_response)
        context.on("requestfailed", self._on_failed)

    def arm(self, on_sent: Callable[[Wire], None]) -> None:
        pass

    def _note(self, request: Request) -> None:
        if request.method == "POST" and self._rules_of(request):
            self._request = request


class UnguardedSession(BrowserSession):
    """Without tunnel, gate and read-back."""

    def __init__(self, browser: Browser, *others: Any) -> None:
        super().__init__(DirectBrowser(browser), *others)  # type: ignore[arg-type]
        self._gate = NoGate(tuple(form.submit.request for form in self._pack.data.forms.values()))

    def _tunnel_of_context(self) -> SingleShotTunnel:
        self._tunnel = NoTunnel()
        return self._tunnel

    def _prepare(self, walk: Walk, submission: Submission) -> Prepared:
        with patch.multiple(forms, _read_back=_believe, _check_dealer=_nothing, _read_back_files=_nothing):
            prepared = super()._prepare(walk, submission)
        return replace(prepared, artifacts=prepared.artifacts[:1])  # the picture, without what was read back


def _believe(
    walk: Walk, form: Form, page: FormPage, filled: forms.Filled, values: Any, controls: list[filling.Control]
) -> None:
    """The controls may stand in the picture; what they hold is not looked at."""
    filled.shown += [control.handle for control in controls if control.field.sensitivity == "public"]
    filled.readback.append(FieldReadback(DEALER_READBACK, "believed", walk.dealer, walk.dealer, "public"))


def _nothing(*arguments: Any) -> None:
    pass


class UnguardedPortal(BrowserPortal):
    """A portal of such sessions."""

    @contextmanager
    def session(
        self, account: Account, shelf: SessionShelf | None = None, *, attended: bool = True
    ) -> Iterator[BrowserSession]:
        session = UnguardedSession(
            self._runtime.browser(), self._adapter, self._pack, self._base_url, account, self._limits, self._extra
        )
        try:
            yield session
        finally:
            session.close()


def unguarded(portal: BrowserPortal) -> UnguardedPortal:
    """The same portal, unguarded."""
    copy = UnguardedPortal.__new__(UnguardedPortal)
    vars(copy).update(vars(portal))
    return copy


class LedgerWithoutLeases(Ledger):
    """Takes the account once, for all runs; no heartbeat, no recovery, and no record that the request is to leave."""

    def acquire_lease(self, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Lease | None:
        if not hasattr(self, "_lease"):
            self._lease = super().acquire_lease(oem, dealer, run_id, worker, LONG)
        return self._lease

    def renew_lease(self, lease: Lease, seconds: float) -> Lease:
        return lease

    def release_lease(self, lease: Lease) -> None:
        pass

    def recover(self, lease: Lease) -> list[Claim]:
        return []

    def record_sent(self, attempt: Attempt, lease: Lease, wire: Wire) -> None:
        pass
