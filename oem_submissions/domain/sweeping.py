"""The portal's history against the ledger, in both directions: what one has and the other has not. Pure.

What is listed is there; what is not listed proves something only where the list shows known filings (positive control).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from oem_submissions.domain.dispositions import Disposition
from oem_submissions.domain.keys import looks_like_claim_id
from oem_submissions.domain.listing import Likeness, ListedFiling, Listing
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, HELD, State


class Kind(StrEnum):
    """What a sweep can find."""

    DUPLICATE = "DUPLICATE"  # two filings for one business claim, or one of ours filed twice
    MISSING = "MISSING"  # the ledger says filed, and a list that works does not have it
    DIFFERENT = "DIFFERENT"  # the reference belongs to another claim, dealer or amount
    LOST = "LOST"  # an orphan of ours: filed, and the ledger does not say so
    HAND_KEYED = "HAND_KEYED"  # an orphan that no claim of ours explains

    @property
    def serious(self) -> bool:
        """Whether rule 1 or a claim's money is at stake. What a person keyed in is only worth knowing."""
        return self is not Kind.HAND_KEYED


@dataclass(frozen=True)
class Finding:
    """One thing that a person must look at."""

    kind: Kind
    text: str
    """One sentence: what is so, and what to do. Parts of it are the portal's words, untrusted."""
    claim_id: str | None = None
    reference: str | None = None
    cells: Mapping[str, str] | None = None
    """The portal's row, untrusted."""


@dataclass(frozen=True)
class BookedClaim:
    """A claim of the account as the ledger has it."""

    claim: Claim
    likeness: Likeness | None
    """How the list would show it; None when its payload is not one of this adapter's any more."""
    seconds: float | None
    """Since it was confirmed, by the database's clock."""
    must_be_listed: bool
    """Filed, long enough ago to be listed, and not so long ago that the list does not reach back to it."""


@dataclass(frozen=True)
class Sweep:
    """What came of holding a listing against the ledger."""

    findings: tuple[Finding, ...]
    conclusive: bool
    """Whether what was not found proves anything."""
    text: str
    """What was compared, or why nothing could be concluded."""


def compare(
    listing: Listing, book: Sequence[BookedClaim], elsewhere: Mapping[str, Claim], begins: datetime | None
) -> Sweep:
    """What a listing and the account's claims say of each other.

    `elsewhere`: claims of other accounts of this OEM by reference. `begins`: when the ledger took the account over;
    filings that are older, and nobody's, are none of its business.
    """
    broken = {t for t in listing.claim_types if _is_broken(t, listing, book)}
    sound = [filing for filing in listing.filings if filing.claim_type not in broken]
    comparison = _Comparison(listing.oem, sound, book, elsewhere, begins)
    findings = [*comparison.duplicates(), *comparison.rows()]
    expected = [b for b in book if b.must_be_listed and b.claim.claim_type not in broken]
    missing, unproven = comparison.missing(expected, listing.complete)
    text = f"{len(listing.filings)} filings on {listing.pages} pages, {len(book)} claims in the ledger."
    if unproven:
        text += f" {unproven} claims are not listed, but neither is any older one: the list may not reach back so far."
    if broken:
        kinds = ", ".join(sorted(broken))
        text = f"Nothing is concluded for {kinds}: the list shows none of the claims that are known to be filed. {text}"
    return Sweep((*findings, *missing), not broken, text)


def _is_broken(claim_type: str, listing: Listing, book: Sequence[BookedClaim]) -> bool:
    """The positive control: of the claims that the list must show, it shows none."""
    known = {b.claim.reference for b in book if b.must_be_listed and b.claim.claim_type == claim_type}
    return bool(known) and not known & {f.number for f in listing.filings if f.claim_type == claim_type}


_A_DAY = timedelta(days=1)
"""Some lists show days, not times."""


class _Comparison:
    """Filings and claims, indexed by what can tell that they are the same."""

    def __init__(
        self,
        oem: str,
        filings: Sequence[ListedFiling],
        book: Sequence[BookedClaim],
        elsewhere: Mapping[str, Claim],
        begins: datetime | None,
    ) -> None:
        self._oem, self._filings, self._elsewhere, self._begins = oem, filings, elsewhere, begins
        self._by_id = {b.claim.claim_id: b for b in book}
        self._by_reference = {b.claim.reference: b for b in book if b.claim.reference}
        self._by_identity = {
            (b.claim.claim_type, b.likeness.identity): b for b in book if b.likeness and b.likeness.identity
        }
        self._listed = {filing.number for filing in filings if filing.number}
        self._explained: set[int] = set()
        """Filings that a finding covers already, by `id`."""
        self._accounted: set[str] = set()
        """Claims that are listed under another reference: they are not missing besides."""

    # --- two filings, one claim ---

    def duplicates(self) -> Iterable[Finding]:
        """One finding per business claim with several filings. A denied one may be followed by another."""
        groups: dict[tuple[str, tuple[str, ...]], list[ListedFiling]] = defaultdict(list)
        for filing in self._filings:
            if filing.likeness.identity and not _is_denied(filing):
                groups[filing.claim_type, filing.likeness.identity].append(filing)
        for key, group in groups.items():
            if len({filing.number or id(filing) for filing in group}) < 2:
                continue
            self._explained |= {id(filing) for filing in group}
            holder = self._by_identity.get(key)
            yield self._duplicate(group, holder.claim if holder else None)

    @staticmethod
    def _duplicate(group: Sequence[ListedFiling], claim: Claim | None) -> Finding:
        names = ", ".join(filing.name for filing in group)
        whose = f"claim {claim.claim_id}" if claim else "one claim"
        holds = f"; the ledger holds {claim.reference or f'none, it is {claim.state}'}" if claim else ""
        text = f"The portal lists {len(group)} filings for {whose}: {names}{holds}. Have the OEM void all but one."
        return Finding(Kind.DUPLICATE, text, claim.claim_id if claim else None, group[0].number, group[0].cells)

    # --- every other row ---

    def rows(self) -> Iterable[Finding]:
        """What each filing is that no finding covers yet."""
        for filing in self._filings:
            if id(filing) not in self._explained and (finding := self._row(filing)) is not None:
                yield finding

    def _row(self, filing: ListedFiling) -> Finding | None:
        number = filing.number
        if number in self._by_reference:
            return _different(filing, self._by_reference[number])
        if number is not None and number in self._elsewhere:
            owner = self._elsewhere[number]
            text = f"Reference {number} is listed for this account, and the ledger has it for dealer {owner.dealer}."
            advice = f" Ask the OEM whose filing it is: claim {owner.claim_id}."
            return Finding(Kind.DIFFERENT, text + advice, owner.claim_id, number, filing.cells)
        ours = self._by_id.get((filing.our_reference or "").lower())
        twin = ours or self._by_identity.get((filing.claim_type, filing.likeness.identity or ()))
        return self._orphan(filing) if twin is None else self._of_claim(filing, twin.claim, carries=ours is not None)

    def _of_claim(self, filing: ListedFiling, claim: Claim, *, carries: bool) -> Finding | None:
        """A filing under another reference than the claim's, or of a claim that has none."""
        how = "carries our id of" if carries else "is by its fields"
        what = f"{filing.name} {how} claim {claim.claim_id}"
        place = (claim.claim_id, filing.number, filing.cells)
        if claim.state in FILED:
            self._accounted.add(claim.claim_id)
            if _is_denied(filing):
                return None  # denied, and filed again under the reference that the ledger has
            if claim.reference in self._listed:
                text = f"{what}, which is filed already under {claim.reference}. Have the OEM void one of them."
                return Finding(Kind.DUPLICATE, text, *place)
            text = f"{what}, which the ledger has under {claim.reference}. Correct it with the OEM."
            return Finding(Kind.DIFFERENT, text, *place)
        if claim.state in HELD or claim.state is State.ARMED:
            return None  # it is being looked up; what that finds is the look's to say
        advice = "Withdraw it (`oem-submissions withdraw`) if somebody keyed it in by hand; else tell the engineers."
        return Finding(Kind.LOST, f"{what}, which is {claim.state} in the ledger. {advice}", *place)

    def _orphan(self, filing: ListedFiling) -> Finding | None:
        carried = (filing.our_reference or "").lower()
        if looks_like_claim_id(self._oem, carried):
            text = f"{filing.name} carries our claim id {carried}, and the ledger has no such claim for this account."
            return Finding(Kind.LOST, f"{text} Tell the engineers.", carried, filing.number, filing.cells)
        if self._begins and filing.submitted_at and filing.submitted_at < self._begins - _A_DAY:
            return None
        text = f"{filing.name} is nobody's in the ledger: somebody keyed it in by hand."
        return Finding(Kind.HAND_KEYED, text, None, filing.number, filing.cells)

    # --- every claim that should be listed ---

    def missing(self, expected: Sequence[BookedClaim], complete: bool) -> tuple[list[Finding], int]:
        """Claims that are not listed though the list works; and how many are not, without proof that it does.

        The list works for a claim when it shows another filing of that type that is known: an older one, unless the
        portal's own count says that all rows were read.
        """
        findings, unproven = [], 0
        shown = [b for b in expected if b.claim.reference in self._listed]
        for absent in expected:
            claim = absent.claim
            if claim.reference in self._listed or claim.claim_id in self._accounted:
                continue
            if not any(_controls(control, absent, complete) for control in shown):
                unproven += 1
                continue
            text = f"Claim {claim.claim_id} was filed under {claim.reference}, and the portal does not list it any more"
            advice = "though it lists others. Ask the OEM, with the evidence bundle."
            findings.append(Finding(Kind.MISSING, f"{text}, {advice}", claim.claim_id, claim.reference))
        return findings, unproven


def _different(filing: ListedFiling, booked: BookedClaim) -> Finding | None:
    claim = booked.claim
    if filing.claim_type != claim.claim_type:
        differs: tuple[str, ...] = ("claim type",)
    else:
        differs = booked.likeness.differs(filing.likeness) if booked.likeness else ()
    if not differs:
        return None
    names = ", ".join(name.replace("_", " ") for name in differs)
    text = f"The portal lists {claim.reference} with another {names} than claim {claim.claim_id} was filed with."
    return Finding(Kind.DIFFERENT, f"{text} Ask the OEM.", claim.claim_id, claim.reference, filing.cells)


def _is_denied(filing: ListedFiling) -> bool:
    return filing.seen is not None and filing.seen.disposition is Disposition.DENIED


def _controls(control: BookedClaim, absent: BookedClaim, complete: bool) -> bool:
    if control.claim.claim_type != absent.claim.claim_type:
        return False
    return complete or (control.seconds or 0.0) >= (absent.seconds or 0.0)
