"""Takes the reference from a page that says yes, or says why it can't. Where it stands, the pack says.

What is refused here is held and looked up; what is captured wrongly goes to the CRM. So whatever is not plainly one
number, plainly to be read, is refused. How text stands on a page: `standing`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import re2
from playwright.sync_api import ElementHandle, Frame, Page
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import FRAMES, frame_text, limit, one_line
from oem_submissions.portal.locators import find_together, is_leaving, look_up
from oem_submissions.portal.schema import ReferenceRule
from oem_submissions.portal.standing import Standing, standing, written

RAW_LIMIT = 2048
"""Bytes of the text around the reference that are looked at and kept."""
_AROUND = 200
"""Characters of a document on either side of the reference that are kept with it."""
SOURCE_LIMIT = 8_000_000
"""Characters of a page's source before the click."""
_SOURCE = """(most) => {
  const source = document.documentElement ? document.documentElement.outerHTML : "";
  const controls = [...document.querySelectorAll("input:not([type=password]), textarea")].map(each => each.value);
  return [[source.slice(0, most), ...controls].join(" ").slice(0, 2 * most), source.length <= most];
}"""
_OBSERVE = """(element) => {
  const changes = Object.assign([], {of: element});
  const everything = {subtree: true, childList: true, characterData: true, attributes: true,
                      characterDataOldValue: true, attributeOldValue: true};
  const veils = ({type, target, oldValue, attributeName: name}) => {
    if (type === "childList") return false;
    if (name && name.startsWith("data-oem-submissions-")) return true;
    const was = [...oldValue ?? ""], is = [...(name ? target.getAttribute(name) : target.data) ?? ""];
    return was.length === is.length && was.every((one, at) => one === is[at] || one === "█" || is[at] === "█");
  };
  const note = seen => changes.push(...seen.filter(change => !veils(change)).slice(0, 1 - changes.length));
  new MutationObserver(note).observe(element, everything);
  return changes;
}"""
_SAME = """(one, [other]) => (one.contains(other) || other.contains(one)) && one.innerText === other.innerText"""


@dataclass(frozen=True)
class Anchored:
    """What stands on the page where the reference should be."""

    times: int
    """How often the reference's locator hits."""
    witnessed: bool = False
    """Whether the witness hits the same place, and no other; True where the pack names none."""
    place: Standing = field(default_factory=lambda: Standing(""))
    """Of the one element; empty when there is none, or when there are several."""
    titled: frozenset[str] = frozenset()
    """The numbers in the page's title, where the pack says how they stand there."""


def anchored(scope: Frame, rule: ReferenceRule) -> Anchored:
    """What stands on the page where the reference should be. However many there are, only one is read."""
    if rule.find is None:
        return Anchored(0)
    if rule.witness is not None and (at_once := find_together(scope, [rule.find], {0: rule.witness})):
        return Anchored(1, True, standing(at_once[0]), _titled(scope, rule))
    found = look_up(scope, rule.find)
    times = found.count()
    handles = found.first.element_handles() if times == 1 else []
    if not handles:
        return Anchored(times)
    return Anchored(times, _witnessed(scope, rule, handles[0]), standing(handles[0]), _titled(scope, rule))


def _titled(scope: Frame, rule: ReferenceRule) -> frozenset[str]:
    return frozenset(matches(rule.title, limit(scope.page.title(), RAW_LIMIT))) if rule.title else frozenset()


def _witnessed(scope: Frame, rule: ReferenceRule, handle: ElementHandle) -> bool:
    if rule.witness is None:
        return True
    witness = look_up(scope, rule.witness)
    witnesses = witness.first.element_handles() if witness.count() == 1 else []
    return bool(witnesses) and bool(handle.evaluate(_SAME, witnesses))


class TooMuch(Exception):
    """A page holds more than can be looked through: one sentence."""


def numbers_on(page: Page, pattern: str) -> set[str]:
    """Every reference-like text of a page and its frames, also where it does not show. Raises `TooMuch`."""
    found: set[str] = set()
    for frame in page.frames[:FRAMES]:
        try:
            source, whole = frame.evaluate(_SOURCE, SOURCE_LIMIT)
        except PlaywrightError as error:
            if is_leaving(error):
                continue
            raise
        if not whole:
            raise TooMuch(f"A page of more than {SOURCE_LIMIT} characters is none that can be looked through.")
        found |= matches(pattern, source) | matches(pattern, frame_text(frame)[0])
    return found


class Still:
    """Whether the element of the reference stays as it is from now on: one that is drawn anew shows two numbers.

    What `veil` does for a picture, blocks in the place of letters and back, is no change.
    """

    def __init__(self, scope: Frame, rule: ReferenceRule) -> None:
        handles = look_up(scope, rule.find).first.element_handles() if rule.find else []
        self._changes = handles[0].evaluate_handle(_OBSERVE) if handles else None

    def is_so(self) -> bool:
        """Until now it did. True when there was none: what came since is another's to see."""
        return self._changes is None or not self._changes.evaluate(
            "changes => changes.length || !changes.of.isConnected"
        )


def matches(pattern: str, text: str) -> set[str]:
    """Every reference-like text."""
    return {match.group("reference") for match in re2.finditer(pattern, normal(text))}


def normal(text: str) -> str:
    """NFKC, the form in which texts are compared."""
    return unicodedata.normalize("NFKC", text)


def decide(
    rule: ReferenceRule, found: Anchored, seen: Collection[str], plausible: Callable[[str], bool]
) -> Reference | Unknown:
    """The one reference, or why it can't be told. `seen` are the numbers that stood on pages before the click. Pure."""
    missing, ambiguous = ReasonCode.REFERENCE_MISSING, ReasonCode.REFERENCE_AMBIGUOUS
    if not found.times:
        return Unknown(missing, f"The page says that the claim was taken, but shows no {rule.kind}.")
    if found.times > 1:
        return Unknown(ambiguous, f"The page shows {found.times} values as {rule.kind}.")
    raw = normal(found.place.text)
    if len(raw.encode("utf-8", "replace")) > RAW_LIMIT:
        return Unknown(missing, f"Where the {rule.kind} should stand is a text of more than {RAW_LIMIT} bytes.")
    places = list(re2.finditer(rule.pattern, raw))
    values = {place.group("reference") for place in places}
    if not values:
        return Unknown(missing, f"The {rule.kind} on the page does not have the form of one.")
    if len(values) > 1:
        return Unknown(ambiguous, f"The page shows {len(values)} numbers that may be the {rule.kind}.")
    value = values.pop()
    spans = [place.span(1) for place in places]  # re2 takes no names here; the schema allows one group only
    if why := _doubt(rule, found, value, raw, spans) or _known(rule, value, seen, plausible):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, why)
    return Reference(value, rule.kind, raw, spans[0])


def _doubt(rule: ReferenceRule, found: Anchored, value: str, raw: str, spans: Collection[tuple[int, int]]) -> str:
    """Why the page's one match may not be what a person reads there; empty when it is."""
    if not found.witnessed:
        return f"The locator of the {rule.kind} and its witness hit different texts."
    if rule.title is not None and found.titled != {value}:
        return f"The page shows the {rule.kind} {value}, its title {' and '.join(sorted(found.titled)) or 'none'}."
    if hidden := next((character for character in raw if is_invisible(character)), None):
        return f"The text where the {rule.kind} stands holds an invisible character, U+{ord(hidden):04X}."
    if not is_plain(value):
        return f"The {rule.kind} holds characters that look like others."
    if not all(stands_alone(raw, *span) for span in spans):
        return f"The {rule.kind} {value} is only a part of what stands there."
    if written(value, found.place) is None:
        return f"The page does not show the {rule.kind} {value} as its text says."
    return ""


def _known(rule: ReferenceRule, value: str, seen: Collection[str], plausible: Callable[[str], bool]) -> str:
    """Why this can't be the number of a new filing; empty when it can."""
    if value in seen:
        return f"The {rule.kind} {value} stood on a page before the click already."
    if not _plausible(rule, value, plausible):
        return f"The check digit of the {rule.kind} {value} is wrong."
    return ""


def is_invisible(character: str) -> bool:
    """Whether it changes how a text is read, and is not read itself: zero width, turns the direction, private.

    Plain white space is not meant.
    """
    return unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs") and character not in "\t\n\r\v\f"


def is_plain(value: str) -> bool:
    """Whether it is printable ASCII: a Cyrillic A is another reference to a machine and the same to a person.

    NFKC has made plain what is only another form: full-width digits are digits.
    """
    return value.isascii() and value.isprintable() and value == value.strip()


_JOINTS = "-_/\\+&@#"


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` is no part of a longer number: re2's `\\b` knows only ASCII."""
    return not (_joined(text[end : end + 2]) or _joined(text[max(0, start - 2) : start][::-1], before=True))


def _joined(beside: str, *, before: bool = False) -> bool:
    """`beside` are the two nearest characters, the nearest first."""
    if not beside:
        return False
    if _of_word(beside[0]):
        return True
    if len(beside) < 2 or not _of_word(beside[1]):
        return False
    if beside[0] == "#":
        return not before  # "No.#123" is a number after a sign
    joint = beside[0] in _JOINTS or unicodedata.category(beside[0]) in ("Pd", "Pc")
    return joint or (beside[0] in ".,:" and beside[1].isdigit())


def _of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


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
    if not is_plain(value) or any(map(is_invisible, cell)):
        return Unknown(
            ReasonCode.REFERENCE_SUSPECT, f"The {rule.kind} in the history holds characters that look like others."
        )
    if not _plausible(rule, value, plausible):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The check digit of the {rule.kind} {value} is wrong.")
    start = raw.find(value)
    if start < 0:
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The {rule.kind} {value} does not stand in its row's text.")
    return Reference(value, rule.kind, raw, (start, start + len(value)))


def in_text(
    rule: ReferenceRule, text: str, seen: Collection[str], plausible: Callable[[str], bool], what: str
) -> Reference | Unknown:
    """The one reference in the text of a document, or why it can't be told. `what` it is begins a sentence. Pure."""
    said = plain(text)
    places = list(re2.finditer(rule.pattern, said))
    values = {place.group("reference") for place in places}
    if values != matches(rule.pattern, one_line(normal(text))):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"{what} holds a number with invisible characters in it.")
    if not values:
        return Unknown(ReasonCode.REFERENCE_MISSING, f"{what} holds no {rule.kind}.")
    if len(values) > 1:
        numbers = f"{len(values)} numbers that may be the {rule.kind}: {', '.join(sorted(values)[:5])}"
        return Unknown(ReasonCode.REFERENCE_AMBIGUOUS, limit(f"{what} holds {numbers}.", RAW_LIMIT))
    value = values.pop()
    alone = [place.span(1) for place in places if stands_alone(said, *place.span(1))]
    if not is_plain(value):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The {rule.kind} holds characters that look like others.")
    if not alone:
        why = f"{what} holds the {rule.kind} {value} only as a part of something longer."
        return Unknown(ReasonCode.REFERENCE_SUSPECT, why)
    if why := _known(rule, value, seen, plausible):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, why)
    start, end = alone[0]
    first = max(0, start - _AROUND)
    return Reference(value, rule.kind, said[first : end + _AROUND], (start - first, end - first))


def plain(text: str) -> str:
    """The text as it is compared: NFKC, in one line, without characters that nobody sees."""
    return one_line("".join(character for character in normal(text) if not is_invisible(character)))


def _plausible(rule: ReferenceRule, value: str, plausible: Callable[[str], bool]) -> bool:
    return not ((rule.check == "luhn" and not luhn(value)) or (rule.check == "adapter" and not plausible(value)))


def luhn(digits: str) -> bool:
    """Whether the last digit is the right check digit (ISO/IEC 7812-1, annex B)."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    doubled = [int(d) * (2 if position % 2 else 1) for position, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
