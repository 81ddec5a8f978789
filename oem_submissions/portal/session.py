"""One browser context, logged in to one account, filing one claim after the other: the `PortalSession`.

It puts the procedure together (`signin`, `forms`, `gate`, `answer`), keeps one claim's trouble from the next, and lets
nothing leave that holds a secret (`scrubbing`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from playwright.sync_api import Browser, HttpCredentials, StorageState
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.contracts import ProbeFailure, ProbeReport
from oem_submissions.domain.evidence import FAILURE, PRE_SUBMIT, Artifact
from oem_submissions.domain.failures import ConfigurationError, StepFailed
from oem_submissions.domain.listing import Listing
from oem_submissions.domain.needles import Needles
from oem_submissions.domain.outcomes import Answer, Filed, LookUp, Outcome, Pending, Reference, Refused, Unknown, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import forms, kept, papers, readback, worth
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.answer import Asker, Ready
from oem_submissions.portal.capture import CaptureFailed
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.listing import list_account
from oem_submissions.portal.locators import is_visible, look_up
from oem_submissions.portal.lookup import ask_history
from oem_submissions.portal.mailed import Mailed, ask_mailbox, photograph
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.probe import OnView, Prober
from oem_submissions.portal.references import matches
from oem_submissions.portal.schema import Form
from oem_submissions.portal.scrubbing import Scrubber, clean_logs, leaves_clean, scrubbed
from oem_submissions.portal.signin import find_signed_in, sign_in
from oem_submissions.portal.site_proxy import SiteProxy
from oem_submissions.portal.socks import origin_of
from oem_submissions.portal.standing import Character
from oem_submissions.portal.steps import LOOK_UP, Dialogs, Limits, Walk, close
from oem_submissions.portal.tunnel import SingleShotTunnel
from oem_submissions.ports import Account, Control, HandOvers, KeptSession, Prepared, SessionShelf, Submission

log = logging.getLogger(__name__)
VIEWPORT = (1280, 1000)
"""Pixels."""


class BrowserSession:
    """A `ports.PortalSession`. Logs in when it is first used, and again when a claim's trouble spoiled the context."""

    def __init__(
        self, browser: Browser, adapter: PortalAdapter, pack: Pack, base_url: str, account: Account, limits: Limits,
        extra: Mapping[str, str], site_proxy: SiteProxy | None = None,
        on_page: Callable[[OnView], None] | None = None, readback_key: bytes | None = None,
        shelf: SessionShelf | None = None, people: HandOvers | None = None,
    ) -> None:  # fmt: skip
        """`on_page` is called with every page of a form that a probe sees; `people` may help with the log-in.

        `readback_key` makes equal personal values of two claims provably equal; None: nobody can compare them. Without
        a `shelf`, or where the pack has no `login.reuse`, the session logs in for itself, and is kept for nobody.
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
        self._shelf = shelf if pack.login.reuse else None
        self._fits = kept.fits(pack, adapter.digest, account, base_url) if self._shelf else ""
        self._to_take = True
        """Whether a kept session was not looked for yet: it is, once."""
        self._in_order = True
        """Whether nothing went wrong yet: else the session is not kept."""
        self._signed_in_at = 0.0
        """By the monotonic clock."""
        self._reused = ""

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
            self._spoil()
            raise explained from failure
        except BaseException:
            self._spoil()
            raise

    def _prepare(self, walk: Walk, submission: Submission) -> Prepared:
        form = self._pack.form(submission.claim.claim_type)
        values = self._values(form, submission)
        self._hide_values([submission])
        self._sign_in(walk)
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
            reused=self._reused,
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
                self._spoil()
                return
        for page in self._walk.context.pages:
            if page is not self._walk.page:
                page.close()

    # --- held claims ---

    @leaves_clean
    def look_up(self, submission: Submission, control: Control | None = None, since: datetime | None = None) -> LookUp:
        """Find a claim in the portal's history, and in the e-mails that came `since` its click.

        Raises `StepFailed`; the gate is closed all the while.
        """
        form = self._pack.form(submission.claim.claim_type)
        self._hide_values([submission, *([control.submission] if control else [])])
        mailed = self._ask_mailbox(form, submission, since)
        if form.history is None:
            assert mailed is not None, "who asks has read the rules first"
            return LookUp((), None, self._of_mail(form, submission, mailed), "", "", mailed.found, has_history=False)
        with self._reading(submission.claim_id) as walk:
            look = ask_history(walk, self._adapter, self._values, submission, control)
        if mailed is None:
            return look
        return replace(look, artifacts=(*look.artifacts, *self._of_mail(form, submission, mailed)), mailed=mailed.found)

    def _ask_mailbox(self, form: Form, submission: Submission, since: datetime | None) -> Mailed | None:
        """None where no e-mail gives the number, or nobody knows of a click that it could have come after."""
        rule = form.confirmation.email
        if rule is None or since is None:
            return None
        wanted = papers.wanted(rule, form, self._values(form, submission), submission)
        return ask_mailbox(self._account, form, self._adapter, wanted, since)

    def _of_mail(self, form: Form, submission: Submission, mailed: Mailed) -> tuple[Artifact, ...]:
        """The e-mail that gave the number: as it came, what it says, and a picture of that."""
        rule, paper, reference = form.confirmation.email, mailed.paper, mailed.found
        if rule is None or paper is None or not isinstance(reference, Reference):
            return ()
        wanted = papers.wanted(rule, form, self._values(form, submission), submission)
        try:
            shot = photograph(self._browser, paper, reference, self.scrubber)
        except (CaptureFailed, PlaywrightError) as error:
            what = f"the e-mail could not be photographed: {_first_line(error).rstrip('.')}"
            raise StepFailed(
                ReasonCode.POST_EVIDENCE_MISSING, f"Claim {submission.claim_id}: {what}.", LOOK_UP
            ) from error
        return (shot, papers.document(paper, wanted, self.scrubber), paper.raw)

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
                self._sign_in(walk)
                walk.learn_cookies()
                yield walk
        except StepFailed as failure:
            walk.learn_cookies()
            if failure.reason in (ReasonCode.LOGIN_FAILED, ReasonCode.MFA_REQUIRED):
                self._locked_out = failure
            self._spoil()
            raise
        except BaseException:
            self._spoil()
            raise

    # --- log-in, or none ---

    def _sign_in(self, walk: Walk) -> None:
        """Unless the context is signed in, by us or by an earlier run."""
        if walk.step:
            return
        walk.begin("log in")
        self._signed_in_at, self._reused = time.monotonic(), ""
        sign_in(walk, self._base_url, self._account, self._people)
        self._check_tunnel()
        walk.learn_cookies()
        if self._shelf is not None and not kept.learn_storage(walk):
            self._in_order = False  # what is kept, evidence must not hold

    def _resume(self, claim_id: str) -> None:
        """Go on in the session that an earlier run has kept, if the portal still knows it; else there is no context.

        Nothing is filled in here: a session that is over costs no log-in, and is no trouble of this run.
        """
        self._to_take = False
        session = self._shelf.take() if self._shelf is not None else None
        if session is None or (state := kept.read_back(session.state, self._fits)) is None:
            return
        kept.learn(self.scrubber, state)
        self._signed_in_at = time.monotonic() - session.seconds
        self._reused = f"signed in {session.seconds / 60:.0f} minutes before, session reused"
        resumed = False
        try:
            walk = self._walk = self._new_walk(claim_id, state)
            walk.begin("log in", self._reused)
            with walk.explained():
                find_signed_in(walk, self._base_url)
                walk.check_dialogs()
            self._check_tunnel()
            walk.learn_cookies()
            resumed = True
        except (StepFailed, PlaywrightError) as error:
            said = walk.said(error) if isinstance(error, StepFailed) else _first_line(error)
            log.info("The session is not reused, but signed in anew: %s", said, extra=dict(self._extra))
        finally:
            if not resumed:
                self._drop()

    def _keep(self) -> bool:
        """Keep the session for the account's next run, if nothing went wrong in this one; whether it is kept."""
        walk, reuse = self._walk, self._pack.login.reuse
        if walk is None or not walk.step or not self._in_order or self._shelf is None or reuse is None:
            return False
        state = kept.write_down(walk, self._fits)
        if state is None:
            return False
        return self._shelf.keep(KeptSession(state, time.monotonic() - self._signed_in_at), reuse.minutes * 60.0)

    # --- contexts ---

    def _walk_of(self, claim_id: str) -> Walk:
        if self._walk is None and self._to_take:
            self._resume(claim_id)
        if self._walk is None:
            self._walk = self._new_walk(claim_id)
        self._walk.claim_id = claim_id
        return self._walk

    def _new_walk(self, claim_id: str, state: StorageState | None = None) -> Walk:
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
            storage_state=state,
        )
        self._gate.install(context, tunnel)
        self._gate.close()
        return Walk(
            context, context.new_page(), self._pack, self._account.dealer, self._limits, self._extra,
            self.scrubber, claim_id=claim_id, dialogs=Dialogs(),
        )  # fmt: skip

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

    def _spoil(self) -> None:
        """Something went wrong: the next claim logs in afresh, and no session of this run is kept."""
        self._in_order = False
        self._drop()

    def _drop(self) -> None:
        """Throw the context away."""
        walk, self._walk, self._ready = self._walk, None, None
        tunnel, self._tunnel = self._tunnel, None
        if walk is not None:
            close(walk.context)
        if tunnel is not None:
            tunnel.close()

    def close(self, in_order: bool = False) -> None:
        """Keep the session for the next run, or sign out where the pack says how; leave nothing else behind.

        `in_order`: who used the session has ended without an error.
        """
        self._in_order = self._in_order and in_order
        with clean_logs(self.scrubber):
            try:
                if not self._keep():
                    self._sign_out()
            finally:
                self._drop()

    def _sign_out(self) -> None:
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
