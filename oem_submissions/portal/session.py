"""One browser context, logged in to one account, filing one claim after the other: the `PortalSession`.

It puts the procedure together (`signin`, `forms`, `gate`, `answer`), keeps one claim's trouble from the next, and lets
nothing leave that holds a secret (`scrubbing`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import urlsplit

from playwright.sync_api import Browser, HttpCredentials
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.contracts import ProbeFailure, ProbeReport
from oem_submissions.domain.evidence import FAILURE, PRE_SUBMIT, Artifact
from oem_submissions.domain.failures import ConfigurationError, StepFailed
from oem_submissions.domain.listing import Listing
from oem_submissions.domain.needles import Needles
from oem_submissions.domain.outcomes import Answer, Filed, LookUp, Outcome, Pending, Refused, Unknown, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import forms, readback, worth
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.answer import Asker, Ready
from oem_submissions.portal.capture import CaptureFailed
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.listing import list_account
from oem_submissions.portal.locators import is_visible, look_up
from oem_submissions.portal.lookup import ask_history
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.probe import OnView, Prober
from oem_submissions.portal.references import matches
from oem_submissions.portal.schema import Form
from oem_submissions.portal.scrubbing import Scrubber, clean_logs, leaves_clean, scrubbed
from oem_submissions.portal.signin import sign_in
from oem_submissions.portal.site_proxy import SiteProxy
from oem_submissions.portal.socks import origin_of
from oem_submissions.portal.standing import Character
from oem_submissions.portal.steps import LOOK_UP, Dialogs, Limits, Walk, close
from oem_submissions.portal.tunnel import SingleShotTunnel
from oem_submissions.ports import Account, Control, HandOvers, Prepared, Submission

log = logging.getLogger(__name__)
VIEWPORT = (1280, 1000)
"""Pixels."""


class BrowserSession:
    """A `ports.PortalSession`. Logs in when it is first used, and again when a claim's trouble spoiled the context."""

    def __init__(
        self, browser: Browser, adapter: PortalAdapter, pack: Pack, base_url: str, account: Account, limits: Limits,
        extra: Mapping[str, str], site_proxy: SiteProxy | None = None,
        on_page: Callable[[OnView], None] | None = None, readback_key: bytes | None = None,
        people: HandOvers | None = None,
    ) -> None:  # fmt: skip
        """`on_page` is called with every page of a form that a probe sees; `people` may help with the log-in.

        `readback_key` makes equal personal values of two claims provably equal; None: nobody can compare them.
        """
        self.scrubber = Scrubber(account.needles)
        self._readback_key = readback_key or secrets.token_bytes(32)
        self._on_page, self._people = on_page, people
        self._browser, self._adapter, self._pack = browser, adapter, pack
        self._base_url, self._account, self._limits, self._extra = base_url, account, limits, extra
        self._site_proxy = site_proxy
        self._walk: Walk | None = None
        self._tunnel: SingleShotTunnel | None = None
        """Of the context, and as long as it."""
        requests = tuple(form.submit.request for form in pack.data.forms.values())
        self._gate = SubmitGate(requests, limits.standstill_seconds)
        self._ready: Ready | None = None
        self._given: set[str] = set()
        """References that earlier claims of this session got."""
        self._locked_out: StepFailed | None = None

    @property
    def needles(self) -> Needles:
        """What no evidence may hold: secrets of account and portal so far, the personal values of the claim at hand."""
        return self.scrubber.needles

    # --- before the click ---

    @leaves_clean
    def prepare(self, submission: Submission) -> Prepared:
        """All steps up to the picture before the click. Raises `StepFailed`; then nothing was filed."""
        self._ready = None
        if self._locked_out is not None:
            raise self._locked_out  # one bad log-in only: a second may lock the account
        walk = self._walk_of(submission.claim_id)
        try:
            with walk.explained():
                return self._prepare(walk, submission)
        except StepFailed as failure:
            walk.learn_cookies()  # what failed may have said one that came after the last look
            artifacts = self._failure_picture(walk, failure, submission)
            explained = StepFailed(failure.reason, failure.text, failure.step or walk.step, artifacts)
            if failure.reason in (ReasonCode.LOGIN_FAILED, ReasonCode.MFA_REQUIRED):
                self._locked_out = explained
            self._drop()
            raise explained from failure
        except BaseException:
            self._drop()
            raise

    def _prepare(self, walk: Walk, submission: Submission) -> Prepared:
        form = self._pack.form(submission.claim.claim_type)
        values = self._values(form, submission)
        self._hide_values([submission])
        if not walk.step:
            walk.begin("log in")
            sign_in(walk, self._base_url, self._account, self._people)
            self._check_tunnel()
            walk.learn_cookies()
        self._gate.close()
        frame = forms.open_form(walk, form)
        filled = forms.fill_form(walk, form, frame, submission, values)
        forms.check_button(walk, form, frame)
        walk.begin("pre-shot")
        walk.learn_cookies()
        worth.require_uncovered(walk, form, filled, submission)
        url = walk.page.url
        places: dict[str, list[Character]] = {}
        shot = self._pre_shot(walk, filled, lambda: places.update(worth.places(form, filled, submission)))
        text = worth.text_before(walk, form, filled)
        worth.require_worth(walk, form, filled, places, shot, url)
        forms.note_numbers(walk, form, filled)
        seen = frozenset(filled.numbers | matches(form.confirmation.reference.pattern, text) | self._given)
        walk.check_dialogs()
        if self._gate.wire.blocked:
            raise walk.failed(
                ReasonCode.PAGE_CONTRACT_MISMATCH, "the page tried to submit by itself, and the gate stopped it"
            )
        self._ready = Ready(form, frame, values, seen, shot.data, submission)
        return Prepared(
            readback=tuple(filled.readback),
            artifacts=(
                shot,
                readback.artifact(filled.readback, self._readback_key),
                *readback.personal(filled.readback),
            ),
            text=text,
            url=url,
            browser=f"Chromium {self._browser.version}",
            viewport=VIEWPORT,
            warnings=tuple(filled.warnings),
        )

    def _check_tunnel(self) -> None:
        """A browser that goes around the tunnel, by some policy of the machine, may file twice: it files nothing."""
        assert self._tunnel is not None
        if not self._tunnel.has_reached(origin_of(self._base_url).host):
            raise ConfigurationError(
                f"The browser reaches {_origin(self._base_url)} without the single-shot tunnel: take away the policy"
                " that sets its proxy."
            )

    def _values(self, form: Form, submission: Submission) -> dict[str, str]:
        return form_values(self._adapter, self._pack, form, submission)

    @staticmethod
    def _pre_shot(walk: Walk, filled: forms.Filled, meanwhile: Callable[[], None]) -> Artifact:
        try:
            return walk.photograph(PRE_SUBMIT, {filled.frame: filled.shown}, meanwhile=meanwhile)
        except CaptureFailed as error:
            raise walk.failed(ReasonCode.PRE_EVIDENCE_MISSING, str(error).rstrip(".")) from error

    def _hide_values(self, submissions: Iterable[Submission]) -> None:
        """From here on these claims' personal and secret values are hidden, and those of earlier ones no more."""
        personal: list[tuple[str, str]] = []
        secret: list[tuple[str, str]] = []
        public: list[str] = []
        for submission in submissions:
            public += [submission.claim_id, submission.natural_key, submission.claim.dealer_code]
            form = self._pack.form(submission.claim.claim_type)
            for name, value in self._values(form, submission).items():
                match form.fields[name].sensitivity:
                    case "pii":
                        personal.append((name, value))
                    case "secret" if form.fields[name].kind == "text":  # what is chosen from a list is no secret word
                        secret.append((f"the field '{name}'", value))
                    case "public":
                        public.append(value)
        self.scrubber.begin_claim(personal, secret, public)

    # --- the click ---

    @leaves_clean
    def submit(self, on_sent: Callable[[Wire], None]) -> Answer:
        """Click once, and say what came of it. Raises nothing: what can't be told is an `Unknown` outcome."""
        ready, walk = self._ready, self._walk
        assert ready is not None, "prepare() comes first, and once per submit()"
        assert walk is not None
        self._ready = None
        asker = Asker(walk, self._gate, self._adapter, ready)
        outcome: Outcome
        try:
            outcome = asker.ask(lambda wire: on_sent(scrubbed(wire, self.scrubber)))
        except Exception as error:
            log.warning("After the click: %s", error, exc_info=error)
            what = walk.silence or f"something unforeseen happened: {_first_line(error)}"
            outcome = Unknown(ReasonCode.OUTCOME_UNKNOWN, f"After the click, {what}")
        finally:
            walk.watch.rest()
            self._gate.spend()
        answer = asker.answer(outcome)
        if isinstance(self._gate.refusal, KeyboardInterrupt | SystemExit):
            raise self._gate.refusal
        self._after(outcome)
        return answer

    def _after(self, outcome: Outcome) -> None:
        """Only after an answer that we understood can the next claim use the same pages."""
        assert self._walk is not None
        match outcome:
            case Filed(reference):
                self._given.add(reference.value)
            case Refused() | Pending():
                pass
            case Unknown():
                self._drop()
                return
        for page in self._walk.context.pages:
            if page is not self._walk.page:
                page.close()

    # --- held claims ---

    @leaves_clean
    def look_up(self, submission: Submission, control: Control | None = None) -> LookUp:
        """Find a claim in the portal's history. Raises `StepFailed`; the gate is closed all the while."""
        with self._reading(submission.claim_id) as walk:
            self._hide_values([submission, *([control.submission] if control else [])])
            return ask_history(walk, self._adapter, self._values, submission, control)

    @leaves_clean
    def list_history(self, since: datetime) -> Listing:
        """Every filing of the account since then. Raises `StepFailed`; the gate is closed all the while."""
        self.scrubber.begin_claim((), (), ())  # rows of all claims: by what they say, claims are told apart
        with self._reading("") as walk:
            return list_account(walk, self._adapter, since)

    @leaves_clean
    def probe(self, samples: Sequence[Submission]) -> ProbeReport:
        """Walk through every form up to the submit button, with the gate closed; what is not as the pack says.

        Raises `ConfigurationError` when adapter and pack don't fit together. Trouble of the portal is in the report.
        """
        prober: Prober | None = None
        try:
            with self._signed_in("") as walk:
                self._hide_values(samples)
                by_type = {sample.claim.claim_type: sample for sample in reversed(samples)}
                prober = Prober(walk, self._gate, self._values, by_type, self._on_page)
                prober.walk_through()
        except StepFailed as failure:
            return prober.report(failure) if prober else ProbeReport((), (), {}, ProbeFailure.of(failure))
        return prober.report()

    @contextmanager
    def _reading(self, claim_id: str) -> Iterator[Walk]:
        """Signed in, to read the history."""
        with self._signed_in(claim_id) as walk:
            walk.begin(LOOK_UP)
            yield walk
            walk.check_dialogs()
            if self._gate.wire.blocked:
                raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, "the history tried to submit, and was stopped")

    @contextmanager
    def _signed_in(self, claim_id: str) -> Iterator[Walk]:
        """Signed in, with the gate closed. Whatever goes wrong spoils the context; a refused log-in is the last one."""
        self._ready = None
        if self._locked_out is not None:
            raise self._locked_out
        walk = self._walk_of(claim_id)
        self._gate.close()
        try:
            with walk.explained():
                if not walk.step:
                    walk.begin("log in")
                    sign_in(walk, self._base_url, self._account, self._people)
                walk.learn_cookies()
                yield walk
        except StepFailed as failure:
            walk.learn_cookies()
            if failure.reason in (ReasonCode.LOGIN_FAILED, ReasonCode.MFA_REQUIRED):
                self._locked_out = failure
            self._drop()
            raise
        except BaseException:
            self._drop()
            raise

    # --- contexts ---

    def _walk_of(self, claim_id: str) -> Walk:
        if self._walk is None:
            tunnel = self._tunnel_of_context()
            context = self._browser.new_context(
                proxy={"server": tunnel.url},
                viewport={"width": VIEWPORT[0], "height": VIEWPORT[1]},
                locale="en-US",
                timezone_id=self._adapter.cadence.timezone,
                reduced_motion="reduce",
                service_workers="block",
                accept_downloads=False,
                http_credentials=self._basic_credentials(),
            )
            self._gate.install(context, tunnel)
            self._gate.close()
            self._walk = Walk(
                context, context.new_page(), self._pack, self._account.dealer, self._limits, self._extra,
                self.scrubber, dialogs=Dialogs(),
            )  # fmt: skip
        self._walk.claim_id = claim_id
        return self._walk

    def _tunnel_of_context(self) -> SingleShotTunnel:
        if self._tunnel is None:
            tunnel = SingleShotTunnel(self._site_proxy)
            tunnel.start()
            self._tunnel = tunnel
        return self._tunnel

    def _basic_credentials(self) -> HttpCredentials | None:
        if self._pack.login.method != "basic":
            return None
        return {
            "username": self._account.username,
            "password": self._account.password,
            "origin": _origin(self._base_url),
        }

    def _failure_picture(self, walk: Walk, failure: StepFailed, submission: Submission) -> tuple[Artifact, ...]:
        """What the page looks like; never of a log-in page, never with a secret, and never a second failure."""
        if walk.step == "log in" or failure.reason is ReasonCode.SESSION_EXPIRED:
            return ()
        walk.watch.alive()
        try:
            form = self._pack.form(submission.claim.claim_type)
            frames = [frame for frame in walk.page.frames if not frame.is_detached()]
            return (walk.photograph(FAILURE, {frame: forms.known_handles(frame, form) for frame in frames}),)
        except (CaptureFailed, PlaywrightError, ConfigurationError):
            return ()
        finally:
            walk.watch.rest()

    def _drop(self) -> None:
        """Throw the context away: the next claim logs in afresh."""
        walk, self._walk, self._ready = self._walk, None, None
        tunnel, self._tunnel = self._tunnel, None
        if walk is not None:
            close(walk.context)
        if tunnel is not None:
            tunnel.close()

    def close(self) -> None:
        """Sign out where the pack says how, and leave nothing behind."""
        with clean_logs(self.scrubber):
            self._close()

    def _close(self) -> None:
        walk = self._walk
        if walk is not None and walk.step and self._pack.login.sign_out is not None:
            try:
                self._gate.spend()
                walk.watch.alive()
                walk.dialogs.leaving = True
                if is_visible(walk.page.main_frame, self._pack.login.sign_out):
                    look_up(walk.page.main_frame, self._pack.login.sign_out).click()
            except PlaywrightError as error:
                log.info("Signing out of %s failed: %s", self._pack.oem, _first_line(error))
            finally:
                walk.watch.rest()
        self._drop()


def form_values(adapter: PortalAdapter, pack: Pack, form: Form, submission: Submission) -> dict[str, str]:
    """The claim as its form wants it, by field name; our claim id where the form takes it. Pure.

    Raises `ConfigurationError` when adapter and pack don't fit together.
    """
    values = dict(adapter.form_values(submission.claim))
    if form.takes_our_reference is not None:
        values[form.takes_our_reference] = submission.claim_id
    unknown = sorted(set(values) - set(form.fields))
    if unknown:
        raise ConfigurationError(
            f"The adapter of {pack.oem} fills '{unknown[0]}', which pack {pack.version} does not have:"
            " correct the mapping or add the field in a new version."
        )
    return values


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
