"""What only a bucket can do to an evidence store: lock, lie, hang, refuse, die and come back."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from oem_submissions.cli.doctor import diagnose
from oem_submissions.domain.evidence import retained_until
from oem_submissions.evidence.store_s3 import S3Place, S3Store
from oem_submissions.ports import EvidenceConflict, EvidenceLocked, EvidenceUnavailable
from oem_submissions.settings import EnvironmentSecrets, Settings, SettingsError, read_settings
from oem_submissions.wiring import aws_client, bare_store
from oem_submissions_tests.evidence.s3_servers import LOCKED, PLAIN, SECRET, Weed, s3_client, s3_store

BUNDLE = "bundles/aurora-abc/" + "0" * 64 + ".zip"
PERSONAL = ("artifacts/aurora-abc/7/a.webp", "attachments/aurora-abc/" + "1" * 64, "personal/aurora-abc/7/a.json")
LIST = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture(params=["SeaweedFS", "moto"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("weed").url if request.param == "SeaweedFS" else request.getfixturevalue("moto_url")


def versions(url: str, prefix: str) -> list[dict[str, Any]]:
    return s3_client(url).list_object_versions(Bucket=LOCKED, Prefix=prefix).get("Versions", [])


# --- what a bucket with Object Lock keeps ---------------------------------------------------------------------------


def test_what_may_be_locked_is_locked_for_the_time_of_retention(url: str) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    store = s3_store(url, prefix, months=24)
    for key in (BUNDLE, "keys/signing.pem", "log/checkpoint"):
        store.put(key, b"evidence")
        head = s3_client(url).head_object(Bucket=LOCKED, Key=prefix + key)
        assert head["ObjectLockMode"] == "COMPLIANCE"
        left = retained_until(datetime.now(UTC), 24) - head["ObjectLockRetainUntilDate"]
        assert abs(left) < timedelta(minutes=5)
        with pytest.raises(EvidenceLocked, match=r"is under retention until 20\d\d-\d\d-\d\d: nothing was deleted"):
            store.delete(key)
        assert store.get(key) == b"evidence"


def test_what_holds_personal_data_is_never_locked(url: str) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    store = s3_store(url, prefix)
    for key in PERSONAL:
        store.put(key, b"somebody")
        assert "ObjectLockMode" not in s3_client(url).head_object(Bucket=LOCKED, Key=prefix + key)
        store.delete(key)
    assert versions(url, prefix) == []


def test_the_same_bytes_again_make_no_second_version(url: str) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    for _ in range(3):
        s3_store(url, prefix).put(BUNDLE, b"evidence")
    with pytest.raises(EvidenceConflict):
        s3_store(url, prefix).put(BUNDLE, b"other")
    assert len(versions(url, prefix)) == 1


def test_every_version_goes_with_a_deletion_also_what_a_marker_hides(url: str) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    store = s3_store(url, prefix)
    store.put(PERSONAL[2], b"one")
    s3_client(url).delete_object(Bucket=LOCKED, Key=prefix + PERSONAL[2])  # a stranger, who did not say which version
    store.put(PERSONAL[2], b"two")
    assert len(versions(url, prefix)) == 2
    store.delete(PERSONAL[2])
    assert versions(url, prefix) == []


def test_a_bucket_without_object_lock_takes_nothing_unless_that_is_wanted(url: str) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    refusing = s3_store(url, prefix, bucket=PLAIN, months=24)
    for act in (refusing.inspect, lambda: refusing.put(BUNDLE, b"")):
        with pytest.raises(EvidenceUnavailable, match=r"^The bucket plain has no Object Lock\. .*OBJECT_LOCK=off"):
            act()
    taking = s3_store(url, prefix, bucket=PLAIN, months=None)
    assert "Object Lock is OFF" in taking.inspect()
    taking.put(BUNDLE, b"evidence")
    taking.hold(BUNDLE, True)  # the ledger's word is all there is
    taking.delete(BUNDLE)
    assert taking.keys("") == []
    assert "Object Lock on, retention 24 months" in s3_store(url, prefix).inspect()


def test_a_bucket_that_locks_everything_by_itself_is_refused(moto_url: str) -> None:
    client = s3_client(moto_url)
    client.create_bucket(Bucket="greedy", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    client.put_object_lock_configuration(
        Bucket="greedy", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    with pytest.raises(EvidenceUnavailable, match="locks whatever is put there, personal data too"):
        s3_store(moto_url, "", bucket="greedy").put(PERSONAL[2], b"")


@pytest.mark.parametrize(
    ("since", "months", "until"),
    [((2026, 11, 25), 24, (2028, 11, 25)), ((2026, 8, 31), 6, (2027, 2, 28)), ((2026, 12, 31), 2, (2027, 2, 28))],
)
def test_a_retention_is_counted_in_calendar_months(since: Any, months: int, until: Any) -> None:
    assert retained_until(datetime(*since, tzinfo=UTC), months) == datetime(*until, tzinfo=UTC)


# --- what a real server refuses, and what it keeps when it dies -------------------------------------------------------


def test_a_wrong_secret_is_one_sentence_that_tells_no_secret(weed: Weed) -> None:
    for act in ACTS:
        with pytest.raises(EvidenceUnavailable, match=r"SignatureDoesNotMatch\. Check AWS_ACCESS_KEY_ID") as raised:
            act(s3_store(weed.url, "", secret="another-secret"))
        assert "another-secret" not in str(raised.value)
        assert SECRET not in str(raised.value)


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(url: str) -> None:
    with pytest.raises(EvidenceUnavailable, match="s3://nowhere/x could not .*NoSuchBucket. Create the bucket"):
        s3_store(url, "x/", bucket="nowhere").put("a", b"")


def test_everything_is_there_after_the_server_was_killed_and_started_again(weed: Weed) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    store = s3_store(weed.url, prefix)
    kept = {f"artifacts/aurora-abc/{n}/a.webp": bytes([n]) * 100_000 for n in range(5)} | {BUNDLE: b"a bundle"}
    for key, data in kept.items():
        store.put(key, data)
    weed.kill()
    with pytest.raises(EvidenceUnavailable, match=r"EndpointConnectionError\. Check the network"):
        store.get(BUNDLE)
    weed.start()
    weed.wait_for(lambda: store.get(BUNDLE))
    assert {key: store.get(key) for key in store.keys("")} == kept
    with pytest.raises(EvidenceConflict):
        store.put(BUNDLE, b"another bundle")
    with pytest.raises(EvidenceLocked):
        store.delete(BUNDLE)
    store.put("log/after", b"it takes new ones")


# --- a server that answers as a test wants ----------------------------------------------------------------------------

ACTS: list[Callable[[S3Store], object]] = [
    lambda store: store.put(BUNDLE, b"x"),
    lambda store: store.get(BUNDLE),
    lambda store: store.keys("bundles/"),
    lambda store: store.delete(BUNDLE),
    lambda store: store.hold(BUNDLE, True),
]
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def server(answer: Callable[[str, str], Answer]) -> Iterator[str]:
    """An HTTP server on a free port; `answer` is given method and path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answer(self.command, self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_HEAD = handle_one

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def failing(code: str, status: int) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>for {SECRET}</Message></Error>"
    return status, {"Content-Type": "application/xml"}, text.encode()


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("AccessDenied", 403, "Allow this key to list the bucket"),
        ("RequestTimeTooSkewed", 403, "Set this machine's clock"),
        ("ExpiredToken", 400, "Check AWS_ACCESS_KEY_ID"),
        ("InternalError", 500, "Try again"),
        ("SlowDown", 503, "Try again"),
    ],
)
def test_whatever_else_it_says_is_unavailable_with_a_remedy_and_no_secret(code: str, status: int, remedy: str) -> None:
    with server(lambda *_: failing(code, status)) as url:
        for act in (lambda store: store.get(BUNDLE), lambda store: store.put(BUNDLE, b"")):
            with pytest.raises(
                EvidenceUnavailable, match=f"^The evidence store s3://locked could not .*{code}"
            ) as said:
                act(s3_store(url, ""))
            assert remedy in str(said.value)
            assert SECRET not in str(said.value)


def test_a_put_that_meets_another_one_is_tried_again() -> None:
    seen: list[str] = []

    def answer(method: str, _: str) -> Answer:
        seen.append(method)
        if method == "GET":
            return 200, {}, LIST
        return failing("ConditionalRequestConflict", 409) if seen.count("PUT") < 3 else (200, {}, b"")

    with server(answer) as url:
        s3_store(url, "", months=None).put(BUNDLE, b"x")
    assert seen.count("PUT") == 3


def test_bytes_that_are_not_those_put_are_not_taken_for_evidence() -> None:
    headers = {"x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "ETag": '"x"'}
    with server(lambda *_: (200, headers, b"tampered")) as url, pytest.raises(EvidenceUnavailable) as said:
        s3_store(url, "").get(BUNDLE)
    assert "its bytes are not those put" in str(said.value)


def test_an_answer_that_breaks_off_is_unavailable_not_short() -> None:
    headers = {"Content-Length": "100", "Connection": "close"}
    with server(lambda *_: (200, headers, b"half")) as url, pytest.raises(EvidenceUnavailable, match="Check the net"):
        s3_store(url, "").get(BUNDLE)


def test_a_listing_of_many_pages_is_read_to_its_end() -> None:
    def answer(_: str, path: str) -> Answer:
        more = "token" not in path
        key = "p/b/1" if more else "p/a/1"
        rest = "<NextContinuationToken>token</NextContinuationToken>" if more else ""
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated><Contents><Key>{key}</Key></Contents>{rest}"
        return 200, {}, f"<ListBucketResult>{text}</ListBucketResult>".encode()

    with server(answer) as url:
        assert s3_store(url, "p/").keys("") == ["a/1", "b/1"]


def test_a_server_that_hangs_is_given_up_before_a_lease_is_lost() -> None:
    free = threading.Event()

    def hang(*_: object) -> Answer:
        free.wait(30)
        return 200, {}, b""

    patience = Config(connect_timeout=0.2, read_timeout=0.2, retries={"total_max_attempts": 1})
    with server(hang) as url:
        own = {"endpoint_url": url, "aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        store = S3Store(boto3.client("s3", config=patience, **own), S3Place(LOCKED, ""), None)
        try:
            with pytest.raises(EvidenceUnavailable, match=r"ReadTimeoutError\. Check the network"):
                store.put(BUNDLE, b"")
        finally:
            free.set()
    set_up = aws_client("s3", region_name="us-east-1").meta.config
    longest = set_up.retries["total_max_attempts"] * (set_up.connect_timeout + set_up.read_timeout)
    assert longest < read_settings({}).lease_seconds / 2


# --- how it is chosen -------------------------------------------------------------------------------------------------


def test_the_place_is_a_folder_or_a_bucket(monkeypatch: pytest.MonkeyPatch, moto_url: str) -> None:
    own = {"ENDPOINT_URL_S3": moto_url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    for name, value in own.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    place = f"s3://{LOCKED}/{uuid.uuid4().hex}/deeper"
    settings = read_settings({"OEM_SUBMISSIONS_EVIDENCE": place, "OEM_SUBMISSIONS_RETENTION_MONTHS": "36"})
    store = bare_store(settings)
    assert isinstance(store, S3Store)
    assert store.inspect() == f"{place} answers; versioned, Object Lock on, retention 36 months"
    store.put(BUNDLE, b"x")
    assert [v["Key"] for v in versions(moto_url, place.removeprefix(f"s3://{LOCKED}/"))] == [
        f"{place}/{BUNDLE}".removeprefix(f"s3://{LOCKED}/")
    ]


def test_variables_of_aws_that_make_no_sense_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "s3.example:hunter2@nowhere")
    with pytest.raises(EvidenceUnavailable, match="AWS's s3 can't be used .* check AWS_DEFAULT_REGION") as said:
        bare_store(read_settings({"OEM_SUBMISSIONS_EVIDENCE": "s3://bucket"}))
    assert "hunter2" not in str(said.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVIDENCE", "gs://bucket"),
        ("EVIDENCE", "s3://"),
        ("EVIDENCE", "s3://key:secret@bucket"),
        ("OBJECT_LOCK", "maybe"),
        ("RETENTION_MONTHS", "0"),
        ("PERSONAL_KEY", "alias/x"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"OEM_SUBMISSIONS_{name}"):
        read_settings({f"OEM_SUBMISSIONS_{name}": value})


def _diagnoses(settings: Settings) -> dict[str, tuple[bool, str]]:
    return {each.part: (each.ok, each.says) for each in diagnose(settings, EnvironmentSecrets({}))}


def test_doctor_says_what_is_wrong_with_a_bucket_and_a_key(
    database_url: str, tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"ENDPOINT_URL_S3": moto_url, "ENDPOINT_URL_KMS": moto_url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**own, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    variables = {
        "OEM_SUBMISSIONS_HOME": str(tmp_path),
        "OEM_SUBMISSIONS_DATABASE_URL": database_url,
        "OEM_SUBMISSIONS_PERSONAL_KEY": "awskms:alias/none",
        "OEM_SUBMISSIONS_EVIDENCE": "s3://plain",
    }
    before = s3_client(moto_url).list_objects_v2(Bucket="plain")["KeyCount"]
    said = _diagnoses(read_settings(variables))
    assert not said["evidence store"][0]
    assert said["evidence store"][1].startswith("The bucket plain has no Object Lock.")
    assert said["key of personal data"] == (
        False,
        "KMS did not encrypt with awskms:alias/none: NotFoundException. "
        "Check the key, this machine's right to use it, and the network.",
    )
    assert s3_client(moto_url).list_objects_v2(Bucket="plain")["KeyCount"] == before
    said = _diagnoses(read_settings(variables | {"OEM_SUBMISSIONS_OBJECT_LOCK": "off"}))
    assert said["evidence store"] == (
        True,
        "s3://plain answers; Object Lock is OFF: who may delete there can delete evidence",
    )
