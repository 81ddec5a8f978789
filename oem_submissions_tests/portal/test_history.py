"""The list of what was filed: read to its last page, and only what the filter really left."""

from __future__ import annotations

import pytest

from adapters import registry
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.outcomes import Filed, Pending
from oem_submissions.portal.history import SEARCHES, list_filings
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.parts import SELECTORS, delivery, file_claim, session, vin, warranty


def test_an_older_claim_is_found_by_the_filter(chromium: BrowserRuntime, simulator: Simulator) -> None:
    history = load_pack(SELECTORS, "aurora").form("warranty").history
    assert history is not None
    claim = warranty("RO-1")
    with session(chromium, simulator, "aurora") as opened:
        first = file_claim(opened, claim, "c1")
        file_claim(opened, warranty("RO-2"), "c2")
        assert opened._walk is not None
        values = {**registry.adapter("aurora").form_values(claim), "your_reference": "c1"}
        rows = list_filings(opened._walk, history, values)
        none = list_filings(opened._walk, history, {**values, "your_reference": "c3"})
    assert isinstance(first.outcome, Filed)
    assert [row.cells["Claim number"] for row in rows] == [first.outcome.reference.value]
    assert none == []


@pytest.mark.parametrize("fault", [None, "reference_later"])
def test_a_rejected_report_in_the_list_is_no_filing(
    fault: str | None, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, "cascade") as opened:
        file_claim(opened, delivery(7, vin=vin(7, "9")))
        if fault:
            simulator.client.set_fault("cascade", fault)
        answer = file_claim(opened, delivery(8))
    assert isinstance(answer.outcome, Pending if fault else Filed)


FICKLE = """
window.wrong = %d;
document.body.innerHTML = `<a href="#/history">History</a><h1>History</h1><form><label>VIN <input id="vin"></label>
  <button type="submit">Search</button></form><main></main>`;
const draw = (vin, number) => {
  const cells = [number, vin, "1", "2026-11-20", "Retailed"].map(text => `<td>${text}</td>`).join("");
  const heads = ["Reference", "VIN", "Sequence / program", "Sale date", "State"].map(t => `<th>${t}</th>`).join("");
  document.querySelector("main").innerHTML =
    `<table aria-label="Submissions"><tr>${heads}</tr><tr>${cells}</tr></table>`;
};
const say = text => document.querySelector("main").prepend(text);
document.querySelector("form").onsubmit = event => {
  event.preventDefault();
  const vin = document.getElementById("vin").value;
  draw(vin, "RDR-AAAAAAA2");
  if (window.wrong-- > 0) { draw(vin, "RDR-WRONGONE"); say("9 submissions"); }
  else say("1 submissions for " + vin);
};
0"""


@pytest.mark.parametrize("wrong", [0, 2, 3])
def test_a_page_that_shows_another_list_is_asked_again_and_in_the_end_not_believed(
    wrong: int, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    history = load_pack(SELECTORS, "cascade").form("delivery_report").history
    assert history is not None
    values = registry.adapter("cascade").form_values(delivery(1))
    with session(chromium, simulator, "cascade") as opened:
        file_claim(opened, delivery(9))  # logs in
        walk = opened._walk
        assert walk is not None
        walk.page.evaluate(FICKLE % wrong)
        if wrong == SEARCHES:
            with pytest.raises(StepFailed, match="does not keep to the search"):
                list_filings(walk, history, values)
            return
        (row,) = list_filings(walk, history, {**values, "sale_sequence": "1", "sale_date": "2026-11-20"})
    assert row.cells["Reference"] == "RDR-AAAAAAA2"
