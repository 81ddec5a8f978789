"""The evidence store in an S3 bucket: conditional puts with a checksum, and Object Lock on what may be locked.

It takes a client that `wiring` makes; endpoint, region and credentials are boto3's business. What holds personal data
is never locked (`domain.evidence.LOCKED_FOLDERS`): a locked object can't be erased.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
)

from oem_submissions.domain.evidence import check_key, is_locked, retained_until
from oem_submissions.ports import EvidenceConflict, EvidenceLocked, EvidenceMissing, EvidenceUnavailable

_TRIES = 5
"""At a put that S3 answers with 409: another writer is at the same key this very moment."""
_CREDENTIALS = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine."
_REMEDIES = {
    "AccessDenied": "Allow this key to list the bucket and its versions, and to get, put, delete and lock objects.",
    "BadDigest": "The bytes were damaged on their way: try again.",
    "ExpiredToken": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidRequest": "Is Object Lock on for the bucket? See `oem-submissions doctor`.",
    "NoSuchBucket": "Create the bucket, or correct OEM_SUBMISSIONS_EVIDENCE.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "SignatureDoesNotMatch": _CREDENTIALS,
}
_NO_ANSWER = "Check the network, AWS_ENDPOINT_URL_S3 and AWS_DEFAULT_REGION."
_WITHOUT_LOCK = (
    "Make a bucket with Object Lock (it can't be mended later on every server), or set OEM_SUBMISSIONS_OBJECT_LOCK=off"
    " if whoever may write there may also delete evidence."
)


@dataclass(frozen=True)
class S3Place:
    """`s3://bucket/prefix`."""

    bucket: str
    prefix: str
    """Empty, or ends with a slash."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


class S3Store:
    """`ports.EvidenceStore` in a bucket. Every method raises `ValueError` for a key that `check_key` refuses.

    With `retention_months` what may be locked is locked so long (COMPLIANCE: by nobody to be shortened), and a bucket
    that can't do that takes nothing. None: Object Lock is off.
    """

    def __init__(self, client: Any, place: S3Place, retention_months: int | None) -> None:
        self._client = client
        self._place = place
        self._months = retention_months
        self._inspected = False

    def put(self, key: str, data: bytes) -> None:
        """Durable when it returns. The same bytes again change nothing, and make no second version.

        Raises `EvidenceConflict`, or `EvidenceUnavailable` when the bucket refuses or is not what it must be.
        """
        check_key(key)
        if not self._inspected:
            self.inspect()
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        for attempt in range(_TRIES):
            with self._saying("keep", key, but=("PreconditionFailed", "ConditionalRequestConflict")) as refused:
                self._client.put_object(
                    **self._named(key),
                    **self._lock(key),
                    Body=data,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                )
            if refused.code is None:
                return
            if refused.code == "PreconditionFailed":
                break
            time.sleep(0.05 * 2**attempt)
        else:
            raise EvidenceUnavailable(self._sentence("keep", key, "others write it all the time", "Try again."))
        # Ours, if the answer to a first try was lost.
        if self.get(key) != data:
            raise EvidenceConflict(f"The evidence store holds other bytes under {key} already; nothing was changed.")

    def get(self, key: str) -> bytes:
        """The bytes, checked against the checksum that they were put with.

        Raises `EvidenceMissing`, `EvidenceUnavailable`.
        """
        check_key(key)
        with self._saying("read", key, but=("NoSuchKey",)) as refused:
            answer = self._client.get_object(**self._named(key), ChecksumMode="ENABLED")
            return bytes(answer["Body"].read())
        assert refused.code
        raise EvidenceMissing(f"The evidence store has nothing under {key}.")

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted. Raises `EvidenceUnavailable`."""
        if folder := prefix.rpartition("/")[0]:
            check_key(folder)
        with self._saying("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=self._place.prefix + prefix
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(name.removeprefix(self._place.prefix) for name in found)

    def delete(self, key: str) -> None:
        """Every version of it is gone. Raises `EvidenceLocked`, `EvidenceUnavailable`."""
        check_key(key)
        for version, is_marker in self._versions(key):
            with self._saying("delete", key, but=("AccessDenied",)) as refused:
                self._client.delete_object(**self._named(key), VersionId=version)
            if refused.code is not None:
                raise self._why_it_stays(key, None if is_marker else version)

    def hold(self, key: str, on: bool) -> None:
        """S3's legal hold on every version; nothing where Object Lock is off. Raises `EvidenceUnavailable`."""
        check_key(key)
        if self._months is None:
            return
        status = {"Status": "ON" if on else "OFF"}
        for version, is_marker in self._versions(key):
            if not is_marker:
                with self._saying("hold", key):
                    self._client.put_object_legal_hold(**self._named(key), VersionId=version, LegalHold=status)

    def inspect(self) -> str:
        """What the bucket is, in a sentence. Raises `EvidenceUnavailable` when it is not what evidence needs."""
        with self._saying("use", ""):
            # A listing and not head_bucket, whose answer has no body: it could not say what is wrong.
            self._client.list_objects_v2(Bucket=self._place.bucket, Prefix=self._place.prefix, MaxKeys=1)
        if self._months is None:
            self._inspected = True
            return f"{self._place} answers; Object Lock is OFF: who may delete there can delete evidence"
        with self._saying("use", ""):
            versioning = self._client.get_bucket_versioning(Bucket=self._place.bucket).get("Status")
        with self._saying("use", "", but=("ObjectLockConfigurationNotFoundError",)) as refused:
            lock = self._client.get_object_lock_configuration(Bucket=self._place.bucket)["ObjectLockConfiguration"]
        if versioning != "Enabled" or refused.code is not None or lock.get("ObjectLockEnabled") != "Enabled":
            raise EvidenceUnavailable(f"The bucket {self._place.bucket} has no Object Lock. {_WITHOUT_LOCK}")
        if lock.get("Rule"):
            raise EvidenceUnavailable(
                f"The bucket {self._place.bucket} locks whatever is put there, personal data too, which then can't be"
                " erased: take its default retention away; what may be locked is locked by itself."
            )
        self._inspected = True
        return f"{self._place} answers; versioned, Object Lock on, retention {self._months} months"

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + key}

    def _lock(self, key: str) -> dict[str, Any]:
        if self._months is None or not is_locked(key):
            return {}
        until = retained_until(datetime.now(UTC), self._months)
        return {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}

    def _versions(self, key: str) -> list[tuple[str, bool]]:
        """(version, whether it is a delete marker): the markers last, so that what they hide goes before them."""
        name, found = self._place.prefix + key, []
        with self._saying("read", key):
            for page in self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._place.bucket, Prefix=name
            ):
                for kind in ("Versions", "DeleteMarkers"):
                    found += [
                        (entry["VersionId"], kind == "DeleteMarkers")
                        for entry in page.get(kind, ())
                        if entry["Key"] == name
                    ]
        return sorted(found, key=lambda entry: entry[1])

    def _why_it_stays(self, key: str, version: str | None) -> Exception:
        """S3 says AccessDenied for a lock and for a missing right alike."""
        if version is not None:
            with self._saying("read", key):
                head = self._client.head_object(**self._named(key), VersionId=version)
            if head.get("ObjectLockLegalHoldStatus") == "ON":
                return EvidenceLocked(f"{key} is under a legal hold: nothing was deleted.")
            until = head.get("ObjectLockRetainUntilDate")
            if until is not None and until > datetime.now(UTC):
                return EvidenceLocked(f"{key} is under retention until {until:%Y-%m-%d}: nothing was deleted.")
        return EvidenceUnavailable(self._sentence("delete", key, "AccessDenied", _REMEDIES["AccessDenied"]))

    @contextmanager
    def _saying(self, verb: str, key: str, but: tuple[str, ...] = ()) -> Iterator[_Refused]:
        """Errors become one sentence without a secret; the codes in `but` are left to the caller to look at."""
        refused = _Refused()
        try:
            yield refused
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "an error"))
            if code in but:
                refused.code = code
                return
            remedy = _REMEDIES.get(code, "Try again; if it stays, ask who runs the bucket.")
            raise EvidenceUnavailable(self._sentence(verb, key, code, remedy)) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise EvidenceUnavailable(self._sentence(verb, key, "there are no credentials", _CREDENTIALS)) from error
        except FlexibleChecksumError as error:
            remedy = "Restore an older version of it, or a replica's."
            raise EvidenceUnavailable(self._sentence(verb, key, "its bytes are not those put", remedy)) from error
        except (BotoCoreError, OSError) as error:  # never its text: it holds addresses, and those may hold passwords
            raise EvidenceUnavailable(self._sentence(verb, key, type(error).__name__, _NO_ANSWER)) from error

    def _sentence(self, verb: str, key: str, why: str, remedy: str) -> str:
        what = repr(key) if key else "it"
        return f"The evidence store {self._place} could not {verb} {what}: {why}. {remedy}"


class _Refused:
    code: str | None = None
