"""Whether a screenshot is worth something: it decodes, is of a sane size, and is not blank. Every byte is untrusted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from oem_submissions.domain.evidence import is_blank

MAX_PIXELS = 100_000_000

_UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError)


class ShotUnreadable(Exception):
    """The bytes are no picture: the end of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Look:
    """A screenshot, looked at once: decoding is what costs."""

    problem: str | None
    """What is wrong with it, as the end of a sentence; None when it is a picture of something."""
    picture: Image.Image | None = None
    """None when it can't be decoded."""

    def same_as(self, other: Look) -> bool:
        """Whether both show the very same pixels, however they are compressed."""
        if self.picture is None or other.picture is None or self.picture.size != other.picture.size:
            return False
        return self.picture.convert("RGB").tobytes() == other.picture.convert("RGB").tobytes()


def look_at(data: bytes) -> Look:
    """Decode and judge a screenshot. Raises nothing, whatever the bytes are."""
    try:
        picture = _decode(data)
    except ShotUnreadable as error:
        return Look(str(error))
    return Look("is blank." if is_blank(picture.convert("L").histogram()) else None, picture)


def _decode(data: bytes, formats: Sequence[str] = ("WebP",)) -> Image.Image:
    """The picture, decoded. The size is taken from the header, and refused before any pixel is made."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=[name.upper() for name in formats])
        if picture.width * picture.height > MAX_PIXELS:
            raise ShotUnreadable(f"has more than {MAX_PIXELS} pixels.")
        picture.load()
    except _UNREADABLE as error:
        raise ShotUnreadable(f"is not a {' or '.join(formats)} picture of a sane size.") from error
    except _BROKEN as error:
        raise ShotUnreadable("can't be decoded: the picture is broken.") from error
    return picture


def as_shot(data: bytes) -> bytes:
    """A person's PNG, JPEG or WebP as the lossless WebP that bundles hold, without its metadata.

    Raises `ShotUnreadable` when it is none of these, too large, or blank.
    """
    picture = _decode(data, ["PNG", "JPEG", "WebP"]).convert("RGB")
    if is_blank(picture.convert("L").histogram()):
        raise ShotUnreadable("is blank.")
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()
