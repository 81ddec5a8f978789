"""A page that sends its form to the submission's own path to show what was typed: held back, and no submission.

What Trac does, two seconds after the last key. Whatever is not plainly a preview counts as a submission.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.schema import Previews, Request
from oem_submissions_tests.portal.fragile import Certificate, FragilePortal
from oem_submissions_tests.portal.shots import click

_SEND = (
    """([path, body, kind]) => fetch(path, {method: "POST", body, headers: {"Content-Type": kind}}).catch(() => 0)"""
)
_PLAIN = "application/x-www-form-urlencoded; charset=UTF-8"


@pytest.fixture
def portal(certificate: Certificate) -> Iterator[FragilePortal]:
    with FragilePortal("http", certificate) as running:
        yield running


@pytest.fixture
def gate() -> SubmitGate:
    return SubmitGate((Request(path="/submit", previews=Previews(has="preview", lacks="submit")),))


@pytest.fixture
def page(portal: FragilePortal, gate: SubmitGate, chromium: BrowserRuntime) -> Iterator[Page]:
    context = chromium.browser().new_context(service_workers="block")
    page = context.new_page()
    page.goto(f"{portal.url}/urlencoded")
    gate.install(context, None)
    gate.close()
    yield page
    context.close()


def test_a_preview_reaches_nobody_and_is_no_sign_of_a_page_that_submits_by_itself(
    page: Page, gate: SubmitGate, portal: FragilePortal
) -> None:
    page.evaluate(_SEND, ["/submit", "vin=1HG&preview=1", _PLAIN])
    assert (gate.wire.blocked, portal.posts) == (0, [])


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/submit", "vin=1HG&preview=1&submit=Create", _PLAIN),
        ("/submit", "vin=1HG&preview=1&%73ubmit=", _PLAIN),
        ("/submit", "vin=1HG", _PLAIN),
        ("/submit?submit=Create", "vin=1HG&preview=1", _PLAIN),
        ("/submit", "vin=1HG&preview=1&broken", _PLAIN),
        ("/submit", '{"preview": 1}', "application/json"),
        ("/submit", "", _PLAIN),
    ],
    ids=[
        "has both",
        "has both, in disguise",
        "has neither",
        "in the address",
        "unreadable",
        "of another kind",
        "empty",
    ],
)
def test_what_is_not_plainly_a_preview_is_a_submission_and_stopped_as_one(
    path: str, body: str, kind: str, page: Page, gate: SubmitGate, portal: FragilePortal
) -> None:
    page.evaluate(_SEND, [path, body, kind])
    assert (gate.wire.blocked, portal.posts) == (1, [])


def test_a_preview_between_arming_and_the_click_does_not_use_up_the_one_shot(
    page: Page, gate: SubmitGate, portal: FragilePortal
) -> None:
    gate_arm = gate.arm

    def arm_and_preview(on_sent: object) -> None:
        gate_arm(lambda wire: None)
        page.evaluate(_SEND, ["/submit", "vin=1HG&preview=1", _PLAIN])

    gate.arm = arm_and_preview  # type: ignore[method-assign]
    click(page, gate)
    assert (len(portal.posts), gate.wire.blocked, gate.response is not None) == (1, 0, True)
