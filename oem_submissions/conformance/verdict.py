"""Judges a trial: the portal's truth and the ledger must agree with an ending, and with what holds for every claim.

What holds always: nothing is filed under another key, the reference is the portal's, the chain of events is intact,
the evidence is whole and holds no secret, the CRM says what the ledger says, and one more run does nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from oem_submissions import wiring
from oem_submissions.conformance.endings import Ending, Seen, in_words, misfit
from oem_submissions.conformance.trial import RESTS, Trial
from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT, bundle_key
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.chain import broken_links


def seen_of(trial: Trial, claim: Claim) -> Seen:
    """What became of the claim."""
    filed = len(_filings(trial, trial.truth(), claim))
    events = trial.stage.ledger.events(claim.claim_id)
    looks = sum(event.to_state is State.RECONCILING or event.kind == "look_begun" for event in events)
    return Seen(filed, claim.state, claim.reason, looks, claim.absences)


def what_happened(trial: Trial) -> str:
    """What became of the trial's claims, in words."""
    said = Counter(in_words(seen_of(trial, claim)) for claim in trial.claims())
    if len(said) == 1 and sum(said.values()) > 1:
        return f"each {next(iter(said))}"
    return "; ".join(f"{number} {words}" if sum(said.values()) > 1 else words for words, number in said.items())


def judge(trial: Trial, expected: Sequence[Sequence[Ending]]) -> list[str]:
    """What is wrong, a sentence each. `expected` are the ways in which each claim may end, the last for all others."""
    problems = list(trial.notes)
    truth, claims = trial.truth(), trial.claims()
    allowed = 0
    for position, claim in enumerate(claims):
        endings = expected[min(position, len(expected) - 1)]
        allowed += max(ending.posts for ending in endings)
        wrong = misfit(claim, seen_of(trial, claim), endings)
        problems += [wrong] if wrong else []
        problems += _about(trial, claim, _filings(trial, truth, claim))
    posts = truth["submit_posts"] - trial.posts_before
    if posts > allowed:
        problems.append(f"{posts} requests reached a submit path of the portal, {allowed} may at most.")
    problems += _strays(trial, truth) + _after_one_more_run(trial, truth)
    return problems


def _filings(trial: Trial, truth: dict[str, Any], claim: Claim) -> list[dict[str, Any]]:
    """Its filings. Of two claims with one business key, they are the first one's."""
    key = trial.key(claim.claim_id)
    if next(other for other in trial.claim_ids if trial.key(other) == key) != claim.claim_id:
        return []
    return [filing for filing in truth["filings"] if filing["business_key"] == key]


def _strays(trial: Trial, truth: dict[str, Any]) -> list[str]:
    keys = {trial.key(claim_id) for claim_id in trial.claim_ids} | set(trial.others)
    strange = [filing["business_key"] for filing in truth["filings"] if filing["business_key"] not in keys]
    return [f"The portal filed something that is none of the claims: {key}." for key in strange]


def _about(trial: Trial, claim: Claim, filings: list[dict[str, Any]]) -> Iterator[str]:
    yield from broken_links(trial.stage.ledger.events(claim.claim_id))
    if not trial.services.crm_agrees(claim):
        found = trial.crm.read_outcome(claim.crm_record_id)
        yield f"The CRM says {found.status if found else 'nothing'} of claim {claim.claim_id}, which is {claim.state}."
    yield from _secrets(trial, claim)
    yield from _unlike(trial, claim, filings)
    if claim.state is State.SYNCED:
        yield from _unproven(trial, claim, filings)


def _unproven(trial: Trial, claim: Claim, filings: list[dict[str, Any]]) -> Iterator[str]:
    if claim.reference not in {filing["reference"] for filing in filings}:
        numbers = ", ".join(str(filing["reference"]) for filing in filings) or "none"
        yield f"Claim {claim.claim_id} is confirmed under {claim.reference}; the portal gave it {numbers}."
    assert claim.bundle_digest is not None, "the ledger has no SYNCED claim without a bundle"
    bundle = trial.stage.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest))
    keys = wiring.trusted_keys(trial.stage.settings)
    yield from (str(finding) for finding in verify_bundle(bundle, claim.bundle_digest, keys).findings)
    kept = {artifact.name for artifact in trial.stage.ledger.artifacts(claim.claim_id)}
    for name in (PRE_SUBMIT, POST_CONFIRM):
        if name not in kept:
            yield f"Claim {claim.claim_id} is confirmed without {name}."


def _unlike(trial: Trial, claim: Claim, filings: list[dict[str, Any]]) -> Iterator[str]:
    """Files that did not arrive byte for byte."""
    sent = {file["name"]: base64.b64decode(file["content"]) for file in trial.made[claim.claim_id][1]}
    wanted = Counter(hashlib.sha256(data).hexdigest() for data in sent.values())
    for filing in filings:
        if Counter(file["sha256"] for file in filing["attachments"]) != wanted:
            got = ", ".join(f"{file['name']} ({file['size']} bytes)" for file in filing["attachments"]) or "none"
            asked = ", ".join(f"{name} ({len(data)} bytes)" for name, data in sent.items()) or "none"
            yield f"The portal has other files than claim {claim.claim_id}: {got}, instead of {asked}."


def _secrets(trial: Trial, claim: Claim) -> Iterator[str]:
    store, account = trial.stage.evidence, trial.account
    secrets = [secret.encode() for secret in (account.password, account.totp_secret) if secret]
    for folder in ("artifacts", "bundles"):
        for key in store.keys(f"{folder}/{claim.claim_id}/"):
            for name, data in _pieces(key, store.get(key)):
                if any(secret in data for secret in secrets):
                    yield f"The evidence holds the account's password or key: {name}."


def _pieces(key: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if not key.endswith(".zip"):
        yield key, data
        return
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        for name in bundle.namelist():
            yield f"{name} in {key}", bundle.read(name)


def _after_one_more_run(trial: Trial, before: dict[str, Any]) -> list[str]:
    """A second run files nothing; where everything rests, it does not even ask the portal."""
    client = trial.stage.simulator.client
    requests = len(client.requests())
    trial.work()
    after = trial.truth()
    if (after["filed"], after["submit_posts"]) != (before["filed"], before["submit_posts"]):
        more = after["submit_posts"] - before["submit_posts"]
        return [f"One more run sent {more} more submissions: {after['filed']} are filed, {before['filed']} were."]
    asked = client.requests()[requests:]
    if asked and all(claim.state in RESTS for claim in trial.claims()):
        return [f"One more run, with nothing left to do, asked the portal for {asked[0]['path']}."]
    return []
