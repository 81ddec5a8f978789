"""Takes the reference from a page that says yes, or says why it can't. Where it stands, the pack says."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass

import re2
from playwright.sync_api import Frame

from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import limit
from oem_submissions.portal.locators import look_up
from oem_submissions.portal.schema import ReferenceRule

RAW_LIMIT = 2048
"""Bytes of the text around the reference that are looked at and kept."""


@dataclass(frozen=True)
class Anchored:
    """The texts of the elements that a reference's locator and its witness hit."""

    primary: tuple[str, ...]
    witness: tuple[str, ...]


def anchored(scope: Frame, rule: ReferenceRule) -> Anchored:
    """What stands on the page where the reference should be."""
    return Anchored(
        tuple(look_up(scope, rule.find).all_inner_texts()), tuple(look_up(scope, rule.witness).all_inner_texts())
    )


def matches(pattern: str, text: str) -> set[str]:
    """Every reference-like text."""
    return {match.group("reference") for match in re2.finditer(pattern, normal(text))}


def normal(text: str) -> str:
    """NFKC, the form in which texts are compared."""
    return unicodedata.normalize("NFKC", text)


def decide(
    rule: ReferenceRule, texts: Anchored, seen: Collection[str], plausible: Callable[[str], bool]
) -> Reference | Unknown:
    """The one reference, or why it can't be told. `seen` are the numbers that stood on pages before the click. Pure."""
    if not texts.primary:
        return Unknown(
            ReasonCode.REFERENCE_MISSING, f"The page says that the claim was taken, but shows no {rule.kind}."
        )
    if len(texts.primary) > 1:
        return Unknown(ReasonCode.REFERENCE_AMBIGUOUS, f"The page shows {len(texts.primary)} values as {rule.kind}.")
    raw = normal(limit(texts.primary[0], RAW_LIMIT))
    found = list(re2.finditer(rule.pattern, raw))
    values = {match.group("reference") for match in found}
    if not values:
        return Unknown(ReasonCode.REFERENCE_MISSING, f"The {rule.kind} on the page does not have the form of one.")
    if len(values) > 1:
        return Unknown(
            ReasonCode.REFERENCE_AMBIGUOUS, f"The page shows {len(values)} numbers that may be the {rule.kind}."
        )
    value = values.pop()
    if texts.witness != texts.primary:
        return Unknown(
            ReasonCode.REFERENCE_SUSPECT, f"The locator of the {rule.kind} and its witness hit different texts."
        )
    if value in seen:
        return Unknown(
            ReasonCode.REFERENCE_SUSPECT, f"The {rule.kind} {value} stood on a page before the click already."
        )
    if not _plausible(rule, value, plausible):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The check digit of the {rule.kind} {value} is wrong.")
    start, end = found[0].span(1)  # re2 takes no names here; the schema allows one group only
    return Reference(value, rule.kind, raw, (start, end))


def in_cell(rule: ReferenceRule, cell: str, row: str, plausible: Callable[[str], bool]) -> Reference | Unknown:
    """The reference in a cell of the history, or why it is none: `REFERENCE_MISSING` when there is no number yet. Pure.

    `row` is the whole row's text, kept beside the reference; the cell stands in it.
    """
    cell, raw = normal(cell).strip(), normal(limit(row, RAW_LIMIT))
    found = re2.fullmatch(rule.pattern, cell)
    if found is None:
        missing = not any(character.isdigit() for character in cell)
        reason = ReasonCode.REFERENCE_MISSING if missing else ReasonCode.REFERENCE_SUSPECT
        return Unknown(reason, f"'{limit(cell, 100)}' in the history does not have the form of a {rule.kind}.")
    value = found.group("reference")
    if not _plausible(rule, value, plausible):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The check digit of the {rule.kind} {value} is wrong.")
    start = raw.find(value)
    if start < 0:
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The {rule.kind} {value} does not stand in its row's text.")
    return Reference(value, rule.kind, raw, (start, start + len(value)))


def _plausible(rule: ReferenceRule, value: str, plausible: Callable[[str], bool]) -> bool:
    return not ((rule.check == "luhn" and not luhn(value)) or (rule.check == "adapter" and not plausible(value)))


def luhn(digits: str) -> bool:
    """Whether the last digit is the right check digit (ISO/IEC 7812-1, annex B)."""
    if not digits.isdigit():
        return False
    doubled = [int(d) * (2 if position % 2 else 1) for position, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
