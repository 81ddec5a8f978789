"""The set-up of a browser, run for real as a process, with a package manager that is made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.browser import VARIABLE, find_browser, launch_headed

APT = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *install*{package}) ln -s "{browser}" "{folder}/{package}" ;; *update) ;; *) exit 1 ;; esac
"""


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    """Without a network (the download goes to a closed port), without other programs than those in the folder."""
    environment = {
        "PATH": str(folder),
        "HOME": str(folder / "home"),
        "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9",
        "PLAYWRIGHT_BROWSERS_PATH": str(folder / "browsers"),
    }
    command = [sys.executable, "-m", "oem_submissions.portal.install_browser"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("package", ["chromium-headless-shell", "chromium"])
def test_what_playwright_can_not_download_comes_from_the_package_manager(tmp_path: Path, package: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    for tool in ("sh", "ln", "true"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    apt = folder / "apt-get"
    apt.write_text(APT.format(log=tmp_path / "log", package=package, browser=find_browser().path, folder=folder))
    apt.chmod(0o755)
    done = install(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Playwright's download does not work here." in done.stderr
    assert f"Browser: {folder}/{package}, version" in done.stderr
    assert (tmp_path / "log").read_text().splitlines()[0] == "update"


def test_where_none_can_be_had_it_says_what_to_install(tmp_path: Path) -> None:
    done = install(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("No headless Chromium could be installed: install your system's")


def test_a_screen_that_is_not_there_is_said_in_one_sentence() -> None:
    with sync_playwright() as playwright, pytest.raises(ConfigurationError, match="opens no window on DISPLAY=:4711"):
        launch_headed(playwright, {"DISPLAY": ":4711", VARIABLE: "/bin/false"})
    with sync_playwright() as playwright, pytest.raises(ConfigurationError, match="This machine has no screen"):
        launch_headed(playwright, {VARIABLE: "/bin/false"})
