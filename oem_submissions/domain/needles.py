"""What must not leave: the secrets of an account, the personal values of a claim, and how texts may write them. Pure.

The patterns are in the syntax of RE2, with no groups that capture. Searching in files is `evidence.leaks`; taking out
of texts is `portal.scrubbing`. Nothing here prints a value.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from html.entities import codepoint2name

from oem_submissions.domain.texts import keepable


class Kind(StrEnum):
    """Whether nobody may ever see it, or only who may see the claim's personal data."""

    SECRET = "secret"  # noqa: S105 - a word, not a secret
    PERSONAL = "personal"


LEAST = {Kind.SECRET: 4, Kind.PERSONAL: 3}
"""Characters: what is shorter stands in every text, and says nothing to who finds it there.

Three for personal values, for there are names like Lee; two would take "Al" out of every sentence.
"""
_UNBOUNDED = 8
"""Characters from which on a value is found inside of a word, too: "Lee" is not meant by "sleeve"."""
_PIECE = 48
"""Characters: long texts are looked for in pieces, so that one that the page cuts short is found."""


@dataclass(frozen=True)
class Needle:
    """One value, and what it is called where it is found."""

    name: str
    kind: Kind
    value: str = field(repr=False)

    @property
    def usable(self) -> bool:
        """Whether it can be told from any other text at all."""
        return len(self.value) >= LEAST[self.kind]

    @property
    def bounded(self) -> bool:
        """Whether it counts only as a word of its own."""
        return len(self.value) < _UNBOUNDED

    @property
    def distinctive(self) -> bool:
        """Whether finding it is proof that it leaked, and no chance: a bundle is held up by nothing less.

        "noise" as a complaint says nothing; it is taken out of texts all the same.
        """
        if self.kind is Kind.SECRET:
            return len(self.value) >= 6
        mixed = any(character.isspace() or character.isdigit() for character in self.value)
        return (mixed and len(self.value) >= 5) or len(self.value) >= 12


@dataclass(frozen=True)
class Needles:
    """What is looked for. Never printed."""

    all: tuple[Needle, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, kind: Kind, named: Iterable[tuple[str, str]]) -> Needles:
        """From names and values; what is too short is left out, what is long is cut in pieces, each value once."""
        cut = (
            Needle(name, kind, piece)
            for name, value in named
            for whole in dict.fromkeys((_plain(value), " ".join(value.split())))
            for piece in _pieces(whole)
        )
        return Needles(tuple({needle.value.casefold(): needle for needle in cut if needle.usable}.values()))

    def __or__(self, other: Needles) -> Needles:
        return Needles(tuple({(n.kind, n.value): n for n in (*self.all, *other.all)}.values()))

    def only(self, kind: Kind) -> Needles:
        """Those of one kind."""
        return Needles(tuple(needle for needle in self.all if needle.kind is kind))

    def distinctive(self) -> Needles:
        """Those whose being found is no chance."""
        return Needles(tuple(needle for needle in self.all if needle.distinctive))

    def beside(self, public: Iterable[str]) -> Needles:
        """Without what stands in a text that is public by the pack's or our own word: that is no leak."""
        texts = [_plain(text).casefold() for text in public]
        kept = (n for n in self.all if not any(n.value.casefold() in text for text in texts))
        return Needles(tuple(kept))


@dataclass(frozen=True)
class Leak:
    """A value that was found where it must not be. Says what and where, never the value."""

    where: str
    """The artefact's name, and the way into it: `post_confirm.mhtml.gz › text/html`."""
    what: str
    """The needle's name; empty when the place could not be looked through."""
    encoding: str
    """How it was written there, or why it could not be looked through."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}, {self.encoding}" if self.what else f"{self.where}: {self.encoding}"


def _plain(value: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", value).split())


def _pieces(value: str) -> Iterator[str]:
    """A long text in pieces that begin and end between two words, where there are words."""
    while len(value) > _PIECE + LEAST[Kind.PERSONAL]:
        end = value.rfind(" ", _PIECE // 2, _PIECE)
        end = _PIECE if end < 0 else end
        yield value[:end].strip()
        value = value[end:].strip()
    yield value


_UUID = re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{17}")


def looks_like_token(value: str) -> bool:
    """Whether it was made by chance, to be known by nobody else: a UUID, or 16 letters and digits without a break.

    Eight different characters at least, or it is a padded number; a VIN is none, though it has 17.
    """
    if any(character.isspace() for character in value):
        return False  # a text, that may hold one
    if _UUID.search(value):
        return True
    runs = [run for run in re.findall(r"[A-Za-z0-9]{16,}", value) if not _VIN.fullmatch(run)]
    return any(len(set(run)) >= 8 and any(c.isdigit() for c in run) and any(c.isalpha() for c in run) for run in runs)


# --- how a value may be written -----------------------------------------------------------------------------------

Literal = Callable[[str], str]
"""Makes a pattern of a text that stands as it is, in some encoding."""
_LIKE = {"'": "’‘ʼ`", '"': "“”„", "-": "‐‑–"}
"""What typesetters put in a character's place."""
_ESCAPED_WHOLE = 24
"""Characters up to which letters and digits are looked for escaped, too, which few encoders do: it costs patterns."""
_GAP = (
    r"(?:\s|{nbsp}|\+|%(?:25)*(?:20|0[9AD]|C2%(?:25)*A0)|=20|&(?:amp;)*(?:nbsp|#0*(?:32|160)|#x0*(?:20|A0));"
    r"|\\+[nrt]|\\+u00(?:20|A0))+"
)


def in_utf8(text: str) -> str:
    """As a pattern over bytes that were read as Latin-1."""
    return _bytes(text.encode("utf-8", "replace"))


def _bytes(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def in_text(text: str) -> str:
    """As a pattern over text."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in keepable(text))


def as_written(value: str, literal: Literal) -> str:
    """The value raw, URL- or form-encoded, JSON- or HTML-escaped, in any mixture, several times over, any white space.

    Whatever the capitals.
    """
    plain = len(value) > _ESCAPED_WHOLE
    words = (f"(?:{''.join(_character(c, literal, plain) for c in word)})" for word in value.split(" "))
    return f"(?i:{_GAP.replace('{nbsp}', literal(chr(0xA0))).join(words)})"


def _character(character: str, literal: Literal, plain: bool) -> str:
    """One character in every way that an encoder may write it, and its lookalikes. `plain`: letters as they are."""
    if plain and character.isascii() and character.isalnum():
        return literal(character)
    alike = [character, *_LIKE.get(character, "")]
    if not character.isascii():
        alike += [character.lower(), character.upper(), unicodedata.normalize("NFD", character)]
    ways = [way for one in dict.fromkeys(alike) for way in (literal(one), *_escapes(one))]
    slashes = "" if character.isalnum() else r"(?:\\|%(?:25)*5C|&(?:amp;)*#0*92;)*"
    return f"{slashes}(?:{'|'.join(ways)})"


def _escapes(text: str) -> Iterator[str]:
    yield "".join(f"%(?:25)*{byte:02X}" for byte in text.encode("utf-8", "replace"))
    code = ord(text) if len(text) == 1 else None
    if code is not None:
        name = "apos" if text == "'" else codepoint2name.get(code)
        yield f"&(?:amp;)*(?:#0*{code}|#x0*{code:X}{f'|{name}' if name else ''});"
    units = text.encode("utf-16-be", "surrogatepass")
    yield "".join(rf"\\+u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))


def in_utf16(value: str, byte_order: str) -> str:
    """The value as UTF-16, over bytes; whatever the capitals of its ASCII letters. `byte_order` is `le` or `be`."""
    return f"(?i:{_bytes(value.encode(f'utf-16-{byte_order}', 'replace'))})"


def in_base64(value: str) -> str:
    """The value as part of something that was encoded by base64, plain or for URLs, at any of the three alignments."""
    data, ways = value.encode("utf-8", "replace"), []
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + data + b"\0\0").decode()
        first, end = (0, 2, 3)[before], (before + len(data)) * 8 // 6
        ways.append(re.escape(coded[first:end]).replace(r"\+", "[+-]").replace("/", "[/_]"))
    return f"(?-i:{'|'.join(ways)})"


def in_base32(value: str) -> str:
    """The value encoded by base32, from its beginning."""
    data = value.encode("utf-8", "replace")
    return f"(?i:{base64.b32encode(data).decode()[: len(data) * 8 // 5]})"


def in_hex(value: str) -> str:
    """The value's bytes as hexadecimal digits, one after the other or with something between."""
    return f"(?i:{'[ :]?'.join(f'{byte:02x}' for byte in value.encode('utf-8', 'replace'))})"


def as_digits(value: str) -> str | None:
    """Its digits with anything short between them; None when it is not mainly six digits or more."""
    digits = [character for character in value if character in "0123456789"]
    letters = sum(character.isalpha() for character in value)
    return "[^0-9A-Za-z]{0,5}".join(digits) if len(digits) >= 6 and letters <= len(digits) else None


CODED_LEAST = 6
"""Characters: of a shorter value, base64, base32 and hex are found by chance."""


def encodings(value: str, literal: Literal) -> Iterator[tuple[str, str]]:
    """Every way to write the value, by name, as patterns for a text."""
    yield "as written", as_written(value, literal)
    if len(value) >= CODED_LEAST:
        yield "base64", in_base64(value)
        yield "base32", in_base32(value)
        yield "hex", in_hex(value)
    if (digits := as_digits(value)) is not None:
        yield "digits", digits


def encodings_in_bytes(value: str) -> Iterator[tuple[str, str]]:
    """Every way to write the value, by name, as patterns for bytes that were read as Latin-1."""
    yield from encodings(value, in_utf8)
    yield "UTF-16", f"{in_utf16(value, 'le')}|{in_utf16(value, 'be')}"


def stands_alone(before: str, found: str, after: str) -> bool:
    """Whether what was found is a word of its own: `before` and `after` are the few characters around it.

    A number that goes on behind a point or a hyphen is another number.
    """
    before = re.sub(r"(?i)(%[0-9a-f]{2}|\\[nrt]|\\u[0-9a-f]{4})$", " ", before)
    if re.search(r"[0-9A-Za-z]$", before) or re.match(r"[0-9A-Za-z]", after):
        return False
    return not (found.isdigit() and (re.search(r"\d[.-]$", before) or re.match(r"[.-]\d", after)))
