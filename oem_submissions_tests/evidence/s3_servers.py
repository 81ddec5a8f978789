"""Real S3 servers for tests, on this machine: SeaweedFS, that persists and checks signatures, and moto."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from oem_submissions.evidence.store_s3 import S3Place, S3Store
from oem_submissions.ports import EvidenceUnavailable
from oem_submissions.wiring import aws_client

ACCESS, SECRET, LOCKED, PLAIN = "AKIATEST", "a-secret-nobody-prints", "locked", "plain"


@functools.cache
def s3_client(url: str, secret: str = SECRET) -> Any:
    """A client as `wiring` makes it, on a server of a test's own."""
    own = {"aws_access_key_id": ACCESS, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    return aws_client("s3", endpoint_url=url, **own)


def s3_store(url: str, prefix: str, bucket: str = LOCKED, months: int | None = 24, secret: str = SECRET) -> S3Store:
    """A store on one of the server's two buckets: the one with Object Lock, or the plain one."""
    return S3Store(s3_client(url, secret), S3Place(bucket, prefix), months)


def make_buckets(url: str) -> None:
    """One with Object Lock and one without."""
    client = s3_client(url)
    client.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    client.create_bucket(Bucket=PLAIN)


class Weed:
    """A SeaweedFS server with its data in a folder; it may be killed, and started on the same data again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_ports()
        self.url = f"http://127.0.0.1:{self._port + 3}"
        self._process: subprocess.Popen[bytes] | None = None
        identity = {"name": "test", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()

    def start(self) -> None:
        """Start, and wait until it answers."""
        port, folder = self._port, self._folder
        options = {
            "dir": folder / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "master.port": port,
            "volume.port": port + 1, "filer.port": port + 2, "s3.port": port + 3, "s3.config": folder / "s3.json",
            "master.electionTimeout": "1s", "master.heartbeatInterval": "200ms", "master.volumeSizeLimitMB": 64,
            "volume.max": 20, "master.telemetry": "false", "s3.port.iceberg": 0, "s3.port.lance": 0,
        }  # fmt: skip
        weed = Path(sysconfig.get_path("scripts")) / "weed"
        command = [str(weed), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
        with (folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        client = s3_client(self.url)
        self.wait_for(client.list_buckets)

    def wait_for(self, act: Callable[[], object]) -> None:
        """Until it succeeds: after a start the parts of SeaweedFS find each other one by one."""
        deadline = time.monotonic() + 60
        while True:
            try:
                act()
            except (BotoCoreError, ClientError, EvidenceUnavailable):
                assert self._process is not None
                assert self._process.poll() is None, (self._folder / "weed.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "SeaweedFS did not come up within a minute"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL: no time to put anything in order."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_ports() -> int:
    """The first of four free ports; for each the one 10,000 above is free too, which SeaweedFS takes for gRPC.

    Below the ports that the system gives to clients, and beginning elsewhere in each process.
    """
    begin = os.getpid() % 130
    for port in (20_000 + 20 * ((begin + n) % 130) for n in range(130)):
        if all(_is_free(each) for low in range(port, port + 4) for each in (low, low + 10_000)):
            return port
    raise AssertionError("there are no free ports for SeaweedFS")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
