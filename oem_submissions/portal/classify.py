"""What kind of page stands there after the click: yes, no, not yet, or something we don't know. Never guesses."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Frame, Locator

from oem_submissions.domain.outcomes import Refused, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import limit, one_line, whole_text
from oem_submissions.portal.locators import in_words, is_visible, look_up
from oem_submissions.portal.references import RAW_LIMIT, is_invisible, matches, normal
from oem_submissions.portal.schema import Form, Markers, Refusal

_MOST_BOXES = 20
_BOXES = "(boxes, [most, size]) => boxes.slice(0, most).map(box => (box.innerText || '').slice(0, size))"


@dataclass(frozen=True)
class Accepted:
    """The page says yes."""


@dataclass(frozen=True)
class AcceptedForLater:
    """The page says yes, and that the reference comes later."""

    text: str


@dataclass(frozen=True)
class InProcess:
    """The page says that the portal still works on it."""


@dataclass(frozen=True)
class NothingYet:
    """Nothing on the page is known, perhaps because it still loads."""


Page = Accepted | AcceptedForLater | InProcess | NothingYet | Refused | Unknown


def classify(scope: Frame, form: Form, markers: Markers, status: int | None) -> Page:
    """The page in `scope`, after the submit request was answered with `status` (None: not answered).

    Many questions make one reading, and the page may be drawn anew between two of them: only what two readings in a
    row say is believed.
    """
    first, second = (_reading(scope, form, markers, status) for _ in range(2))
    return first if first == second else NothingYet()


def _reading(scope: Frame, form: Form, markers: Markers, status: int | None) -> Page:
    whole_page, complete = whole_text(scope)
    if not complete:
        return Unknown(ReasonCode.OUTCOME_UNKNOWN, "The page after the click holds more than can be read.")
    text = one_line(whole_page)
    if strange := _strange(text, form, markers):
        return strange
    yes = is_visible(scope, form.confirmation.marker)
    no = [refusal for refusal in form.refusals if is_visible(scope, refusal.box)]
    if yes and no:
        return Unknown(ReasonCode.PORTAL_UNRECOGNISED, "The page shows a confirmation and an error at once.")
    if no:
        return _refused(scope, form, no, status)
    waits = form.confirmation.in_process is not None and is_visible(scope, form.confirmation.in_process)
    later = form.confirmation.later
    said = next((words for words in later.says if words in text), None) if later else None
    if waits and not said:
        return InProcess()
    if not (yes or said):
        return NothingYet()
    if status is None or status not in form.confirmation.statuses:
        answer = f"HTTP {status}" if status else "missing"
        return Unknown(
            ReasonCode.OUTCOME_UNKNOWN, f"The page says that the claim was taken, but the answer was {answer}."
        )
    return AcceptedForLater(said) if said else Accepted()


def _strange(text: str, form: Form, markers: Markers) -> Unknown | None:
    text = _as_said(text)
    for words in form.confirmation.never:
        if _as_said(words) in text:
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The page after the click says '{words}'.")
    for what, listed in (
        ("the session is over", markers.session_expired),
        ("the portal is under maintenance", markers.maintenance),
        ("the portal has an error", markers.unavailable),
    ):
        if said := next((words for words in listed if _as_said(words) in text), None):
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The page after the click says that {what}: '{said}'.")
    return None


def _as_said(text: str) -> str:
    """What speaks against a filing is heard in capitals, too, and with soft hyphens in it."""
    said = normal(text)
    if not said.isprintable():  # rarely: to look at every character of a page costs
        said = "".join(character for character in said if not is_invisible(character))
    return one_line(said).casefold()


def _refused(scope: Frame, form: Form, shown: list[Refusal], status: int | None) -> Refused | Unknown:
    boxes = [_texts(look_up(scope, refusal.box)) for refusal in shown]
    said = limit("; ".join(sorted({one_line(text) for texts in boxes for text in texts})), RAW_LIMIT)
    if any(len(texts) > _MOST_BOXES or any(len(text) > RAW_LIMIT for text in texts) for texts in boxes):
        return Unknown(ReasonCode.PORTAL_UNRECOGNISED, f"The portal's error is longer than any that is known: {said}")
    known = _reason(said, shown)
    if known is None:
        return Unknown(
            ReasonCode.PORTAL_UNRECOGNISED, f"The portal answered with an error that the pack does not know: {said}"
        )
    if known is ReasonCode.DUPLICATE_AT_PORTAL:
        # It may be our own earlier filing: held and looked up, never counted as refused.
        return Unknown(known, f"The portal says that it has this claim already: {said}")
    fitting = [refusal for refusal in shown if status in refusal.statuses]
    if not fitting:
        answer = f"HTTP {status}" if status else "missing"
        return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The page shows an error, but the answer was {answer}: {said}")
    witness = next((refusal.marker for refusal in fitting if is_visible(scope, refusal.marker)), None)
    if witness is None:
        return Unknown(
            ReasonCode.OUTCOME_UNKNOWN, f"The page shows an error, and nothing says that nothing was filed: {said}"
        )
    if numbers := matches(form.confirmation.reference.pattern, whole_text(scope)[0]):
        return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The page shows an error and the number {min(numbers)}: {said}")
    return Refused(known, said, f"HTTP {status}, and the page shows {in_words(witness)} without a number")


def _texts(boxes: Locator) -> list[str]:
    """Of the first few, the beginning, and of each a little more than may be: a page may have any number."""
    texts: list[str] = boxes.evaluate_all(_BOXES, [_MOST_BOXES + 1, RAW_LIMIT + 1])
    return texts


def known_reason(said: str, form: Form) -> ReasonCode | None:
    """What an error text of this form means; None when the pack does not know it."""
    return _reason(said, list(form.refusals))


def _reason(said: str, refusals: list[Refusal]) -> ReasonCode | None:
    found = [rejection.reason for refusal in refusals for rejection in refusal.rejections if rejection.text in said]
    if ReasonCode.DUPLICATE_AT_PORTAL in found:
        return ReasonCode.DUPLICATE_AT_PORTAL
    return found[0] if found else None
