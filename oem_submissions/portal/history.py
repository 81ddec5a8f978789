"""Reads the page that lists what was filed: second oracle after a click, and where unknown outcomes are found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator as Found
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import PAGE_LIMIT, filled_in, one_line
from oem_submissions.portal.locators import find_together, in_words, look_up
from oem_submissions.portal.references import RAW_LIMIT
from oem_submissions.portal.schema import History
from oem_submissions.portal.steps import Walk

log = logging.getLogger(__name__)
PAGES = 50
"""Pages of one list that are read at most."""
SEARCHES = 3
"""Times that a search is made whose page shows another list than the one that was asked for."""
ROWS = 5000
"""Rows of one page of a list that are read at most. One cell over all columns is a group's heading, or a footer."""
_TABLE = """(table, [most, cell, page, hinted]) => {
  const hint = each => (each.title || each.querySelector("[title]")?.title || "").trim();
  const spans = row => row.cells.length === 1 && row.cells[0].colSpan > 1;
  const shown = [...table.rows].filter(row => !spans(row)).slice(0, most + 2);
  const headings = shown.length ? [...shown[0].cells].map(each => each.innerText.trim()) : [];
  const said = (each, at) => at && headings[each.cellIndex] === hinted ? hint(each) : each.innerText.trim();
  const rows = shown.map((row, at) => [...row.cells].map(each => said(each, at).slice(0, cell)));
  const text = document.body.innerText;
  return {headings: rows.length ? rows[0] : [], rows: rows.slice(1), page: text.slice(0, page)};
}"""
_TABLE_THERE = f"(table, limits) => table.isConnected ? ({_TABLE})(table, limits) : null"


@dataclass(frozen=True)
class Row:
    """One filing as the list shows it, by column heading; the tooltip where the pack says so (`Submitted.tooltip`)."""

    cells: Mapping[str, str]


class _AnotherList(Exception):
    """The page shows another list than the one that was asked for: it draws itself anew, and we were in between."""


def list_filings(walk: Walk, history: History, values: Mapping[str, str]) -> list[Row]:
    """Every filing that the list shows for these values (by field name, as they are put into the form).

    Raises `StepFailed` when the list can't be read to its end: then nothing may be concluded.
    """
    return [row for row in read_list(walk, history, values) if not differences(row, history, values)]


def read_list(
    walk: Walk, history: History, values: Mapping[str, str], on_page: Callable[[list[Row]], None] | None = None
) -> list[Row]:
    """Every filing that the list shows when it is filtered by these values, also of other claims.

    `on_page` is called with each page's rows while that page is the one that shows. Raises as `list_filings`.
    """
    for _ in range(SEARCHES):
        try:
            return _search(walk, history, values, on_page)
        except _AnotherList as another:
            log.info("%s: %s", walk.pack.oem, another)
    what = f"the history does not keep to the search: asked {SEARCHES} times, it showed another list"
    raise walk.failed(ReasonCode.PORTAL_UNAVAILABLE, what)


def _search(
    walk: Walk, history: History, values: Mapping[str, str], on_page: Callable[[list[Row]], None] | None
) -> list[Row]:
    frame = walk.page.main_frame
    searched = filled_in(history.searched, values) if history.searched else None
    open_list(walk, history)
    if history.search:
        for name, locator in history.search.items():
            walk.see(frame, locator, f"the filter by '{name}'").fill(values.get(name, ""))
        assert history.go is not None
        turn(walk, history, look_up(frame, history.go))
    if searched:
        _see_searched(walk, searched)
    found: list[Row] = []
    for _ in range(PAGES):
        rows = [row for row in rows_shown(walk, history, searched=searched) if is_filing(row, history)]
        if on_page is not None:
            on_page(rows)
        found += rows
        following = next_page(walk, history)
        if following is None:
            return found
        turn(walk, history, following)
    raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, f"the history has more than {PAGES} pages")


def open_list(walk: Walk, history: History) -> None:
    """Through the menu to the list, as it is before anything is looked for. Raises `StepFailed`."""
    for click in history.open:
        walk.click(walk.page.main_frame, click)
    walk.see(walk.page.main_frame, history.marker, "the history page")


def next_page(walk: Walk, history: History) -> Found | None:
    """What leads to the next page of the list; None on the last."""
    following = look_up(walk.page.main_frame, history.next).all() if history.next else []
    return following[0] if following and following[0].is_enabled() else None


def turn(walk: Walk, history: History, button: Found) -> None:
    """Click, and wait until the list that was there is gone: the old one may look like an answer."""
    if history.searched is None:
        with walk.page.expect_navigation(wait_until="domcontentloaded", timeout=walk.limits.page_seconds * 1000):
            button.click()
        return
    old = look_up(walk.page.main_frame, history.table).element_handles()
    button.click()
    for table in old:
        table.wait_for_element_state("hidden", timeout=walk.wait_ms)


def _see_searched(walk: Walk, searched: str) -> None:
    try:
        walk.page.main_frame.get_by_text(searched).first.wait_for(timeout=walk.wait_ms)
    except PlaywrightTimeout:
        walk.check_state()
        raise _AnotherList(f"the history does not say '{searched}'") from None


def rows_shown(walk: Walk, history: History, also: Collection[str] = (), searched: str | None = None) -> list[Row]:
    """The rows of the page that shows. Raises `StepFailed` when a column is missing, those named in `also` too.

    What the list was searched for is read in the same instant: a page that draws itself may show the whole list, of
    which the first page lacks a claim that is filed.
    """
    frame = walk.page.main_frame
    walk.watch.alive()
    table, empty = look_up(frame, history.table), look_up(frame, history.empty)
    table.or_(empty).first.wait_for(timeout=walk.wait_ms)
    submitted = history.listing.submitted if history.listing else None
    hinted = submitted.heading if submitted is not None and submitted.tooltip else None
    limits = [ROWS, RAW_LIMIT, PAGE_LIMIT, hinted]
    one = find_together(frame, [history.table])
    read: dict[str, Any] | None = one[0].evaluate(_TABLE_THERE, limits) if one else None
    if read is None:  # there is none, or the page was just drawing it anew
        if table.count() == 0:
            if searched:
                _see_searched(walk, searched)
            return []
        read = table.evaluate(_TABLE, limits)
    assert read is not None
    if len(read["rows"]) > ROWS:
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, f"a page of the history has more than {ROWS} rows")
    if searched and one_line(searched).lower() not in one_line(read["page"]).lower():
        raise _AnotherList(f"the history's list is not the one for '{searched}'")
    if not read["headings"] and empty.filter(visible=True).count():
        return []  # a table that says so itself, in one cell over all columns
    missing = {history.reference, *history.key.values(), *history.not_filed, *also} - set(read["headings"])
    if missing:
        raise walk.failed(
            ReasonCode.PAGE_CONTRACT_MISMATCH, f"{in_words(history.table)} has no column '{min(missing)}'"
        )
    return [Row(dict(zip(read["headings"], cells, strict=False))) for cells in read["rows"]]


def is_filing(row: Row, history: History) -> bool:
    """Whether the row is a filing at all: some lists hold refused attempts, too."""
    return not any(row.cells.get(heading, "").startswith(begins) for heading, begins in history.not_filed.items())


def differences(row: Row, history: History, values: Mapping[str, str]) -> tuple[str, ...]:
    """The fields by which the row is not this claim; none when it is."""
    return tuple(
        name
        for name, heading in history.key.items()
        if comparable(row.cells.get(heading, "")) != comparable(values.get(name, ""))
    )


def comparable(text: str) -> str:
    """A cell or a claim's value as the two are compared: one line, capitals."""
    return one_line(text).upper()
