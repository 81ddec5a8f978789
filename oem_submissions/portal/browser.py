"""Which Chromium is used and how it is started. No page is opened here."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Playwright
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.locators import register_together

log = logging.getLogger(__name__)

QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    "--proxy-bypass-list=<-loopback>",  # a portal on loopback, too, is reached through the single-shot tunnel
)
"""A browser that speaks to the portal and to nobody else."""
VARIABLE = "OEM_SUBMISSIONS_BROWSER"
_SCREENS = ("WAYLAND_DISPLAY", "DISPLAY")
_SYSTEM = (
    ("chromium-headless-shell", "headless shell", "the system's headless shell"),
    ("chromium", "chromium", "the system's Chromium; chromium-headless-shell needs half of its CPU"),
    ("chromium-browser", "chromium", "the system's Chromium; chromium-headless-shell needs half of its CPU"),
    ("google-chrome", "chrome", "the system's Chrome; chromium-headless-shell needs half of its CPU"),
    ("google-chrome-stable", "chrome", "the system's Chrome; chromium-headless-shell needs half of its CPU"),
)


@dataclass(frozen=True)
class BrowserChoice:
    """A Chromium that can be launched."""

    path: Path
    kind: str
    why: str


def find_browser(environment: Mapping[str, str] | None = None) -> BrowserChoice:
    """Playwright's own headless shell if installed, else the system's headless shell, Chromium or Chrome.

    `OEM_SUBMISSIONS_BROWSER` names another one. Raises `ConfigurationError` with the remedy.
    """
    environment = os.environ if environment is None else environment
    if chosen := environment.get(VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise ConfigurationError(f"{VARIABLE} is {chosen}, which is no program: set it to a Chromium, or unset it.")
        return BrowserChoice(Path(chosen), "chosen", f"{VARIABLE} names it")
    if own := _playwrights_own(environment):
        return BrowserChoice(own, "headless shell", "Playwright's own headless shell is installed")
    for program, kind, why in _SYSTEM:
        if path := shutil.which(program, path=environment.get("PATH")):
            return BrowserChoice(Path(path), kind, why)
    raise ConfigurationError(
        "No Chromium was found: run `playwright install chromium-headless-shell`,"
        f" or `apt-get install chromium-headless-shell`, or set {VARIABLE}."
    )


def _playwrights_own(environment: Mapping[str, str]) -> Path | None:
    """The newest headless shell in Playwright's folder of browsers."""
    if folder := environment.get("PLAYWRIGHT_BROWSERS_PATH"):
        root = Path(folder)
    elif sys.platform == "darwin":
        root = Path(environment.get("HOME", "~")).expanduser() / "Library/Caches/ms-playwright"
    else:
        root = (
            Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache")
            / "ms-playwright"
        )
    found = [
        path
        for path in root.glob("chromium_headless_shell-*/*/*headless*shell*")
        if path.is_file() and os.access(path, os.X_OK)
    ]
    return max(found, key=lambda path: int(path.parts[len(root.parts)].rpartition("-")[2]), default=None)


def launch(playwright: Playwright, choice: BrowserChoice, extra_arguments: tuple[str, ...] = ()) -> Browser:
    """The Playwright's one headless browser, with its sandbox on; as root it can't have one, which is logged."""
    register_together(playwright)
    sandbox = not (hasattr(os, "geteuid") and os.geteuid() == 0)
    if not sandbox:
        log.warning("The browser runs without its sandbox, because this process is root: run as another user.")
    arguments: dict[str, Any] = {"executable_path": str(choice.path), "chromium_sandbox": sandbox, "headless": True}
    return playwright.chromium.launch(**arguments, args=[*QUIET, *extra_arguments])


def launch_headed(playwright: Playwright, environment: Mapping[str, str] | None = None) -> Browser:
    """A browser with a window, for a person to walk in. Raises `ConfigurationError` where there can be none."""
    environment = os.environ if environment is None else environment
    if sys.platform.startswith("linux") and not any(environment.get(name) for name in _SCREENS):
        raise ConfigurationError(
            "This machine has no screen for a browser's window: save the pages with a browser elsewhere,"
            " and give their folder with --from-pages."
        )
    own, chosen = Path(playwright.chromium.executable_path), environment.get(VARIABLE)
    found = [path for program, kind, _ in _SYSTEM if kind != "headless shell"
             if (path := shutil.which(program, path=environment.get("PATH")))]  # fmt: skip
    path = chosen or (str(own) if own.exists() else found[0] if found else None)
    if path is None:
        raise ConfigurationError(
            "No Chromium with a window was found: run `playwright install chromium`, or install Chromium or Chrome."
        )
    sandbox = not (hasattr(os, "geteuid") and os.geteuid() == 0)
    try:
        return playwright.chromium.launch(executable_path=path, chromium_sandbox=sandbox, headless=False, args=[*QUIET])
    except PlaywrightError as error:
        screen = next(
            (f"{name}={said}" for name in _SCREENS if (said := environment.get(name))), "this machine's screen"
        )
        raise ConfigurationError(
            f"{path} opens no window on {screen}: start it by hand to see why, or save the pages with a browser"
            " elsewhere, and give their folder with --from-pages."
        ) from error
