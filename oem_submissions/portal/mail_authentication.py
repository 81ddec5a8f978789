"""Whether the mail server that we trust has found a message to be its sender's (RFC 8601: `Authentication-Results`).

Everybody can write such a header, too. The server takes away those in its own name and puts its own on top: so the
topmost in its name is believed, and no other. What it says is read strictly: what can't be read says no.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST = 10_000
"""Characters of such a header."""


def is_authentic(results: Sequence[str], sender: str, authserv_id: str) -> bool:
    """Whether the topmost result of `authserv_id` says DMARC or DKIM passed for the domain of `sender`."""
    domain = sender.rpartition("@")[2].lower()
    for result in results:
        name, *methods = _bare(result).lower().split(";")
        if name.split()[:1] == [authserv_id.lower()]:
            return bool(domain) and any(_passed(method, domain) for method in methods)
    return False


def _bare(result: str) -> str:
    """Without comments and quoted strings, in which stands what a sender likes; empty when one is not closed."""
    kept, depth, quoted, escaped = [], 0, False, False
    for character in result[:_LONGEST]:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif character in "()" and not quoted:
            depth += 1 if character == "(" else -1
        elif not depth and not quoted:
            kept.append(character)
    whole = not depth and not quoted and len(result) <= _LONGEST
    return "".join(kept) if whole else ""


def _passed(method: str, domain: str) -> bool:
    words = re.sub(r"\s*=\s*", "=", method).split()
    said = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    match words[:1]:
        case ["dmarc=pass"]:
            return said.get("header.from") == domain
        case ["dkim=pass"]:
            signer = said.get("header.d", "")
            return "." in signer and (domain == signer or domain.endswith(f".{signer}"))
    return False
