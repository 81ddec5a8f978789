"""Makes sure that a headless Chromium starts on this machine: `python -m oem_submissions.portal.install_browser`.

Takes what is there; else Playwright's download, which gives up soon where there is no such network; else the package
manager, when this user may use it. Says what it does on stderr, nothing on stdout. Which browser is used at work is
`portal.browser`'s to say.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from playwright.sync_api import Error, sync_playwright

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.browser import find_browser, launch

STALLED_SECONDS = 20.0
"""So long may Playwright's download show no progress before it is given up."""
PACKAGE_SECONDS = 900.0
"""So long may a package manager take."""

_PACKAGES: Mapping[str, tuple[tuple[tuple[str, ...], ...], ...]] = {
    # By package manager: the ways to try, in order; each is one or more commands.
    "apt-get": (
        (("apt-get", "update"), ("apt-get", "install", "-y", "chromium-headless-shell")),
        (("apt-get", "install", "-y", "chromium"),),
    ),
    "dnf": ((("dnf", "install", "-y", "chromium-headless"),), (("dnf", "install", "-y", "chromium"),)),
    "apk": ((("apk", "add", "chromium"),),),
    "brew": ((("brew", "install", "--cask", "chromium"),),),
}


def main() -> int:
    """0 when a browser starts, 1 with one sentence when none can be had."""
    if _works():
        return 0
    for attempt in _attempts():
        if attempt and _works():
            return 0
    _say(
        "No headless Chromium could be installed: install your system's chromium-headless-shell, chromium or "
        "google-chrome package, and run `make setup` again."
    )
    return 1


def _attempts() -> Iterator[bool]:
    """One after the other, every way to get a browser; each says whether it came to its end."""
    _say("No browser was found; trying Playwright's download.")
    yield _download()
    prefix = _root_prefix()
    for manager, ways in _PACKAGES.items():
        if not shutil.which(manager):
            continue
        rights = () if manager == "brew" else prefix
        if rights is None:
            _say(f"{manager} could install one, but this user is not root and has no sudo without a password.")
            continue
        for way in ways:
            yield all(_run([*rights, *command]) for command in way)


def _works() -> bool:
    """Whether the browser that would be used really starts."""
    try:
        choice = find_browser()
        with sync_playwright() as playwright, launch(playwright, choice) as browser:
            _say(f"Browser: {choice.path}, version {browser.version} ({choice.why}).")
            return True
    except ConfigurationError:
        return False
    except Error as error:
        return _say(f"A browser was found, but it does not start: {error.message.splitlines()[0]}")


def _download() -> bool:
    """Playwright's own headless shell; stopped as soon as its download makes no progress."""
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    environment = os.environ | {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "5000"}
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        if _progresses(process.stdout.fileno()):
            return process.wait() == 0 or _say("Playwright's download does not work here.")
        os.killpg(process.pid, signal.SIGKILL)
    return _say("Playwright's download makes no progress here.")


def _progresses(descriptor: int) -> bool:
    """Follow the output to its end; False once no line with a percentage came for `STALLED_SECONDS`."""
    deadline = time.monotonic() + STALLED_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            output = os.read(descriptor, 65536)
            if not output:
                return True
            if b"% of" in output:
                deadline = time.monotonic() + STALLED_SECONDS
    return False


def _root_prefix() -> tuple[str, ...] | None:
    """What to put before a command that needs root: nothing for root, `sudo -n`, or None when there is no way."""
    if os.geteuid() == 0:
        return ()
    return ("sudo", "-n") if shutil.which("sudo") and _run(["sudo", "-n", "true"]) else None


def _run(command: list[str]) -> bool:
    _say(f"Running: {' '.join(command)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=PACKAGE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _say(f"It failed: {error}")
    return done.returncode == 0


def _say(text: str) -> bool:
    """Always False: what is said in answer to whether something worked is that it did not."""
    sys.stderr.write(f"{text}\n")
    return False


if __name__ == "__main__":
    sys.exit(main())
