"""`oem-submissions alerts`, and `watch` as a process of its own: told without Dagster."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.ledger.store import Ledger
from oem_submissions_tests.alerts.receivers import webhook
from oem_submissions_tests.forks import run_command, start_command

ALERT = NewAlert("breaker aurora", AlertKind.BREAKER_OPEN, "The portal is left alone.", "aurora")


def test_the_commands_try_and_list_channels_and_deliver_once(ledger: Ledger, database_url: str, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    environment = {
        **os.environ,
        "OEM_SUBMISSIONS_DATABASE_URL": database_url,
        "OEM_SUBMISSIONS_HOME": str(tmp_path),
    }

    def document(*words: str, code: int) -> dict[str, list[dict[str, object]]]:
        assert run_command([*words, "--json"], environment, out, err, 120) == code, err.read_text()
        found: dict[str, list[dict[str, object]]] = json.loads(out.read_text())
        return found

    assert document("alerts", "test", code=0) == {"channels": []}
    with webhook() as hook:
        environment["OEM_SUBMISSIONS_SECRET_ALERTS_URLS"] = f"{hook.url} warning=json://127.0.0.1:1/s3cret"
        tried = document("alerts", "test", code=1)["channels"]
        assert [row["channel"] for row in tried] == [hook.name, "json://127.0.0.1:1"]
        assert [bool(row["problem"]) for row in tried] == [False, True]
        assert hook.titles == ["[TEST] oem_submissions"]

        ledger.raise_alert(ALERT)
        assert [row["sent"] for row in document("alerts", "deliver", code=0)["channels"]] == [1, 0]
        assert hook.titles[1:] == ["[CRITICAL] Breaker open · aurora"]
        listed = document("alerts", "list", code=0)
        assert [(row["kind"], row["severity"]) for row in listed["alerts"]] == [("breaker_open", "critical")]
        assert [row["waiting"] for row in listed["channels"]] == [0, 0]
        assert "s3cret" not in (out.read_text() + err.read_text() + json.dumps(listed)).lower()


def test_watch_tells_people_and_keeps_the_dead_mans_switch_at_rest(
    ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    with webhook() as hook, webhook() as health:
        environment = {
            **os.environ,
            "OEM_SUBMISSIONS_DATABASE_URL": database_url,
            "OEM_SUBMISSIONS_HOME": str(tmp_path),
            "OEM_SUBMISSIONS_SECRET_ALERTS_URLS": hook.url,
            "OEM_SUBMISSIONS_SECRET_ALERTS_HEARTBEAT_URL": f"http://127.0.0.1:{health.port}/s3cret",
        }
        ledger.raise_alert(ALERT)
        err = tmp_path / "err"
        process = start_command(["watch"], environment, tmp_path / "out", err)
        try:
            end = time.monotonic() + 100
            while not (hook.got and health.got and "Breaker open" in err.read_text()) and time.monotonic() < end:
                process.join(0.05)
                assert process.is_alive(), err.read_text()
        finally:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGTERM)
            process.join(30)
        assert process.exitcode == 130
        assert (hook.titles, health.paths) == (["[CRITICAL] Breaker open · aurora"], ["/s3cret"])
        assert {state.channel for state in ledger.alert_channels()} == {hook.name, "terminal"}
        assert "s3cret" not in err.read_text()
