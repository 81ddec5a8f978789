"""Whether a form that was sent is one of ours: its token, whence the browser says it comes, how large it is.

A token is a signature over time and visitor: only who has the key makes one that fits, and nothing needs to be kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from oem_submissions.desk.access import Refused, Visit
from oem_submissions.desk.signatures import HOW, signer_on

FIELD = "csrf"
TOKEN_SECONDS = 8 * 3600
PLAIN_BYTES = 64 * 1024
UPLOAD_BYTES = 6 * 1024 * 1024
BODY_SECONDS = 60
_NOTHING_DONE = "Nothing was done"


class Forms:
    """Makes and checks the tokens of forms."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key, self._signer_class = key, signer_on(clock)

    def token(self, visit: Visit) -> str:
        """For the forms of a page that this visitor is shown."""
        return self._signer(visit).sign("form").decode()

    def check(self, visit: Visit, tokens: Sequence[object]) -> None:
        """Raises `Refused` when this is not exactly one token, made for this visitor not long ago."""
        if len(tokens) != 1 or not isinstance(tokens[0], str):
            raise Refused(403, f"{_NOTHING_DONE}: the form did not come from a page of this desk.")
        try:
            self._signer(visit).unsign(tokens[0], max_age=TOKEN_SECONDS)
        except SignatureExpired as error:
            raise Refused(403, f"{_NOTHING_DONE}: the page is too old. Load it again, and send it then.") from error
        except BadSignature as error:
            raise Refused(
                403, f"{_NOTHING_DONE}: the form is not from your sign-in. Load its page again, and send it then."
            ) from error

    def _signer(self, visit: Visit) -> TimestampSigner:
        salt = f"desk form of {visit.subject}".encode()
        return self._signer_class(self._key, salt=salt, **HOW)


def check_whence(request: Request, own_origin: str) -> None:
    """Raises `Refused` when the browser says that the request was made by another site's page.

    A browser that says nothing at all leaves it to the token. `null` is what it says under `no-referrer`.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign_site = site is not None and site != "same-origin"
    foreign_origin = origin is not None and origin != own_origin and not (origin == "null" and site == "same-origin")
    if foreign_site or foreign_origin:
        raise Refused(403, f"{_NOTHING_DONE}: the form came from a page of another site.")


async def read_body(request: Request) -> bytes:
    """The whole body. Raises `Refused` when it is larger than its kind may be, or does not come to its end."""
    limit = UPLOAD_BYTES if _kind(request) == "multipart/form-data" else PLAIN_BYTES
    too_large = Refused(413, f"{_NOTHING_DONE}: more was sent than the {limit // 1024} kB that are taken.")
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdecimal() or int(declared[:20]) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError as error:
        raise Refused(408, f"{_NOTHING_DONE}: not all of it came within {BODY_SECONDS} s.") from error
    return bytes(body)


async def sent_tokens(scope: Scope, body: bytes) -> list[UploadFile | str]:
    """The tokens in the form that the body is. Raises `Refused` when it is none."""
    request = Request(scope, replayed(body))
    if _kind(request) not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise Refused(415, f"{_NOTHING_DONE}: only forms are taken here.")
    try:
        async with request.form(max_files=10, max_fields=1000, max_part_size=UPLOAD_BYTES) as form:
            return form.getlist(FIELD)
    except MultiPartException as error:
        raise Refused(400, f"{_NOTHING_DONE}: the form can't be read. {error.message}") from error


def replayed(body: bytes, rest: Receive | None = None) -> Receive:
    """A body that was read, to be read once more; then whatever comes after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if pending:
            return pending.pop()
        return await rest() if rest else {"type": "http.disconnect"}

    return receive


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
