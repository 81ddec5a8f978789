"""Opens the Chromium of this machine for tests that look at pages. No test is skipped for want of one: it fails."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

from oem_submissions.portal.browser import find_browser
from oem_submissions.portal.browser import launch as launch_choice


def launch(playwright: Playwright) -> Browser:
    """A headless browser; raises `ConfigurationError` with the remedy when there is none."""
    return launch_choice(playwright, find_browser())
