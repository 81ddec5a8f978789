"""A worker in a process of its own, to be killed: files one partition, and says nothing.

`python -m oem_submissions.conformance.worker`, with a `Job` as JSON on standard input: a command line shows secrets.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from oem_submissions.conformance.stage import browser
from oem_submissions.domain.claims import parse_claim
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.store import open_ledger
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.ports import Account
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions.settings import EnvironmentSecrets, read_settings


@dataclass(frozen=True)
class Job:
    """What the worker is to do, and with what."""

    adapter: str
    """`package.module:Class`."""
    environment: dict[str, str]
    """The settings' variables."""
    partition: tuple[str, str, str]
    account: tuple[str, str, str, str, str | None]


def name_of(adapter: PortalAdapter) -> str:
    """As `Job.adapter` has it."""
    return f"{type(adapter).__module__}:{type(adapter).__qualname__}"


@contextmanager
def working(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """The worker at work; killed at the end if it still lives."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "oem_submissions.conformance.worker"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=environment) as process:  # noqa: S603 - our own module
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(asdict(job)).encode())
            process.stdin.close()
            yield process
        finally:
            process.kill()


def main() -> None:
    """Read the job, and do it."""
    job = Job(**json.load(sys.stdin))
    module, _, name = job.adapter.partition(":")
    adapter: PortalAdapter = getattr(importlib.import_module(module), name)()
    settings = read_settings(job.environment)
    assert settings.database_url is not None
    with open_ledger(settings.database_url) as ledger, browser(adapter, settings) as runtime:
        submit_partition(
            Partition(*job.partition),
            f"run-of-{os.getpid()}",
            f"worker-{os.getpid()}",
            ledger=ledger,
            evidence=DirectoryStore(Path(settings.evidence)),
            portal=runtime.portal(adapter.oem),
            gate=OpenGate(),
            account=lambda: Account(*job.account),
            parse=lambda payload: parse_claim(adapter.claim_model, payload),
            lease_seconds=settings.lease_seconds,
            click_seconds=settings.click_seconds,
            attempts_budget=settings.attempts_budget,
            look_hours=settings.look_hours,
            leak_gate=LeakGate(leaks, EnvironmentSecrets()),
        )


if __name__ == "__main__":
    main()
