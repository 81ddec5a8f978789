"""The evidence stores' servers: one SeaweedFS and one moto for all tests of a process, started when first needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from oem_submissions_tests.evidence.s3_servers import PLAIN, Weed, make_buckets, s3_client


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS: a real server, that persists, checks signatures and checksums, and locks objects."""
    server = Weed(tmp_path_factory.mktemp("weed"))
    server.start()
    try:
        make_buckets(server.url)
        server.wait_for(lambda: s3_client(server.url).put_object(Bucket=PLAIN, Key="probe", Body=b"x"))
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """moto: AWS's answers as AWS's clients know them, Object Lock and KMS among them; nothing persists."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        make_buckets(f"http://{host}:{port}")
        yield f"http://{host}:{port}"
    finally:
        server.stop()
