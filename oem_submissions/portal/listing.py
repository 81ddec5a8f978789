"""Reads an account's whole history: every page, every claim type. What it means is decided elsewhere.

A list that grows while it is read shifts its rows from page to page. Where the portal says how many rows there are,
that is held against what was read, and the list is read again when the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import re2

from oem_submissions.domain import listing as listed
from oem_submissions.domain.claims import models_of
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.outcomes import Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.texts import keepable
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.capture import one_line
from oem_submissions.portal.history import Row, comparable, is_filing, next_page, rows_shown, turn
from oem_submissions.portal.locators import in_words, look_up
from oem_submissions.portal.references import in_cell, normal
from oem_submissions.portal.schema import Decisions, Form, History, Listing
from oem_submissions.portal.steps import Walk

_READS = 2
"""How often a list is begun that changes while it is read."""
_TEXT = 500


@dataclass
class _Pages:
    """What was read of one list."""

    rows: list[Row] = field(default_factory=list)
    pages: int = 0
    total: int | None = None
    """What the portal says; None when it does not say."""


class _ListChanged(Exception):
    """The portal's count of rows changed from page to page, or is not what was read, or a page came twice."""


def list_account(walk: Walk, adapter: PortalAdapter, since: datetime) -> listed.Listing:
    """Every filing of the account since then, and maybe older ones. Raises `StepFailed`; then nothing is known."""
    forms = {name: form for name, form in walk.pack.data.forms.items() if form.history and form.history.listing}
    filings: list[listed.ListedFiling] = []
    pages, others, complete = 0, 0, True
    for group in _sharing_a_list(forms):
        lead = _history(forms[group[0]])
        read = _read(walk, lead, _columns(forms, group), since)
        pages, complete = pages + read.pages, complete and read.total is not None
        for row in read.rows:
            if not is_filing(row, lead):
                continue
            claim_type = next((name for name in group if _is_of(row, _history(forms[name]))), None)
            if claim_type is None:
                others += 1
            else:
                filings.append(_filing(walk, adapter, claim_type, forms[claim_type], row))
    return listed.Listing(walk.pack.oem, tuple(filings), tuple(sorted(forms)), since, pages, complete, others)


def likeness(form: Form, values: Mapping[str, str], natural_key_fields: Sequence[str]) -> listed.Likeness:
    """How a claim, or a row, with these values by field name is compared. Pure.

    The dealer is the account's: it needs no column.
    """
    assert form.history is not None
    fields = {name: comparable(normal(values.get(name, ""))) for name in form.history.key}
    wanted = [name for name in natural_key_fields if name != "dealer_code"]
    whole = bool(wanted) and set(wanted) <= set(fields)
    return listed.Likeness(fields, tuple(fields[name] for name in wanted) if whole else None)


def natural_key_fields(adapter: PortalAdapter, claim_type: str) -> tuple[str, ...]:
    """What identifies such claims."""
    return models_of(adapter.claim_model)[claim_type].natural_key_fields


# --- pages ---


def _sharing_a_list(forms: Mapping[str, Form]) -> list[list[str]]:
    """Claim types by the list that they stand in: one list is read once."""
    groups: list[list[str]] = []
    for name, form in forms.items():
        history = _history(form)
        same = (other for other in groups if _place(_history(forms[other[0]])) == _place(history))
        if (group := next(same, None)) is not None:
            group.append(name)
        else:
            groups.append([name])
    return groups


def _place(history: History) -> tuple[object, ...]:
    assert history.listing is not None
    return (history.listing.open, history.marker, history.table, history.reference, history.next)


def _history(form: Form) -> History:
    assert form.history is not None
    return form.history


def _rules(history: History) -> Listing:
    assert history.listing is not None
    return history.listing


def _columns(forms: Mapping[str, Form], group: Sequence[str]) -> set[str]:
    """Every column that some type of the group needs."""
    columns: set[str] = set()
    for name in group:
        history = _history(forms[name])
        rules = _rules(history)
        columns |= {*history.key.values(), *rules.only}
        columns |= {part.heading for part in (rules.submitted, rules.decisions) if part is not None}
    return columns


def _read(walk: Walk, history: History, columns: set[str], since: datetime) -> _Pages:
    for read in range(_READS):
        try:
            return _read_once(walk, history, columns, since)
        except _ListChanged as changed:
            if read == _READS - 1:
                raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, str(changed)) from changed
    raise AssertionError("a list is read at least once")


def _read_once(walk: Walk, history: History, columns: set[str], since: datetime) -> _Pages:
    rules, read = _rules(history), _Pages()
    _open(walk, history, since)
    while read.pages < rules.most_pages:
        shown = rows_shown(walk, history, columns)
        total = _total(walk, rules)
        if read.pages and total != read.total:
            raise _ListChanged(f"the history had {read.total} rows, and {total} a page later")
        if (again := _shown_before(shown, read.rows, history)) is not None:
            raise _ListChanged(f"the history shows '{again[:100]}' on two pages")
        read.rows += shown
        read.pages, read.total = read.pages + 1, total
        following = next_page(walk, history)
        if following is None:
            if total is not None and total != len(read.rows):
                raise _ListChanged(f"the history says that it has {total} rows, and its pages show {len(read.rows)}")
            return read
        if rules.newest_first and shown and _submitted(walk, rules, shown[-1]) < since:
            return read
        turn(walk, history, following)
    raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, f"the history has more than {rules.most_pages} pages")


def _shown_before(shown: Sequence[Row], before: Sequence[Row], history: History) -> str | None:
    """The reference of a filing that stood on an earlier page: the list shifted, or that page was drawn once more.

    The count alone would not tell: as many rows of another page are missing.
    """
    known = {tuple(row.cells.items()) for row in before}
    twice = (row for row in shown if is_filing(row, history) and tuple(row.cells.items()) in known)
    return next((row.cells[history.reference] for row in twice), None)


def _open(walk: Walk, history: History, since: datetime) -> None:
    rules, frame = _rules(history), walk.page.main_frame
    for click in rules.open:
        walk.click(frame, click)
    walk.see(frame, history.marker, "the history page")
    if rules.since is not None:
        assert history.go is not None
        day = (since - timedelta(days=1)).strftime(rules.since.format)  # a day more: its time zone is the portal's
        walk.see(frame, rules.since.find, "the filter by day").fill(day)
        turn(walk, history, look_up(frame, history.go))


def _total(walk: Walk, rules: Listing) -> int | None:
    if rules.total is None:
        return None
    said = one_line(walk.see(walk.page.main_frame, rules.total.find, "the count of rows").first.inner_text())
    found = re2.search(rules.total.pattern, normal(said))
    if found is None:
        what = f"{in_words(rules.total.find)} says '{said[:100]}', which is no count of rows"
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, what)
    return int(found.group("total"))


# --- rows ---


def _is_of(row: Row, history: History) -> bool:
    return all(one_line(row.cells.get(heading, "")) in cells for heading, cells in _rules(history).only.items())


def _filing(walk: Walk, adapter: PortalAdapter, claim_type: str, form: Form, row: Row) -> listed.ListedFiling:
    history = _history(form)
    cells = {keepable(heading): keepable(cell) for heading, cell in row.cells.items()}
    rules = _rules(history)
    values = {name: cells.get(heading, "") for name, heading in history.key.items()}
    ours = history.key.get(form.takes_our_reference or "")
    rule, text = form.listed_reference, "\t".join(cells.values())
    reference = in_cell(rule, cells[history.reference], text, adapter.reference_is_plausible)
    if isinstance(reference, Unknown):
        reference = Unknown(reference.reason, reference.text[:_TEXT])
    return listed.ListedFiling(
        claim_type=claim_type,
        cells={heading: cell[:_TEXT] for heading, cell in cells.items()},
        reference=reference,
        likeness=likeness(form, values, natural_key_fields(adapter, claim_type)),
        our_reference=one_line(cells.get(ours, ""))[:_TEXT] or None if ours else None,
        submitted_at=_submitted(walk, rules, row) if rules.submitted else None,
        seen=decided(rules.decisions, cells.get(rules.decisions.heading, "")) if rules.decisions else None,
    )


def decided(decisions: Decisions, cell: str) -> Seen:
    """What the OEM's word means. One that the pack does not know is `UNRECOGNISED`, never guessed. Pure."""
    said = one_line(normal(cell))
    meanings = {one_line(normal(text)).casefold(): meaning for text, meaning in decisions.texts.items()}
    return Seen(meanings.get(said.casefold(), Disposition.UNRECOGNISED), said[:_TEXT])


def _submitted(walk: Walk, rules: Listing, row: Row) -> datetime:
    """UTC. Raises `StepFailed` when the cell is no such time: then the column is another."""
    assert rules.submitted is not None
    cell = one_line(row.cells.get(rules.submitted.heading, ""))
    try:
        moment = datetime.strptime(cell, rules.submitted.format)  # noqa: DTZ007  its zone is the pack's, below
    except ValueError as error:
        what = f"'{cell[:100]}' under '{rules.submitted.heading}' is no time like {rules.submitted.format}"
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, what) from error
    return moment.replace(tzinfo=rules.submitted.zone).astimezone(UTC)
