"""A host that a record names may do as it likes: it keeps nobody, and nothing of it is taken for what it is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from oem_submissions.crm.fetching import fetch
from oem_submissions.ports import CrmUnavailable


@contextmanager
def dripping(head: bytes, dripped: list[bytes]) -> Iterator[str]:
    """A host that says so much and then sends a byte now and then, 200 of them, or until whoever asked is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = threading.Event()

        def drip() -> None:
            asked, _ = listener.accept()
            with asked, suppress(OSError):
                asked.recv(4096)
                asked.sendall(head)
                for _ in range(200):
                    if left.wait(0.05):
                        break
                    asked.sendall(b"x")
                    dripped.append(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/a.pdf"
        finally:
            left.set()
            thread.join()


@pytest.mark.parametrize("length", [b"", b"Content-Length: 1000000\r\n"])
def test_a_file_that_never_ends_is_given_up_and_no_part_of_it_is_taken_for_the_whole(length: bytes) -> None:
    dripped: list[bytes] = []
    with (
        dripping(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n%PDF-1.7", dripped) as url,
        pytest.raises(CrmUnavailable, match=r"at 127\.0\.0\.1 did not come whole within 0\.3 s"),
    ):
        fetch(url, 2_000_000, private_hosts=["127.0.0.1"], seconds=0.3)
    assert len(dripped) < 200
