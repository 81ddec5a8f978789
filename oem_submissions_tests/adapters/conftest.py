"""The same simulator and browser as for the tests of the runtime."""

from oem_submissions_tests.portal.conftest import certificate, chromium, running_simulator, simulator

__all__ = ["certificate", "chromium", "running_simulator", "simulator"]
