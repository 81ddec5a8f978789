"""How untrusted texts are kept, and shown to people. Escaping for HTML is the templates' work. Pure."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
"""No JSON store keeps NUL, no UTF-8 a lone surrogate."""


def keepable(text: str) -> str:
    """The text as every store can keep it."""
    return _UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(text: str, characters: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


def visible(text: str) -> str:
    """The text with every character that hides, reorders or controls spelled out, such as ⟨U+202E⟩."""
    return text if text.isprintable() else "".join(_spelled(char) for char in text)


def _spelled(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in _UNSEEN:
        return char
    return f"⟨U+{ord(char):04X}⟩"
