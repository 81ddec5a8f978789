"""What counts as a change of a page, how grave it is, and in which words. Nothing here opens a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oem_submissions.domain.contracts import Severity
from oem_submissions.portal import aria
from oem_submissions.portal.contracts import Seen, SeenControl, compare, contract_of, relied_on
from oem_submissions.portal.locators import ByRole
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.schema import Contract
from oem_submissions_tests.portal.parts import SELECTORS

SCOPE = ByRole(role="form", name="Claim")
LINES = aria.read(
    """
    heading "Vehicle"
    text "Odometer"
    textbox "Odometer"
    text "Coverage"
    combobox "Coverage"
    textbox "Date" hint "MM/DD/YYYY"
    text "Amounts in USD"
    button "Save draft"
    button "Submit claim"
    """
)
ODOMETER = SeenControl("odometer", "input", "text", False, "Odometer", 6, None)
COVERAGE = SeenControl("coverage", "select", "", False, "Coverage", None, ("Basic", "Powertrain", "Goodwill"))
TOKEN = SeenControl("token", "input", "hidden", False, "", None, None)
PAGE = Seen("POST", "/claims", True, (TOKEN, ODOMETER, COVERAGE), LINES)
CONTRACT = contract_of(PAGE, SCOPE)
RELIED = {"odometer", "Odometer", "Submit claim"}
BLOCK, WARN, NOTE = Severity


def found(seen: Seen, contract: Contract = CONTRACT) -> list[tuple[Severity, str]]:
    return [(change.severity, change.words) for change in compare(contract, seen, "warranty", "form", RELIED)]


def with_control(old: SeenControl, **changes: Any) -> Seen:
    controls = tuple(replace(control, **changes) if control == old else control for control in PAGE.controls)
    return replace(PAGE, controls=controls)


def with_line(old: str, *new: str) -> Seen:
    """The page with other lines instead of this one."""
    lines = [line for one in LINES for line in (new if str(one) == old else (str(one),))]
    return replace(PAGE, aria=aria.read("\n".join(lines)))


def test_a_page_is_as_the_contract_that_was_made_from_it() -> None:
    assert found(PAGE) == []
    assert found(replace(PAGE, aria=()), CONTRACT.model_copy(update={"aria": None})) == []


@pytest.mark.parametrize(
    ("seen", "severity", "words"),
    [
        (replace(PAGE, path="/claims/v2"), BLOCK, "the form goes to /claims/v2 instead of /claims"),
        (replace(PAGE, method="GET"), BLOCK, "the form's method is GET instead of POST"),
        (replace(PAGE, controls=(TOKEN, COVERAGE)), BLOCK, "the input text 'Odometer' is gone"),
        (with_control(ODOMETER, type="number"), BLOCK, "'Odometer' is the input number now, it was the input text"),
        (with_control(ODOMETER, required=True), BLOCK, "'Odometer' is required now"),
        (with_control(ODOMETER, label="Mileage"), BLOCK, "label 'Odometer' is now 'Mileage'"),
        (with_control(COVERAGE, label="Policy"), WARN, "label 'Coverage' is now 'Policy'"),
        (with_control(ODOMETER, maxlength=5), WARN, "'Odometer' takes 5 characters instead of 6"),
        (with_control(ODOMETER, maxlength=7), NOTE, "'Odometer' takes 7 characters instead of 6"),
        (with_control(ODOMETER, maxlength=None), NOTE, "'Odometer' takes any number of characters instead of 6"),
        (with_control(COVERAGE, options=("Basic", "Goodwill")), WARN, "option 'Powertrain' of 'Coverage' is gone"),
        (with_control(COVERAGE, options=("Basic", "Engine", "Goodwill")), WARN,
         "option 'Powertrain' of 'Coverage' is now 'Engine'"),
        (with_control(COVERAGE, options=("Basic", "Powertrain", "Goodwill", "Recall")), NOTE,
         "'Coverage' has a new option 'Recall'"),
        (with_line('heading "Vehicle"', 'heading "Car"'), WARN, "heading 'Vehicle' is now 'Car'"),
        (with_line('heading "Vehicle"', 'text "Vehicle"'), WARN, "heading 'Vehicle' is now text 'Vehicle'"),
        (with_line('text "Amounts in USD"'), WARN, "text 'Amounts in USD' is gone"),
        (with_line('text "Amounts in USD"', 'text "Amounts in USD"', 'link "Help"'), WARN, "new link 'Help'"),
        (with_line('button "Submit claim"', 'button "Send claim"'), BLOCK, "button 'Submit claim' is now 'Send claim'"),
        (with_line('button "Submit claim"'), BLOCK, "button 'Submit claim' is gone"),
        (with_line('textbox "Date" hint "MM/DD/YYYY"', 'textbox "Date" hint "YYYY-MM-DD"'), WARN,
         "the hint of textbox 'Date' is now 'YYYY-MM-DD', it was 'MM/DD/YYYY'"),
        (replace(PAGE, aria=(LINES[-1], *LINES[:-1])), NOTE, "button 'Submit claim' stands at another place"),
        (replace(PAGE, controls=(COVERAGE, ODOMETER, TOKEN)), None, ""),
    ],
)  # fmt: skip
def test_each_change_has_its_severity_and_its_words(seen: Seen, severity: Severity | None, words: str) -> None:
    assert found(seen) == ([(severity, words)] if severity else [])


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        ({"required": True}, BLOCK, "new required field 'Fuel type' after 'Odometer'"),
        ({}, WARN, "new optional field 'Fuel type' after 'Odometer'"),
        ({"type": "hidden", "label": ""}, BLOCK, "new hidden input 'fuel' after 'Odometer'"),
    ],
)
def test_a_new_control_is_told_once_although_its_label_is_new_text(
    changes: dict[str, Any], severity: Severity, words: str
) -> None:
    new = replace(SeenControl("fuel", "input", "text", False, "Fuel type", None, None), **changes)
    said = aria.read('text "Fuel type"\ntextbox "Fuel type"') if new.label else ()
    page = replace(PAGE, controls=(TOKEN, ODOMETER, new, COVERAGE), aria=(*LINES[:3], *said, *LINES[3:]))
    assert found(page) == [(severity, words)]


def test_text_that_runs_into_a_new_label_is_not_taken_for_another() -> None:
    new = SeenControl("fuel", "input", "text", True, "Fuel type", None, None)
    page = with_line('text "Amounts in USD"', 'text "Amounts in USD Fuel type"', 'textbox "Fuel type"')
    assert found(replace(page, controls=(*PAGE.controls, new))) == [
        (BLOCK, "new required field 'Fuel type' after 'Coverage'")
    ]


def test_labels_that_two_fields_have_swapped_are_told_of_both() -> None:
    swapped = (replace(ODOMETER, label="Coverage"), replace(COVERAGE, label="Odometer"))
    words = [words for _, words in found(replace(PAGE, controls=(TOKEN, *swapped)))]
    assert words == ["label 'Odometer' is now 'Coverage'", "label 'Coverage' is now 'Odometer'"]


def test_radio_buttons_of_one_name_are_told_apart_by_their_labels() -> None:
    radios = tuple(SeenControl("type", "input", "radio", False, label, None, None) for label in ("Sale", "Lease"))
    contract = contract_of(replace(PAGE, controls=radios), SCOPE)
    assert found(replace(PAGE, controls=radios[::-1]), contract) == []
    assert found(replace(PAGE, controls=radios[1:]), contract) == [(BLOCK, "the input radio 'Sale' is gone")]


def test_a_contract_of_an_older_version_compares_what_it_has() -> None:
    old = Contract(scope=SCOPE, method="POST", controls=({"name": "odometer", "tag": "input", "type": "text"},))
    page = replace(PAGE, controls=(replace(ODOMETER, label="Mileage", maxlength=1),), aria=())
    assert found(page, old) == []
    assert [words for _, words in found(PAGE, old)] == [
        "new hidden input 'token'", "new optional field 'Coverage' after 'Odometer'",
    ]  # fmt: skip


def test_what_a_pack_relies_on_is_every_name_that_it_finds_something_by() -> None:
    form = load_pack(SELECTORS, "aurora").form("warranty")
    names = relied_on(form, form.pages[0])
    assert {"VIN", "vin", "claim_total", "Submit claim", "Dealer code", "dealer_code", "Photos and documents"} <= names
    assert "Save draft" not in names


# --- the normalised aria snapshot ---

SNAPSHOT = """\
- heading "1. Vehicle" [level=2]
- alert:
  - list:
    - listitem: AUR-120 VIN is not valid
- table "Claim":
  - rowgroup:
    - row "VIN":
      - rowheader "VIN"
      - cell:
        - textbox "VIN"
    - row "Coverage -- select --":
      - rowheader "Coverage"
      - cell "-- select --":
        - combobox "Coverage":
          - option "-- select --" [selected]
          - option "Basic"
- table:
  - rowgroup:
    - row "Rate Since":
      - columnheader "Rate"
      - columnheader "Since"
  - rowgroup:
    - row "Warranty 01/01/2026 Remove":
      - rowheader "Warranty"
      - cell "01/01/2026"
      - cell "Remove":
        - button "Remove"
    - row "Part 1 number":
      - cell:
        - textbox "Part 1 number": "12"
- textbox "Date":
  - /placeholder: MM/DD/YYYY
- 'textbox "Note: \\"why\\""'
- list:
  - listitem: Bulletin 44
- paragraph: Draft T-88231 of Mon, 3 November 2026 · kept for 20 minutes
- link "Help":
  - /url: /help?token=abc
- checkbox "I certify" [checked]
- button "Submit claim" [disabled]
"""
NORMAL = [
    'heading "# Vehicle"', 'table "Claim"', 'rowheader "VIN"', 'textbox "VIN"', 'rowheader "Coverage"',
    'combobox "Coverage"', 'columnheader "Rate"', 'columnheader "Since"', 'textbox "Part 1 number"',
    'textbox "Date" hint "MM/DD/YYYY"', 'textbox "Note: \\"why\\""', 'text "Draft # of # · kept for # minutes"',
    'link "Help"', 'checkbox "I certify"', 'button "Submit claim"',
]  # fmt: skip


def test_what_varies_is_left_out_and_what_is_said_stays() -> None:
    lines = aria.normalised(SNAPSHOT)
    assert [str(line) for line in lines] == NORMAL
    assert aria.read(aria.written(lines)) == lines


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('- textbox "VIN"\n', '- textbox "VIN": 1HGCM82653A100001\n'),
        ('row "VIN":', 'row "VIN 1HGCM82653A100001":'),
        ('option "-- select --" [selected]', 'option "-- select --"'),
        ('option "Basic"', 'option "Basic" [selected]'),
        ("  - listitem: Bulletin 44\n", "  - listitem: Bulletin 44\n  - listitem: Bulletin 45\n"),
        ('    - row "Warranty', '    - row "Hybrid 11/01/2026":\n      - cell "Hybrid"\n    - row "Warranty'),
        ("T-88231 of Mon, 3 November 2026", "T-90112 of Tue, 1 December 2026"),
        ('"I certify" [checked]', '"I certify"'),
        ("[disabled]", "[disabled] [active]"),
        ("token=abc", "token=xyz"),
        ("AUR-120 VIN is not valid", "AUR-101 Odometer must be a whole number"),
    ],
)
def test_typed_values_states_rows_and_numbers_change_nothing(old: str, new: str) -> None:
    assert old in SNAPSHOT
    assert [str(line) for line in aria.normalised(SNAPSHOT.replace(old, new))] == NORMAL


def test_a_line_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"aria has the line 'button Send'"):
        aria.read("button Send")
