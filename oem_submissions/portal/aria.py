"""The normalised aria snapshot: what a page says to a reader, without what people type and what data it lists. Pure.

Playwright's snapshot becomes a flat list of lines, `role "name"`, in the order of the page. Values, states, options,
rows of data and live regions are left out; outside of the names of controls, words with a digit are `#`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum

CONTROLS = frozenset(
    {"textbox", "combobox", "checkbox", "radio", "spinbutton", "searchbox", "slider", "switch", "listbox"}
)
_LIVE = frozenset({"alert", "log", "marquee", "progressbar", "status", "timer"})
_HEADS = frozenset({"columnheader", "rowheader", "caption"})
_NAMED_BY_CONTENT = frozenset({"row", "cell", "gridcell", "rowgroup", "listitem"})
_TABLES = frozenset({"table", "grid", "treegrid"})
_SPEAKING = frozenset({"button", "heading", "img", "link", "menuitem", "option", "tab"})
"""Their name is all that is said of them: what they hold says it again."""
_TEXT = "text"

_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?(?:#\s+)?(?:{_MONTH})[a-z]*\.?\s+#(?:\s+#)?")
_WORD_WITH_DIGIT = re.compile(r"\S*\d\S*")
_KEY = re.compile(r"""(?P<role>[\w/]+)(?:\s+(?P<name>"(?:[^"\\]|\\.)*"))?(?P<rest>.*)""", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One thing that the page says."""

    role: str
    name: str
    hint: str = ""
    """The placeholder."""

    def __str__(self) -> str:
        said = f"{self.role} {json.dumps(self.name, ensure_ascii=False)}"
        return f"{said} hint {json.dumps(self.hint, ensure_ascii=False)}" if self.hint else said

    def in_words(self) -> str:
        """As a person would say it."""
        return f"{self.role} '{self.name}'"


@dataclass
class _Node:
    role: str
    name: str = ""
    value: str = ""
    hint: str = ""
    children: list[_Node] = field(default_factory=list)

    def has(self, roles: frozenset[str]) -> bool:
        return self.role in roles or any(child.has(roles) for child in self.children)


def normalised(snapshot: str) -> tuple[Line, ...]:
    """The snapshot as Playwright's `aria_snapshot()` gives it, without what varies."""
    root = _Node("document", children=_parse(snapshot))
    return tuple(_lines(root))


def written(lines: Sequence[Line]) -> str:
    """The lines as a pack keeps them."""
    return "\n".join(str(line) for line in lines) + "\n"


def read(text: str) -> tuple[Line, ...]:
    """What a pack keeps. Raises `ValueError` with one sentence."""
    return tuple(_read_line(line) for line in text.splitlines() if line.strip())


def masked(text: str) -> str:
    """The text with every word that holds a digit, and every date, as `#`."""
    return _DATE.sub("#", _WORD_WITH_DIGIT.sub("#", re.sub(r"\s+", " ", text).strip()))


def stripped(snapshot: str) -> str:
    """The snapshot as it is, without what stands in controls, their options, and where links lead."""
    return "".join(f"{line}\n" for node in _parse(snapshot) for line in _outline(node, 0))


def _outline(node: _Node, depth: int) -> Iterator[str]:
    is_control = node.role in CONTROLS
    name = f" {json.dumps(node.name, ensure_ascii=False)}" if node.name else ""
    value = f": {json.dumps(node.value, ensure_ascii=False)}" if node.value and not is_control else ""
    yield f"{'  ' * depth}- {node.role}{name}{value or (':' if node.children and not is_control else '')}"
    if not is_control:
        for child in node.children:
            yield from _outline(child, depth + 1)


# --- from Playwright's text ---


def _parse(snapshot: str) -> list[_Node]:
    root = _Node("document")
    open_nodes: list[tuple[int, _Node]] = [(-1, root)]
    for line in snapshot.splitlines():
        body = line.lstrip()
        if not body.startswith("- "):
            continue
        indent = len(line) - len(body)
        while open_nodes[-1][0] >= indent:
            open_nodes.pop()
        parent = open_nodes[-1][1]
        node = _node(body[2:])
        if node.role.startswith("/"):
            parent.hint = node.value if node.role == "/placeholder" else parent.hint
        else:
            parent.children.append(node)
            open_nodes.append((indent, node))
    return root.children


def _node(body: str) -> _Node:
    key, rest = _unquoted_key(body)
    match = _KEY.match(key)
    if match is None:
        return _Node(_TEXT, value=key)
    name = match["name"]
    value = rest if rest is not None else _after_colon(match["rest"])
    return _Node(match["role"], json.loads(name, strict=False) if name else "", _scalar(value))


def _unquoted_key(body: str) -> tuple[str, str | None]:
    """The key, and what stands after its colon if the key is quoted as YAML quotes it."""
    if not body.startswith("'"):
        return body, None
    end = 1
    while end < len(body) and not (body[end] == "'" and body[end + 1 : end + 2] != "'"):
        end += 2 if body[end] == "'" else 1
    return body[1:end].replace("''", "'"), body[end + 1 :].lstrip(":").strip()


def _after_colon(rest: str) -> str:
    """What stands after the role, its name and its states."""
    _, colon, value = re.sub(r"^(\s*\[[^\]]*\])*", "", rest).partition(":")
    return value.strip() if colon else ""


def _scalar(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", value), strict=False))
        except ValueError:
            return value[1:-1]
    return value


# --- what is kept ---


def _lines(node: _Node, in_list_of_data: bool = False) -> Iterator[Line]:
    if node.role in _LIVE:
        return
    if node.role in CONTROLS:
        yield Line(node.role, node.name, node.hint)
        return
    if node.role in _HEADS or node.role in _SPEAKING:
        yield from _said(node.role, node.name or node.value)
        return
    if node.role not in _NAMED_BY_CONTENT:
        yield from _said(node.role, node.name)
        yield from _said(_TEXT, node.value)
    has_columns = node.role in _TABLES and node.has(frozenset({"columnheader"}))
    for child in node.children:
        if not _is_data(child, in_list_of_data or has_columns):
            yield from _lines(child, in_list_of_data or has_columns)


def _is_data(node: _Node, has_columns: bool) -> bool:
    """A row of a table, or an item of a list, that lists something and asks for nothing."""
    if node.role == "listitem":
        return not node.has(CONTROLS)
    if node.role == "row":
        heads = frozenset({"columnheader"}) if has_columns else _HEADS
        return not node.has(CONTROLS | heads)
    return False


def _said(role: str, text: str) -> Iterator[Line]:
    said = masked(text)
    if any(letter.isalpha() for letter in said):
        yield Line(role, said)


def _read_line(line: str) -> Line:
    decoder = json.JSONDecoder()
    role, _, rest = line.strip().partition(" ")
    try:
        name, end = decoder.raw_decode(rest)
        hint = decoder.decode(rest[end:].removeprefix(" hint ")) if rest[end:] else ""
    except ValueError as error:
        raise ValueError(f'aria has the line {line!r}: a line is a role and its name, as in button "Send"') from error
    return Line(role, str(name), str(hint))


# --- differences ---


class Kind(StrEnum):
    """How a page differs from what it said before."""

    MOVED = "moved"
    RENAMED = "renamed"
    GONE = "gone"
    NEW = "new"


@dataclass(frozen=True)
class Difference:
    """One difference; `old` is None for something new, `new` for something that is gone."""

    kind: Kind
    old: Line | None
    new: Line | None


def differences(before: Sequence[Line], after: Sequence[Line]) -> list[Difference]:
    """What was moved, renamed, taken away and added, in the order of the page."""
    blocks = [
        (list(before[a:b]), list(after[c:d]))
        for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    moved = Counter(line for olds, _ in blocks for line in olds) & Counter(line for _, news in blocks for line in news)
    found = [Difference(Kind.MOVED, line, line) for line in moved.elements()]
    left_old, left_new = moved.copy(), moved.copy()
    for olds, news in blocks:
        found += _in_block(_without(olds, left_old), _without(news, left_new))
    return found


def _without(lines: list[Line], moved: Counter[Line]) -> list[Line]:
    """The lines that were not moved; each moved one is taken out once."""
    kept = []
    for line in lines:
        if moved[line] > 0:
            moved[line] -= 1
        else:
            kept.append(line)
    return kept


def _in_block(olds: list[Line], news: list[Line]) -> Iterator[Difference]:
    """Two things at the same place are one that was renamed: of the same role, or of the same name."""
    for old in olds:
        same = next((new for new in news if new.role == old.role), None)
        same = next((new for new in news if new.name == old.name), same)
        if same is None:
            yield Difference(Kind.GONE, old, None)
        else:
            news.remove(same)
            yield Difference(Kind.RENAMED, old, same)
    yield from (Difference(Kind.NEW, None, new) for new in news)
