"""The desk's commands: where it refuses to start, how it starts with a way in, its log, tokens for machines."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from oem_submissions.domain.desk_log import DeskAction, DeskEntry
from oem_submissions.ledger.store import Ledger
from oem_submissions_tests.faults.world import wait_for
from oem_submissions_tests.forks import run_command, start_command


@pytest.fixture
def variables(database_url: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OEM_SUBMISSIONS_")}
    return {
        **kept, "OEM_SUBMISSIONS_DATABASE_URL": database_url, "OEM_SUBMISSIONS_HOME": str(tmp_path), "USER": "ana",
    }  # fmt: skip


@pytest.fixture
def command(variables: dict[str, str], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs `oem-submissions WORDS`: its code, and what it says on both streams, in one line."""

    def run(*words: str, **more: str) -> tuple[int, str, str]:
        out, err = tmp_path / "out", tmp_path / "err"
        code = run_command(words, variables | more, out, err, 60)
        return code, out.read_text(), " ".join(err.read_text().split())

    return run


def test_a_desk_for_everybody_needs_a_way_to_sign_in(command: Callable[..., tuple[int, str, str]]) -> None:
    for words, more in (
        (("desk", "--host", "0.0.0.0"), {}),
        (("desk",), {"OEM_SUBMISSIONS_DESK_HOST": "0.0.0.0"}),
    ):
        code, out, err = command(*words, **more)
        assert (code, out) == (3, "")
        assert "The desk would show claims to everybody who can reach 0.0.0.0" in err
        for name in ("OIDC_ISSUER", "PROXY_AUDIENCE", "SECRET_DESK_TOKENS"):
            assert f"OEM_SUBMISSIONS_{name}" in err


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_machine_gets_a_token_and_the_desk_its_hash_only(
    command: Callable[..., tuple[int, str, str]], variables: dict[str, str], tmp_path: Path, ledger: Ledger
) -> None:
    code, out, _ = command("desk-token", "monitoring", "--json")
    made = json.loads(out)
    assert (code, made["variable"]) == (0, "OEM_SUBMISSIONS_SECRET_DESK_TOKENS")
    assert made["token"] not in made["entry"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    own = {made["variable"]: made["entry"], "OEM_SUBMISSIONS_DESK_URL": url}
    out, err = tmp_path / "desk.out", tmp_path / "desk.err"
    with httpx.Client(trust_env=False, timeout=30) as http:
        desk = start_command(("desk", "--port", str(port)), variables | own, out, err)
        try:
            wait_for(lambda: listens(port), 60, "the desk to listen")
            assert http.get(f"{url}/health").text == "ok\n"
            assert http.get(f"{url}/").status_code == 401
            assert http.get(f"{url}/", headers={"Authorization": f"Bearer {made['token']}"}).status_code == 200
            assert http.get(f"{url}/", headers={"Authorization": f"Bearer {made['token']}x"}).status_code == 401
        finally:
            desk.terminate()
            desk.join(30)
    assert made["token"] not in out.read_text() + err.read_text()
    key = tmp_path / "keys" / "desk-session.key"
    assert (len(key.read_bytes()), stat.S_IMODE(key.stat().st_mode)) == (32, 0o600)
    assert [line.entry.outcome for line in ledger.access_log()] == ["The token is not known here."]


def test_a_token_for_a_name_that_the_desk_could_not_read_is_not_made(
    command: Callable[..., tuple[int, str, str]],
) -> None:
    for name in ("a:b", "a\nb"):
        assert command("desk-token", name)[:2] == (2, "")


def test_the_log_is_read_by_people_and_by_programs(
    command: Callable[..., tuple[int, str, str]], ledger: Ledger
) -> None:
    assert "Nothing was done at the desk yet" in command("desk-log")[2]
    for who in ("ana", "\N{RIGHT-TO-LEFT OVERRIDE}[red]bob"):
        ledger.note_access(DeskEntry(DeskAction.DOWNLOAD, who, "viewer", "oidc", "/e/x.zip", "given", "::1"))
    lines = json.loads(command("desk-log", "--json", "--who", "ana")[1])["lines"]
    assert [(line["action"], line["who"], line["target"]) for line in lines] == [("download", "ana", "/e/x.zip")]
    code, out, err = command("desk-log")
    assert (code, out) == (0, "")
    assert re.search(r"⟨U\+202E⟩", err)
