"""What a look into the portal's history proves, and when to look again. Pure: no clock, no portal, no ledger."""

from __future__ import annotations

from dataclasses import dataclass

from oem_submissions.domain.outcomes import Hit, LookUp, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode

LEAST_LOOKS = 3
"""A claim is not given to a person for its age alone before it was looked up so often: our own outage is no proof."""
ACCOUNT_PAUSE = 8 * 3600.0
"""Seconds until the next look after a refused log-in: the same bad log-in tried again and again locks the account."""
_FIRST, _LONGEST = 60.0, 3600.0


@dataclass(frozen=True)
class HistoryRules:
    """What the pack says of where a filed claim is looked up."""

    settle_minutes: int | None
    """After the click; before that, absence proves nothing. None: there is no history, only an e-mail may come."""
    deadline_hours: int | None
    """After the click a reference that comes later must be there; None when the portal gives it at once."""
    sends_files: bool = False
    """Files go to a claim that is filed already: a look that finds it sends those that are missing."""


@dataclass(frozen=True)
class Found:
    """Filed, exactly once, under this reference."""

    reference: Reference


@dataclass(frozen=True)
class NotYet:
    """Nothing follows from it yet; look again."""

    text: str


@dataclass(frozen=True)
class Absent:
    """Never filed."""

    text: str


@dataclass(frozen=True)
class Doubtful:
    """A person must look."""

    reason: ReasonCode
    text: str


Conclusion = Found | NotYet | Absent | Doubtful


def seconds_until_next_look(looks: int) -> float:
    """Exponential from a minute to an hour; `looks` are those made."""
    return float(min(_FIRST * 2 ** min(max(looks - 1, 0), 10), _LONGEST))


def conclude(look: LookUp, *, settled: bool, said_duplicate: bool = False) -> Conclusion:
    """What the look proves.

    `settled`: the settle window has passed since the click. `said_duplicate`: the portal answered that it has the claim
    already.
    """
    if look.mailed is None:
        return _of_history(look, settled, said_duplicate)
    if not look.has_history:
        return _of_mail(look.mailed)
    return _of_both(look, look.mailed, _of_history(look, settled, said_duplicate))


def _of_mail(mailed: Reference | Unknown) -> Conclusion:
    """Where there is nothing else to be asked. That no message came proves nothing."""
    if isinstance(mailed, Reference):
        return Found(mailed)
    if mailed.reason is ReasonCode.REFERENCE_MISSING:
        return NotYet(mailed.text)
    return Doubtful(mailed.reason, mailed.text)


def _of_both(look: LookUp, mailed: Reference | Unknown, listed: Conclusion) -> Conclusion:
    """The history says whether it was filed; the e-mail may say the number that the list does not show yet."""
    match listed, mailed:
        case Doubtful(), _:
            return listed
        case _, Unknown(reason, text):
            return listed if reason is ReasonCode.REFERENCE_MISSING else Doubtful(reason, text)
        case Found(reference), Reference():
            if reference.value == mailed.value:
                return listed
            what = f"The portal's history lists the claim as {reference.value}, the e-mail says {mailed.value}."
            return Doubtful(ReasonCode.REFERENCE_SUSPECT, what)
        case Absent(text), Reference():
            return Doubtful(ReasonCode.REFERENCE_SUSPECT, f"An e-mail says {mailed.value}, but: {text}")
        case NotYet(text), Reference():
            return Found(mailed) if look.hits else NotYet(f"An e-mail says {mailed.value}. {text}")
    return listed


def _of_history(look: LookUp, settled: bool, said_duplicate: bool) -> Conclusion:
    if not look.hits:
        return _not_listed(look, settled, said_duplicate)
    strange = [hit for hit in look.hits if hit.differs]
    if len(look.hits) > 1:
        listed = ", ".join(_named(hit) for hit in look.hits)
        return Doubtful(
            ReasonCode.REFERENCE_AMBIGUOUS, f"The portal's history lists the claim {len(look.hits)} times: {listed}."
        )
    if strange:
        text = f"The filing {_named(strange[0])} in the portal's history has another {', '.join(strange[0].differs)}."
        return Doubtful(ReasonCode.REFERENCE_SUSPECT, text)
    reference = look.hits[0].reference
    if isinstance(reference, Reference):
        return Found(reference)
    if reference.reason is ReasonCode.REFERENCE_MISSING:
        return NotYet("The portal's history lists the claim, without a reference yet.")
    return Doubtful(reference.reason, f"The portal's history lists the claim, but: {reference.text}")


def _not_listed(look: LookUp, settled: bool, said_duplicate: bool) -> Conclusion:
    absent = "The portal's history does not list the claim"
    if not settled:
        return NotYet(f"{absent}; so soon after the click that proves nothing.")
    if look.control_found is None:
        text = f"{absent}, and no other claim of this account is known that shows that the search works."
        return Doubtful(ReasonCode.OUTCOME_UNKNOWN, text)
    if not look.control_found:
        text = f"{absent}, but neither does the same search find a claim that is known to exist: it can't be relied on."
        return Doubtful(ReasonCode.OUTCOME_UNKNOWN, text)
    if said_duplicate:
        return Doubtful(ReasonCode.DUPLICATE_AT_PORTAL, f"{absent}, although the portal said that it has it already.")
    return Absent(f"{absent}, and the same search finds a claim that is known to exist: it was never filed.")


def _named(hit: Hit) -> str:
    return hit.reference.value if isinstance(hit.reference, Reference) else "without a valid reference"
