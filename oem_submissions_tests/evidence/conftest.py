"""The evidence stores' own server: one SeaweedFS for all tests of a process, started when first needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
