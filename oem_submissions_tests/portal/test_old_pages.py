"""Pages as they were made in the 1990s, and widgets that lie over a form: what real applications showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Frame

from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.portal import filling, references
from oem_submissions.portal.locators import Beside, ByPattern, ByRole, look_up
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.schema import ReferenceRule

PAGE = """<!doctype html><title>Issue 3: pump - Claims</title>
<p class=ok>file 1 created<br>msg 2 created<br>issue 3 created</p><div><b>Hello, 10001</b> <b>Help</b></div>
<form><table><tr><th>Title</th><td><input type=hidden name=t><input name=title></td><th>Priority</th>
<td><select name=priority><option>bug</select></td></tr><tr><th>Note</th><td><textarea name=note></textarea></td></tr>
</table></form><div id=calendar style="position:absolute;width:400px;height:300px;left:0;top:0"></div>"""
RULE = ReferenceRule(
    kind="issue number",
    find=ByRole(role="button"),
    pattern=r"\bissue (?P<reference>\d+) created\b",
    title=r"^Issue (?P<reference>\d+): ",
)


@pytest.fixture(scope="module")
def frame(chromium: BrowserRuntime) -> Iterator[Frame]:
    page = chromium.browser().new_page()
    page.set_content(PAGE)
    yield page.main_frame
    page.close()


@pytest.mark.parametrize(("caption", "name"), [("Title", "title"), ("Priority", "priority"), ("Note", "note")])
def test_a_control_is_found_by_the_caption_beside_it(caption: str, name: str, frame: Frame) -> None:
    assert look_up(frame, Beside(beside=caption, control=True)).get_attribute("name") == name


def test_a_text_is_found_although_a_part_of_it_changes(frame: Frame) -> None:
    assert look_up(frame, ByPattern(matches=r"^Hello, \S+$")).all_inner_texts() == ["Hello, 10001"]


def test_what_lies_under_something_is_told(frame: Frame) -> None:
    handles = {name: frame.locator(f"[name={name}]").element_handle() for name in ("title", "note")}
    assert filling.covered(frame, handles) == ["title", "note"]
    frame.evaluate("() => document.querySelector('#calendar').style.left = '900px'")
    assert filling.covered(frame, handles) == []


def test_the_pages_title_is_a_witness_of_the_reference(frame: Frame) -> None:
    rule = RULE.model_copy(update={"find": ByPattern(matches=r"^file[\s\S]+created$")})
    frame.evaluate("() => document.querySelector('#calendar').remove()")
    found = references.anchored(frame, rule)
    decided = references.decide(rule, found, (), lambda _: True)
    assert isinstance(decided, Reference)
    assert decided.value == "3"
    for titled in (frozenset({"4"}), frozenset({"3", "4"}), frozenset[str]()):
        doubted = references.decide(rule, replace(found, titled=titled), (), lambda _: True)
        assert isinstance(doubted, Unknown)
        assert "its title" in doubted.text


def test_a_reference_that_nothing_witnesses_is_no_rule() -> None:
    with pytest.raises(ValueError, match="needs a witness: another locator, or the page's title"):
        ReferenceRule(kind="number", find=ByRole(role="cell"), pattern=r"(?P<reference>\d+)")
