"""Time-stamps: of a real RFC 3161 authority, and never believed before they are verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oem_submissions.evidence.timestamps import TimestampAuthority, read_certificates, stamp_problem
from oem_submissions.ports import TimestampRefused, TimestampUnavailable
from oem_submissions_tests.evidence.authority import Authority, authority

DATA = b"log.example/evidence\n7\nroot\n\n\xe2\x80\x94 log.example/evidence signature\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("tsa") / "one") as made:
        yield made


@pytest.fixture
def tsa(running: Authority) -> Iterator[Authority]:
    yield running
    running.answer = running.reply


def client(tsa: Authority, **changes: object) -> TimestampAuthority:
    words = {"certificates": lambda: read_certificates(tsa.ca), "seconds": 20.0}
    return TimestampAuthority(tsa.url, **(words | changes))  # type: ignore[arg-type]


def test_a_stamp_is_verified_and_says_the_authoritys_time(tsa: Authority) -> None:
    stamp = client(tsa).stamp(DATA)
    assert abs(stamp.stamped_at - datetime.now(UTC)) < timedelta(minutes=2)
    assert stamp.authority == tsa.url
    assert stamp_problem(stamp.response, DATA, read_certificates(tsa.ca)) is None
    problem = stamp_problem(stamp.response, DATA + b"x", read_certificates(tsa.ca))
    assert problem is not None
    assert "Mismatch between messages" in problem


REFUSED: list[tuple[Callable[[Authority, bytes], bytes], str]] = [
    (lambda tsa, query: b"<html>Welcome</html>", "not good"),
    (lambda tsa, query: b"", "not good"),
    (lambda tsa, query: tsa.reply(query)[:-40], "not good"),
    (lambda tsa, query: tsa.reply(tsa.query(b"other data")), "not good"),  # a wrong imprint, and no nonce of ours
    (lambda tsa, query: tsa.reply(tsa.query(DATA)), "Nonce mismatch"),  # an old answer, played again
    (lambda tsa, query: tsa.reply(query[:-1]), "not good"),  # the authority says that it refuses
    (lambda tsa, query: bytes(200_000), "too long"),
]


@pytest.mark.parametrize(("answer", "words"), REFUSED)
def test_an_answer_that_is_no_good_stamp_is_refused(
    tsa: Authority, answer: Callable[[Authority, bytes], bytes], words: str
) -> None:
    tsa.answer = lambda query: answer(tsa, query)
    with pytest.raises(TimestampRefused, match=words):
        client(tsa).stamp(DATA)


def test_the_stamp_of_an_authority_that_is_not_trusted_is_refused(tsa: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    with pytest.raises(TimestampRefused, match="not good"):
        client(tsa, certificates=lambda: read_certificates(other.ca)).stamp(DATA)


def test_an_authority_in_trouble_is_one_sentence(tsa: Authority) -> None:
    tsa.answer = lambda query: 500
    with pytest.raises(TimestampUnavailable, match=r"answered HTTP 500\."):
        client(tsa).stamp(DATA)
    with pytest.raises(TimestampUnavailable, match="does not answer"):
        TimestampAuthority("http://127.0.0.1:9/", list).stamp(DATA)


def test_an_authority_that_hangs_is_given_up_in_time(tsa: Authority) -> None:
    ended = threading.Event()

    def hang(query: bytes) -> int:
        ended.wait(20)
        return 500

    tsa.answer = hang
    begun = time.monotonic()
    with pytest.raises(TimestampUnavailable, match="does not answer"):
        client(tsa, seconds=0.3).stamp(DATA)
    assert time.monotonic() - begun < 5
    ended.set()
