"""RFC 3161 time-stamps: asked of an authority over HTTP, and verified before anybody believes them.

One checkpoint is stamped, never a bundle: it covers every bundle before it. Nothing here is in a submission's path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from oem_submissions.domain.evidence_log import Stamp
from oem_submissions.ports import TimestampRefused, TimestampUnavailable

_MAX_ANSWER = 100_000
_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


class TimestampAuthority:
    """`ports.Timestamps` at an address, believed when its answers lead to one of the certificates."""

    def __init__(self, url: str, certificates: Callable[[], Sequence[x509.Certificate]], seconds: float = 15.0) -> None:
        """The certificates are read when a stamp is asked for: a file that is not there stops no filing."""
        self._url = url
        self._certificates = certificates
        self._seconds = seconds

    def stamp(self, data: bytes) -> Stamp:
        """The authority's stamp on the SHA-256 of the bytes, verified.

        Raises `TimestampUnavailable` when no answer comes in time, `TimestampRefused` when it is not a good one.
        """
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
        answer = self._ask(request)
        response = _verified(answer, data, self._certificates(), request)
        return Stamp(answer, self._url, response.tst_info.gen_time)

    def _ask(self, request: TimeStampRequest) -> bytes:
        deadline, answer = time.monotonic() + self._seconds, b""
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            with httpx.stream(
                "POST", self._url, content=request.as_bytes(), headers=headers, timeout=self._seconds
            ) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise TimestampUnavailable(f"The authority {self._url} answered HTTP {reply.status_code}.")
                for part in reply.iter_bytes():
                    answer += part
                    if time.monotonic() > deadline:
                        raise TimestampUnavailable(f"The time-stamp authority {self._url} took too long to answer.")
                    if len(answer) > _MAX_ANSWER:
                        raise TimestampRefused(f"The answer of {self._url} is too long for a time-stamp.")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise TimestampUnavailable(f"The time-stamp authority {self._url} does not answer: {why}.") from error
        return answer


def stamp_problem(response: bytes, data: bytes, certificates: Sequence[x509.Certificate]) -> str | None:
    """What is wrong with a time-stamp that was kept, a sentence; None when it is good."""
    try:
        _verified(response, data, certificates, None)
    except TimestampRefused as refused:
        return str(refused)
    return None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file. Raises `ValueError` or `OSError`."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def _verified(
    answer: bytes, data: bytes, certificates: Sequence[x509.Certificate], request: TimeStampRequest | None
) -> TimeStampResponse:
    """The answer, if it is a stamp on the data that leads to a certificate; to this very request, if it is given."""
    try:
        response = decode_timestamp_response(answer)
        builder = VerifierBuilder.from_request(request) if request else VerifierBuilder()
        for certificate in dict.fromkeys(certificates):
            builder = builder.add_root_certificate(certificate)
        if response.tst_info.message_imprint.hash_algorithm != _SHA256:
            raise TimestampRefused("The time-stamp is not on a SHA-256.")
        builder.build().verify_message(response, data)
    except (ValueError, VerificationError) as error:
        raise TimestampRefused(f"The time-stamp authority's answer is not good: {error}.") from error
    return response
