"""One simulator and one browser for all tests of a package; every test starts with an empty simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters import registry
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.fragile import Certificate
from oem_submissions_tests.portal.parts import SELECTORS


@pytest.fixture(scope="package")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    """The simulated portals, with nothing filed and no fault set."""
    running_simulator.client.reset()
    return running_simulator


@pytest.fixture(scope="package")
def certificate() -> Certificate:
    """What the browser trusts of a portal that a test makes."""
    return Certificate()


@pytest.fixture(scope="package")
def chromium(certificate: Certificate) -> Iterator[BrowserRuntime]:
    """A running browser. Not for the whole test session: two sync Playwrights can't live in one thread."""
    with BrowserRuntime(registry.adapter, SELECTORS, {}, browser_arguments=(certificate.argument,)) as runtime:
        runtime.browser()
        yield runtime
