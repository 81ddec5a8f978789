"""The release gate at work: what is new is seen, verified on pilot dealers, promoted; what goes wrong is suspended.

The rules are in `domain.releases` (who is enqueued) and `domain.gate` (the streak); the ledger remembers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from oem_submissions.domain.contracts import ProbeRecord
from oem_submissions.domain.failures import ConfigurationError, StateConflict
from oem_submissions.domain.gate import NEEDED, Streak, streak
from oem_submissions.domain.records import AlertKind, Lease, NewAlert, Pins
from oem_submissions.domain.releases import (
    Admission,
    Cause,
    Note,
    Release,
    ReleaseState,
    admit,
    deployed,
    production,
    verifying,
)
from oem_submissions.ports import ClaimRules, Ledger
from oem_submissions.services.queue import why_wait

_log = logging.getLogger(__name__)
_ACTOR = "release gate"
_NO_PILOT = "Nobody can verify it: make a dealer its pilot with `oem-submissions dealers import`."


# --- who files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LedgerGate:
    """The `ReleaseGate` port: what the ledger's releases say of the code that runs."""

    ledger: Ledger
    adapters: Mapping[str, ClaimRules]
    probe_minutes: float
    """For so long a probe that found nothing wrong is believed."""

    def closed(self, lease: Lease, period: str, pins: Pins) -> str:
        """Why the lease's run may file nothing now; empty when it may, and then it is pinned to its release."""
        oem = lease.oem
        releases = deployed(self.ledger.releases(oem), self.adapters[oem].digest)
        trial = verifying(releases)
        others = self.ledger.verifying_runs(trial, but=lease.run_id) if trial is not None else []
        pilot = lease.dealer in self.ledger.pilots(oem)
        admission = admit(releases, pilot=pilot, turn_taken=bool(others))
        release = admission.release
        if release is None:
            return f"Nothing is filed for {oem}/{lease.dealer}: {admission.why_not}"
        if release.pins != pins:
            return f"This run has pack {pins.pack_version}, {oem}/{lease.dealer} files with {release.name} since."
        if why := why_wait(self.ledger, self.adapters[oem].cadence, release):
            return f"Nothing is begun at {oem}: {why}"
        if not self.ledger.begin_run(lease, period, release, alone=release.is_verifying):
            return f"Release {release.name} of {oem} has just moved, or another pilot's run was faster: the next one."
        return ""

    def probe_is_due(self, oem: str, pins: Pins) -> bool:
        """Whether the last probe of these two is too old, or from before the release was resumed."""
        last = self.ledger.last_probe(oem, pins.adapter_digest, pins.pack_digest)
        if last is None:
            return True
        release = next((r for r in self.ledger.releases(oem) if r.pins == pins), None)
        resumed = release.last_resumed if release is not None else None
        if resumed is not None and last.at < resumed:
            return True
        return last.red or self.ledger.now() - last.at > timedelta(minutes=self.probe_minutes)

    def probed(self, record: ProbeRecord) -> None:
        """Suspend or resume the release that was probed."""
        follow_probe(self.ledger, record)


class OpenGate:
    """The `ReleaseGate` port where there is no gate yet: the conformance suite tries what is not released."""

    def closed(self, lease: Lease, period: str, pins: Pins) -> str:
        """Never."""
        return ""

    def probe_is_due(self, oem: str, pins: Pins) -> bool:
        """Never: every scenario looks at the pages as a filing does."""
        return False

    def probed(self, record: ProbeRecord) -> None:
        """Nothing follows."""


def admission(ledger: Ledger, rules: ClaimRules, dealer: str) -> Admission:
    """What a dealer's run files with, if it begins now. The turn of pilots is taken when the run holds its account."""
    releases = deployed(ledger.releases(rules.oem), rules.digest)
    return admit(releases, pilot=dealer in ledger.pilots(rules.oem), turn_taken=False)


def reading_pack(ledger: Ledger, rules: ClaimRules) -> str | None:
    """The pack that reads histories: the one in production, else the newest one that was seen; None when none was."""
    releases = deployed(ledger.releases(rules.oem), rules.digest)
    known = production(releases) or next(iter(releases), None)
    return known.pins.pack_version if known else None


# --- the way of a release -----------------------------------------------------------------------------------------


def advance(ledger: Ledger, rules: ClaimRules, newest: Pins | None) -> list[str]:
    """Look at what is deployed, and move releases on by one step; what happened, a sentence each.

    `newest` is the deployed adapter with its newest released pack; None when no pack is released.
    """
    happened: list[str] = []
    if newest is not None and ledger.see_release(rules.oem, newest, _ACTOR):
        happened.append(f"{rules.oem}: a new release was seen, {_named(newest)}.")
    releases = deployed(ledger.releases(rules.oem), rules.digest)
    if releases and releases[0].state is ReleaseState.CANDIDATE:
        happened += _begin_to_verify(ledger, rules, releases)
        releases = deployed(ledger.releases(rules.oem), rules.digest)
    trial = verifying(releases)
    if trial is not None and trial.state is ReleaseState.VERIFYING:
        happened += _try_gate(ledger, rules, trial)
    for sentence in happened:
        _log.info("%s", sentence)
    return happened


def _begin_to_verify(ledger: Ledger, rules: ClaimRules, releases: Sequence[Release]) -> list[str]:
    new, pilots = releases[0], ledger.pilots(rules.oem)
    if not pilots:
        if new.why != _NO_PILOT:
            ledger.note_release(new, Note.SEEN, _ACTOR, _NO_PILOT)
        return []
    before = [release for release in releases[1:] if release.is_verifying or release.state is ReleaseState.CANDIDATE]
    text = f"Pilot dealers {', '.join(pilots)} verify it, one run at a time."
    if not ledger.note_release(new, Note.VERIFYING, _ACTOR, text, retired=before):
        return []
    _resolve_alerts(ledger, before)
    return [f"{rules.oem}: release {new.name} is verifying. {text}"]


def _try_gate(ledger: Ledger, rules: ClaimRules, trial: Release) -> list[str]:
    seen = streak(ledger.release_runs(trial))
    if not seen.opens:
        return []
    if rules.needs_approval and not trial.is_approved:
        return _ask_for_approval(ledger, rules, trial)
    text = f"{seen.count} clean runs in a row."
    if not promote(ledger, trial, _ACTOR, text):
        return []
    ledger.request_enqueue(rules.oem, (), None, _ACTOR)  # everybody's claims have waited for this
    return [f"{rules.oem}: release {trial.name} is live for all dealers. {text}"]


def _ask_for_approval(ledger: Ledger, rules: ClaimRules, trial: Release) -> list[str]:
    if any(entry.note is Note.PASSED for entry in trial.log):
        return []
    text = (
        f"Release {trial.name} of {rules.oem} has passed its gate and waits for an approval:"
        f" oem-submissions release approve {rules.oem} --by NAME."
    )
    if not ledger.note_release(trial, Note.PASSED, _ACTOR, text):
        return []
    ledger.raise_alert(NewAlert(f"passed {rules.oem}", AlertKind.RELEASE_PASSED, text, rules.oem))
    return [text]


def promote(ledger: Ledger, release: Release, actor: str, text: str) -> bool:
    """Into production, in the place of what was there before; whether nobody else moved it meanwhile."""
    others = [other for other in ledger.releases(release.oem) if other.is_production]
    if not ledger.note_release(release, Note.PROMOTED, actor, text, retired=others):
        return False
    ledger.resolve_alert(f"passed {release.oem}")
    _resolve_alerts(ledger, [release, *others])
    return True


def _resolve_alerts(ledger: Ledger, releases: Sequence[Release]) -> None:
    """Nobody files with these any more, or they are as good as new."""
    for release in releases:
        for key in (_alert_key(release), drift_key(release), probe_key(release.oem, release.pins.pack_version)):
            ledger.resolve_alert(key)


def declare_live(ledger: Ledger, oem: str, pins: Pins, actor: str, why: str) -> None:
    """Into production without a gate: for trials on simulated portals. No command does this."""
    ledger.see_release(oem, pins, actor)
    while not (new := next(release for release in ledger.releases(oem) if release.pins == pins)).is_production:
        promote(ledger, new, actor, why)  # not, if the release gate has just moved it: then once more


# --- what people and probes do ------------------------------------------------------------------------------------


def suspend(ledger: Ledger, release: Release, cause: Cause, actor: str, why: str) -> bool:
    """From now on nobody is enqueued with it; whether it moved."""
    if cause in release.suspended_by or release.state is ReleaseState.RETIRED:
        return False
    if not ledger.note_release(release, Note.SUSPENDED, actor, why, cause):
        return False
    text = f"Release {release.name} of {release.oem} is suspended, and nothing is filed with it: {why}"
    ledger.raise_alert(NewAlert(_alert_key(release), AlertKind.RELEASE_SUSPENDED, text, release.oem))
    return True


def follow_probe(ledger: Ledger, record: ProbeRecord) -> None:
    """A broken contract suspends the release, a green probe lets it go on; a portal that is down does neither."""
    release = next((r for r in ledger.releases(record.oem) if r.pins == record.pins), None)
    if release is None:
        return
    if record.breaks_contract:
        suspend(ledger, release, Cause.PROBE, f"probe {record.probe_id}", record.text)
    elif not record.red:
        resume(ledger, release, Cause.PROBE, f"probe {record.probe_id}", "The portal is as the pack says again.")


def resume(ledger: Ledger, release: Release, cause: Cause, actor: str, why: str) -> bool:
    """Take back what suspended it; whether it goes on. A probe takes back only what a probe did."""
    if cause is not Cause.PERSON and cause not in release.suspended_by:
        return False
    if not release.suspended_by or not ledger.note_release(release, Note.RESUMED, actor, why, cause):
        return False
    now = next(r for r in ledger.releases(release.oem) if r.release_id == release.release_id)
    if now.suspended_by:
        return False
    ledger.resolve_alert(_alert_key(release))
    ledger.request_enqueue(release.oem, (), None, _ACTOR)  # what has waited since
    return True


def suspend_oem(ledger: Ledger, rules: ClaimRules, by: str, why: str) -> list[Release]:
    """A named person has nothing more filed for an OEM; the releases that were suspended by it."""
    now = deployed(ledger.releases(rules.oem), rules.digest)
    files = [release for release in now if release.is_production or release.is_verifying]
    return [release for release in files if suspend(ledger, release, Cause.PERSON, by, f"{by}: {why}")]


def resume_oem(ledger: Ledger, rules: ClaimRules, by: str, why: str) -> list[Release]:
    """A named person takes back what suspended an OEM, whatever that was; the releases that go on."""
    now = deployed(ledger.releases(rules.oem), rules.digest)
    held = [release for release in now if release.state is ReleaseState.SUSPENDED]
    return [release for release in held if resume(ledger, release, Cause.PERSON, by, f"{by}: {why}")]


def approve(ledger: Ledger, rules: ClaimRules, by: str) -> Release:
    """A named person lets a release go live that has passed its gate. Raises `ConfigurationError`, `StateConflict`."""
    trial = verifying(deployed(ledger.releases(rules.oem), rules.digest))
    if trial is None:
        raise ConfigurationError(f"No release of {rules.oem} is verifying: there is nothing to approve.")
    seen = streak(ledger.release_runs(trial))
    if not seen.opens:
        waits = seen.waits_for or f"{seen.count} of {NEEDED} clean runs"
        raise ConfigurationError(f"Release {trial.name} of {rules.oem} has not passed its gate: {waits}.")
    _moved(ledger.note_release(trial, Note.APPROVED, by, f"Approved by {by}."), trial)
    return trial


def rollback(ledger: Ledger, rules: ClaimRules, by: str, why: str) -> Release:
    """The release that was in production before takes the place of the one that is. Raises `ConfigurationError`.

    It has to be of the deployed adapter: code goes back by a deployment, and its release is then promoted by this.
    """
    releases = deployed(ledger.releases(rules.oem), rules.digest)
    now = production(releases)
    earlier = [r for r in releases if r is not now and any(entry.note is Note.PROMOTED for entry in r.log)]
    before = max(earlier, key=lambda r: max(e.entry for e in r.log if e.note is Note.PROMOTED), default=None)
    if before is None:
        raise ConfigurationError(
            f"No other release of {rules.oem} with the deployed adapter was ever live: deploy the earlier code first."
        )
    _moved(promote(ledger, before, by, f"Rolled back by {by}: {why}"), before)
    return before


def rebase(ledger: Ledger, release: Release, by: str, why: str) -> None:
    """The baseline begins anew, by a named person. Raises `StateConflict`."""
    _moved(ledger.note_release(release, Note.REBASED, by, f"The baseline begins anew, says {by}: {why}"), release)
    ledger.resolve_alert(drift_key(release))


def _moved(moved: bool, release: Release) -> None:
    if not moved:
        raise StateConflict(
            f"Release {release.name} of {release.oem} has just been moved by somebody else: look again."
        )


def streak_of(ledger: Ledger, release: Release) -> Streak:
    """Its runs, and how many of them were clean in a row."""
    return streak(ledger.release_runs(release))


def current(ledger: Ledger, rules: ClaimRules) -> Release | None:
    """The release that people ask about: the one that verifies, else the one in production, else the newest."""
    releases = deployed(ledger.releases(rules.oem), rules.digest)
    return verifying(releases) or production(releases) or next(iter(releases), None)


def probe_key(oem: str, pack_version: str) -> str:
    """One alert of red probes per OEM and pack."""
    return f"probe {oem} {pack_version}"


def drift_key(release: Release) -> str:
    """One alert of drift per release."""
    return f"drift {release.oem} {release.release_id}"


def _alert_key(release: Release) -> str:
    return f"release {release.oem} {release.release_id}"


def _named(pins: Pins) -> str:
    return f"pack {pins.pack_version}, adapter {pins.adapter_digest[:8]}"
