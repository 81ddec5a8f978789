"""Whether a screenshot is worth something: it decodes, is of a sane size, and is not blank. Every byte is untrusted."""

from __future__ import annotations

import hashlib
import io
import warnings

from PIL import Image, UnidentifiedImageError

from oem_submissions.domain.evidence import is_blank

MAX_PIXELS = 100_000_000

_UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError)


class ShotUnreadable(Exception):
    """The bytes are no picture: the end of a sentence that begins with the file's name."""


def shot_problem(data: bytes) -> str | None:
    """What is wrong with a screenshot, as the end of a sentence; None when it is a picture of something."""
    try:
        picture = _decode(data)
    except ShotUnreadable as error:
        return str(error)
    return "is blank." if is_blank(picture.convert("L").histogram()) else None


def pixels_digest(data: bytes) -> str:
    """The hex SHA-256 of what a screenshot shows, however it is compressed. Raises `ShotUnreadable`."""
    picture = _decode(data).convert("RGB")
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def _decode(data: bytes) -> Image.Image:
    """The picture, decoded. The size is taken from the header, and refused before any pixel is made."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=["WEBP"])
        if picture.width * picture.height > MAX_PIXELS:
            raise ShotUnreadable(f"has more than {MAX_PIXELS} pixels.")
        picture.load()
    except _UNREADABLE as error:
        raise ShotUnreadable("is not a WebP picture of a sane size.") from error
    except _BROKEN as error:
        raise ShotUnreadable("can't be decoded: the picture is broken.") from error
    return picture
