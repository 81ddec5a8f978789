"""How a pack names an element of a page, and how that name is looked up. No page knowledge here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import re2
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame
from playwright.sync_api import Locator as Found
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """The base of everything in a pack: frozen, and a key that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _anchored(pattern: str) -> str:
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError("the pattern stands for the whole text: begin it with ^ and end it with $")
    try:
        re2.compile(pattern)  # in linear time, and
        re.compile(pattern)  # as the browser takes it
    except (re2.error, re.error) as error:
        raise ValueError(f"not a pattern: {error}") from error
    return pattern


Role = Literal[
    "alert", "button", "cell", "checkbox", "combobox", "dialog", "form", "group", "heading", "link", "list", "listitem",
    "main", "menuitem", "navigation", "option", "progressbar", "radio", "region", "row", "rowheader", "spinbutton",
    "status", "tab", "table", "textbox",
]  # fmt: skip


class ByRole(Strict):
    """By ARIA role and accessible name. The name is always exact: else "Submit claim" finds "Submit claim later"."""

    role: Role
    name: Name | None = None
    within: Locator | None = None


class ByLabel(Strict):
    """A control by the whole text of its label."""

    label: Name
    within: Locator | None = None


class ByTestId(Strict):
    """By `data-testid`."""

    testid: Name
    within: Locator | None = None


class ByText(Strict):
    """By its whole visible text."""

    text: Name
    within: Locator | None = None


class ByPattern(Strict):
    """By its whole visible text, of which a part changes: "Hello, 10234". The innermost element that has it all."""

    matches: Annotated[str, Field(min_length=3, max_length=200), AfterValidator(_anchored)]
    """A pattern from ^ to $."""
    within: Locator | None = None


class Beside(Strict):
    """The value that stands beside a visible caption: `<th>caption</th><td>value</td>`, or `<dt>` and `<dd>`."""

    beside: Name
    control: bool = False
    """The control that stands there, where a table is the layout and no label is tied to its control."""
    within: Locator | None = None


class ByCss(Strict):
    """By CSS, the last resort: the pack says why nothing better is there."""

    css: Name
    because: Annotated[str, Field(min_length=10)]
    within: Locator | None = None


_CONTROL = "//*[self::input[not(@type='hidden')] or self::select or self::textarea]"
_KINDS = {
    "role": ByRole,
    "label": ByLabel,
    "testid": ByTestId,
    "text": ByText,
    "matches": ByPattern,
    "beside": Beside,
    "css": ByCss,
}


def _kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return next(kind for kind, model in _KINDS.items() if isinstance(value, model))
    if not isinstance(value, dict):
        return None
    return next((kind for kind in _KINDS if kind in value), None)


Locator = Annotated[
    Annotated[ByRole, Tag("role")]
    | Annotated[ByLabel, Tag("label")]
    | Annotated[ByTestId, Tag("testid")]
    | Annotated[ByText, Tag("text")]
    | Annotated[ByPattern, Tag("matches")]
    | Annotated[Beside, Tag("beside")]
    | Annotated[ByCss, Tag("css")],
    Discriminator(
        _kind,
        custom_error_type="locator",
        custom_error_message=f"a locator is one of {', '.join(_KINDS)}",
    ),
]
assert {tag.__metadata__[0].tag for tag in get_args(get_args(Locator)[0])} == set(_KINDS)
for _model in (ByRole, ByLabel, ByTestId, ByText, ByPattern, Beside, ByCss):
    _model.model_rebuild()


class Element(Strict):
    """A critical element: two locators that must hit the same element."""

    find: Locator
    witness: Locator | None = None


def look_up(scope: Frame | Found, locator: Locator) -> Found:
    """Playwright's (lazy) locator for the pack's; nothing is looked for yet."""
    if locator.within is not None:
        scope = look_up(scope, locator.within)
    match locator:
        case ByRole():
            return scope.get_by_role(locator.role, name=locator.name, exact=True)
        case ByLabel():
            return scope.get_by_label(locator.label, exact=True)
        case ByTestId():
            return scope.get_by_test_id(locator.testid)
        case ByText():
            return scope.get_by_text(locator.text, exact=True)
        case ByPattern():
            return scope.get_by_text(re.compile(locator.matches))
        case Beside():
            caption, inside = _xpath_text(locator.beside), _CONTROL if locator.control else ""
            return scope.locator(
                f"xpath=.//th[normalize-space()={caption}]/following-sibling::td[1]{inside}"
                f" | .//dt[normalize-space()={caption}]/following-sibling::dd[1]{inside}"
            )
        case ByCss():
            return scope.locator(f"css={locator.css}")


def is_visible(scope: Frame, locator: Locator) -> bool:
    """Whether it is visible now, at least once; False while the page is being replaced by another."""
    try:
        return look_up(scope, locator).filter(visible=True).count() > 0
    except PlaywrightError as error:
        if is_leaving(error):
            return False
        raise


def is_busy(scope: Frame) -> bool:
    """Whether the page says that a part of it is still being loaded (`aria-busy`)."""
    return scope.locator("css=[aria-busy=true]").filter(visible=True).count() > 0


def is_leaving(error: PlaywrightError) -> bool:
    """Whether a call failed only because the page or frame was just then replaced by another."""
    return any(words in error.message for words in ("context was destroyed", "was detached", "navigat"))


def in_words(locator: Locator) -> str:
    """The locator as a person would say it."""
    match locator:
        case ByRole():
            words = f"{locator.role} '{locator.name}'" if locator.name else locator.role
        case ByLabel():
            words = f"the field labelled '{locator.label}'"
        case ByTestId():
            words = f"test id '{locator.testid}'"
        case ByText():
            words = f"the text '{locator.text}'"
        case ByPattern():
            words = f"a text like '{locator.matches}'"
        case Beside():
            words = f"the {'control' if locator.control else 'value'} beside '{locator.beside}'"
        case ByCss():
            words = f"css '{locator.css}'"
    return f"{words} within {in_words(locator.within)}" if locator.within else words


def _xpath_text(text: str) -> str:
    """An XPath 1.0 string literal; it has no escapes, so a text with both quotes is put together."""
    if "'" not in text:
        return f"'{text}'"
    return "concat(" + ', "\'", '.join(f"'{part}'" for part in text.split("'")) + ")"
