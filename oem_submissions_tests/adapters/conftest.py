"""The same simulator and browser as for the tests of the runtime."""

from oem_submissions_tests.portal.conftest import chromium, running_simulator, simulator

__all__ = ["chromium", "running_simulator", "simulator"]
