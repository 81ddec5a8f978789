"""Dead letters: what a person sees of them, and the way back.

Redriving passes through the same guard as everything else: what died past the click is looked up, never filed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oem_submissions.domain.breaker import LOCKS
from oem_submissions.domain.reasons import REASONS, ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact
from oem_submissions.domain.states import State
from oem_submissions.ports import Ledger
from oem_submissions.services.breaking import free_account


@dataclass(frozen=True)
class DeadLetter:
    """A claim that ended before the click, with everything that was tried."""

    claim: Claim
    attempts: tuple[Attempt, ...]
    artifacts: tuple[KeptArtifact, ...]

    @property
    def past_the_click(self) -> bool:
        """Whether an attempt was armed: then redriving looks it up, unless it was proven absent since."""
        return any(attempt.armed_at is not None for attempt in self.attempts)

    @property
    def pack_version(self) -> str | None:
        """The pack of the last attempt."""
        return self.attempts[-1].pins.pack_version if self.attempts else None


def dead_letters(
    ledger: Ledger, oem: str | None = None, reason: ReasonCode | None = None, pack: str | None = None
) -> list[DeadLetter]:
    """Every dead letter, or those of an OEM, a reason, a pack's version; none that was erased: it can't be redriven."""
    return [
        letter
        for claim in ledger.all_claims(oem, State.DEAD)
        if claim.erased_at is None and (reason is None or claim.reason is reason)
        for letter in (letter_of(claim, ledger),)
        if pack is None or letter.pack_version == pack
    ]


def letter_of(claim: Claim, ledger: Ledger) -> DeadLetter:
    """The claim with its attempts and evidence."""
    return DeadLetter(claim, tuple(ledger.attempts(claim.claim_id)), tuple(ledger.artifacts(claim.claim_id)))


def redrive(letters: Iterable[DeadLetter], by: str, ledger: Ledger) -> list[Claim]:
    """Make them ready again, or looked up; an account that was refused gets one more log-in.

    Raises `StateConflict` when another person or the CRM was faster with one of them.
    """
    redriven = []
    for letter in letters:
        claim = letter.claim
        redriven.append(ledger.redrive(claim, by))
        if claim.reason in LOCKS:
            free_account(claim.oem, claim.dealer, by, ledger)
    return redriven


def as_rows(letters: Sequence[DeadLetter]) -> list[dict[str, object]]:
    """A line each: what it is, why it died, what to do."""
    return [
        {
            "claim_id": letter.claim.claim_id,
            "oem": letter.claim.oem,
            "dealer": letter.claim.dealer,
            "reason": letter.claim.reason,
            "class": REASONS[letter.claim.reason].failure_class if letter.claim.reason else None,
            "stage": REASONS[letter.claim.reason].stage if letter.claim.reason else None,
            "pack": letter.pack_version,
            "attempts": len(letter.attempts),
            "past_the_click": letter.past_the_click,
            "text": letter.claim.reason_text,
            "next": REASONS[letter.claim.reason].action if letter.claim.reason else None,
        }
        for letter in letters
    ]
