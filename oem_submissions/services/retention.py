"""What happens to evidence when it has served: kept as long as it must be, held, erased where it is personal, pruned.

The ledger is asked and told first, always: whatever is missing from the store afterwards is accounted for, and a crash
between any two lines leaves something to delete, never something unexplained. Doing it again finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oem_submissions.domain.claims import without_personal
from oem_submissions.domain.evidence import PERSONAL_FOLDERS
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.records import Claim
from oem_submissions.ports import ClaimRules, EvidenceLocked, EvidenceStore, Ledger

_FOLDERS = ("bundles", "artifacts", *PERSONAL_FOLDERS)
"""Where a claim's evidence lies."""


@dataclass(frozen=True)
class Keeping:
    """What keeping and giving up needs."""

    ledger: Ledger
    evidence: EvidenceStore
    adapters: Mapping[str, ClaimRules]

    def known(self, claim_id: str) -> Claim:
        """The claim. Raises `StateConflict` when there is none."""
        claim = self.ledger.claim(claim_id)
        if claim is None:
            raise StateConflict(f"There is no claim '{claim_id}': see `oem-submissions lookup`.")
        return claim

    def payload_without_personal(self, claim: Claim) -> dict[str, object]:
        """The claim's payload after an erasure; of an OEM without an adapter, nothing."""
        rules = self.adapters.get(claim.oem)
        return without_personal(rules.claim_model, claim.payload) if rules else {}

    def keys_of(self, claim: Claim, folders: Sequence[str]) -> list[str]:
        """Every key of the claim in these folders."""
        return [key for folder in folders for key in self.evidence.keys(f"{folder}/{claim.claim_id}/")]


@dataclass(frozen=True)
class Erased:
    """What an erasure did, or would do."""

    claim: Claim
    fields: tuple[str, ...]
    """Of the payload: they hold `ERASED` now, or will."""
    keys: tuple[str, ...]
    """Of the evidence store: deleted, or to be deleted."""


def erase(claim_id: str, by: str, why: str, keeping: Keeping, dry_run: bool = False) -> Erased:
    """Erase a claim's personal data: its data key, what that encrypted, and the payload's personal fields.

    Raises `EvidenceLocked` under a legal hold, `StateConflict` before the claim has come to rest. Again is no error.
    """
    claim = keeping.known(claim_id)
    payload = claim.payload if claim.erased_at else keeping.payload_without_personal(claim)
    fields = tuple(sorted(name for name in claim.payload if claim.payload[name] != payload.get(name)))
    if dry_run:
        _refuse(claim, keeping)
        return Erased(claim, fields, tuple(keeping.keys_of(claim, PERSONAL_FOLDERS)))
    erased = keeping.ledger.erase(claim, payload, by, why)
    keys = tuple(keeping.keys_of(claim, PERSONAL_FOLDERS))
    _delete(keys, keeping)
    keeping.ledger.swept(claim_id)
    return Erased(erased, fields, keys)


def _refuse(claim: Claim, keeping: Keeping) -> None:
    """As the ledger would."""
    if (hold := keeping.ledger.hold_on(claim.claim_id)) is not None:
        raise EvidenceLocked(f"Claim {claim.claim_id} is under a legal hold by {hold.by}: nothing would be deleted.")
    if not claim.is_at_rest:
        raise StateConflict(f"Claim {claim.claim_id} is {claim.state}: it has not come to rest, and needs its data.")


def hold(claim_id: str, by: str, why: str, keeping: Keeping) -> bool:
    """Put a claim under a legal hold; whether it was not. The ledger's word stops us, the store's hold others."""
    claim = keeping.known(claim_id)
    placed = keeping.ledger.set_hold(claim_id, True, by, why)
    _hold(claim, True, keeping)
    return placed


def release(claim_id: str, by: str, why: str, keeping: Keeping) -> bool:
    """Lift a claim's legal hold; whether there was one."""
    claim = keeping.known(claim_id)
    lifted = keeping.ledger.set_hold(claim_id, False, by, why)
    _hold(claim, False, keeping)
    return lifted


def _hold(claim: Claim, on: bool, keeping: Keeping) -> None:
    for key in keeping.keys_of(claim, _FOLDERS):
        keeping.evidence.hold(key, on)


@dataclass(frozen=True)
class Pruned:
    """What a pruning did, or would do: claim ids."""

    pruned: tuple[str, ...]
    finished: tuple[str, ...]
    """Erased or pruned before; the rest of their evidence was deleted now."""
    locked: tuple[str, ...]
    """Sentences: what the store itself does not let go yet."""


def prune(months: int, by: str, keeping: Keeping, dry_run: bool = False) -> Pruned:
    """Give up the evidence of claims that have been at rest for so long, and finish what was begun before.

    The store's own holds are put on again where the ledger has one: evidence may have come after the hold.
    """
    due = keeping.ledger.past_retention(months)
    held = {held.claim_id for held in keeping.ledger.holds()}
    begun = [claim for claim in keeping.ledger.unswept() if claim.claim_id not in held]
    if dry_run:
        return Pruned(_ids(due), _ids(begun), ())
    for claim_id in held:
        _hold(keeping.known(claim_id), True, keeping)
    pruned, finished, locked = [], [], []
    for claim in due:
        given_up = keeping.ledger.prune(claim, keeping.payload_without_personal(claim), months, by)
        pruned.append(claim)
        locked += _sweep(given_up, keeping)
    for claim in begun:
        if claim.claim_id not in _ids(due):
            finished.append(claim)
            locked += _sweep(claim, keeping)
    return Pruned(_ids(pruned), _ids(finished), tuple(locked))


def _sweep(claim: Claim, keeping: Keeping) -> list[str]:
    """Delete what is to be deleted of the claim; sentences on what the store does not let go yet."""
    locked = []
    for key in keeping.keys_of(claim, _FOLDERS if claim.pruned_at else PERSONAL_FOLDERS):
        try:
            keeping.evidence.delete(key)
        except EvidenceLocked as error:
            locked.append(str(error))
    if not locked:
        keeping.ledger.swept(claim.claim_id)
    return locked


def _delete(keys: Sequence[str], keeping: Keeping) -> None:
    for key in keys:
        keeping.evidence.delete(key)


def _ids(claims: Sequence[Claim]) -> tuple[str, ...]:
    return tuple(claim.claim_id for claim in claims)
