"""Runs' logs on S3, by the very block that docs/aws.md gives."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance
from ruamel.yaml import YAML

from oem_submissions import wiring
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import Account, SessionShelf
from oem_submissions.settings import PROJECT
from oem_submissions_tests.aws.conftest import Aws
from oem_submissions_tests.evidence.s3_servers import PLAIN, SECRET, s3_client
from oem_submissions_tests.orchestration.test_filing_runs import Everything
from oem_submissions_tests.services.fakes import FakePortal

PASSWORD = "correct-horse-battery-7"


class Talking(FakePortal):
    """A portal whose libraries print."""

    def session(self, account: Account, shelf: SessionShelf | None = None, *, attended: bool = True) -> Any:
        assert account.password == PASSWORD
        print("a library's own word", file=sys.stdout, flush=True)  # noqa: T201
        return super().session(account)


def documented() -> dict[str, Any]:
    """The block of dagster.yaml."""
    (block,) = re.findall(r"```yaml\n(compute_logs:.*?)```", (PROJECT / "docs" / "aws.md").read_text(), re.DOTALL)
    return dict(YAML(typ="safe").load(block))


def test_what_a_run_prints_is_on_s3_without_a_secret_and_a_bucket_that_is_away_costs_no_claim(
    aws: Aws, moto_url: str, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Everything(ledger, tmp_path)
    made.portal = Talking()
    secret = {f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_{part}": PASSWORD for part in ("USERNAME", "PASSWORD")}
    made.use(secrets=wiring.EnvironmentSecrets(secret))

    def run(number: int, bucket: str) -> Any:
        monkeypatch.setenv("OEM_SUBMISSIONS_COMPUTE_LOGS_BUCKET", bucket)
        made.instance.dispose()
        made.instance = DagsterInstance.local_temp(str(tmp_path), overrides=documented())
        made.add(number)
        made.take_in()
        return made.run()

    result = run(1, PLAIN)
    assert result.success
    (captured,) = [
        event.event_specific_data for event in result.all_events if event.event_type_value == "LOGS_CAPTURED"
    ]
    found = made.instance.compute_log_manager.get_log_data([result.run_id, "compute_logs", captured.file_key])
    assert b"a library's own word" in (found.stdout or b"")
    assert b"claim aurora-" in (found.stderr or b"")
    objects = s3_client(moto_url).list_objects_v2(Bucket=PLAIN, Prefix="compute-logs/")["Contents"]
    assert {kept["Key"].rpartition(".")[2] for kept in objects if result.run_id in kept["Key"]} >= {"out", "err"}
    for kept in objects:
        text = s3_client(moto_url).get_object(Bucket=PLAIN, Key=kept["Key"])["Body"].read()
        assert PASSWORD.encode() not in text
        assert SECRET.encode() not in text
    assert run(2, "nobody-made-this").success
    assert len(made.portal.filed) == 2
    made.instance.dispose()
