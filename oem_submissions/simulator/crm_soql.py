"""A small honest part of SOQL: SELECT fields FROM object WHERE … ORDER BY … LIMIT …. Everything else is refused.

As in Salesforce, AND and OR are mixed only with parentheses, texts compare without case, and a text literal is never
compared with a time. Pure: knows rows, not where they come from.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from oem_submissions.simulator.crm_schema import OBJECTS, ApiError, Field, long_id, parse_time

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^'\\\n\r]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "N": "\n", "r": "\r", "R": "\r", "t": "\t", "T": "\t", "b": "\b", "B": "\b", "f": "\f",
            "F": "\f", '"': '"', "'": "'", "\\": "\\", "_": "_", "%": "%"}  # fmt: skip
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_LITERALS = {"id": "text", "reference": "text", "string": "text", "url": "text", "date": "date",
             "datetime": "datetime", "int": "number", "boolean": "boolean"}  # fmt: skip

Row = dict[str, Any]
Test = Callable[[Row], bool]


@dataclass(frozen=True)
class Query:
    """A parsed query: run it with `rows`."""

    object_name: str
    fields: tuple[str, ...]
    test: Test
    order: tuple[tuple[str, bool], ...]
    """Field, and whether it descends."""
    limit: int | None
    filtered_fields: frozenset[str]

    def rows(self, rows: list[Row]) -> list[Row]:
        """The rows that match, in order. Nulls come first in rising order, as in Salesforce."""
        found = [row for row in rows if self.test(row)]
        for name, descends in reversed(self.order):
            found.sort(key=partial(_rank, name), reverse=descends)
        return found[: self.limit]


def _rank(name: str, row: Row) -> tuple[bool, Any]:
    return (False, "") if row[name] is None else (True, row[name])


def malformed(why: str) -> ApiError:
    """The error of every query that is not understood."""
    return ApiError(400, "MALFORMED_QUERY", why)


def parse(text: str) -> Query:
    """Raises `ApiError`: MALFORMED_QUERY, INVALID_TYPE or INVALID_FIELD."""
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise malformed(f"unexpected token: '{text[at : at + 20].strip()}'")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self._at = 0
        self._filtered: set[str] = set()

    def query(self) -> Query:
        self._expect("SELECT")
        names = [self._take("word")]
        while self._accept(","):
            names.append(self._take("word"))
        self._expect("FROM")
        self._object = self._take("word")
        if self._object not in OBJECTS:
            raise ApiError(400, "INVALID_TYPE", f"sObject type '{self._object}' is not supported.")
        self._fields = OBJECTS[self._object]
        selected = tuple(self._field(name).name for name in names)
        test: Test = self._condition() if self._accept("WHERE") else lambda row: True
        order = self._order() if self._accept("ORDER") else ()
        limit = int(self._take("number")) if self._accept("LIMIT") else None
        if self._at < len(self._tokens):
            raise malformed(f"unexpected token: '{self._tokens[self._at][1]}'")
        return Query(self._object, selected, test, order, limit, frozenset(self._filtered))

    def _order(self) -> tuple[tuple[str, bool], ...]:
        self._expect("BY")
        order = []
        while True:
            field = self._filterable(self._take("word"))
            descends = self._accept("DESC")
            if not descends:
                self._accept("ASC")
            order.append((field.name, descends))
            if not self._accept(","):
                return tuple(order)

    def _condition(self) -> Test:
        tests, joined = [self._operand()], ""
        while word := next((w for w in ("AND", "OR") if self._accept(w)), ""):
            if joined and joined != word:
                raise malformed(f"unexpected token: {word}: AND and OR are mixed only with parentheses")
            joined = word
            tests.append(self._operand())
        every = any if joined == "OR" else all
        return lambda row: every(test(row) for test in tests)

    def _operand(self) -> Test:
        if self._accept("("):
            test = self._condition()
            self._expect(")")
            return test
        field = self._filterable(self._take("word"))
        self._filtered.add(field.name)
        negated = self._accept("NOT")
        if self._accept("IN"):
            self._expect("(")
            values = [self._literal(field)]
            while self._accept(","):
                values.append(self._literal(field))
            self._expect(")")
            return lambda row: (_comparable(field, row[field.name]) in values) != negated
        sign = self._take("sign")
        if negated or sign not in _SIGNS:
            raise malformed(f"unexpected token: '{sign}'")
        return _comparison(field, sign, self._literal(field))

    def _literal(self, field: Field) -> Any:
        kind, text = self._next()
        if kind == "word" and text.lower() == "null":
            return None
        if kind == "word" and text.lower() in ("true", "false"):
            kind = "boolean"
        if kind not in ("text", "date", "datetime", "number", "boolean"):
            raise malformed(f"unexpected token: '{text}'")
        wanted = _LITERALS[field.type]
        if kind != wanted:
            quoted = " and should not be enclosed in quotes" if kind == "text" else ""
            why = f"value of filter criterion for field '{field.name}' must be of type {field.type}{quoted}"
            raise ApiError(400, "INVALID_FIELD", why)
        return _comparable(field, _value(kind, text))

    def _field(self, name: str) -> Field:
        by_name = {known.lower(): field for known, field in self._fields.items()}
        if name.lower() not in by_name:
            why = f"No such column '{name}' on entity '{self._object}'."
            raise ApiError(400, "INVALID_FIELD", why)
        return by_name[name.lower()]

    def _filterable(self, name: str) -> Field:
        field = self._field(name)
        if not field.filterable:
            raise ApiError(400, "INVALID_FIELD", f"field '{name}' can not be filtered in a query call")
        return field

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise malformed("unexpected end of query")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str) -> str:
        found, text = self._next()
        if found != kind:
            raise malformed(f"unexpected token: '{text}'")
        return text

    def _accept(self, wanted: str) -> bool:
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if kind in ("word", "sign") and text.upper() == wanted:
                self._at += 1
                return True
        return False

    def _expect(self, wanted: str) -> None:
        if not self._accept(wanted):
            raise malformed(f"expecting {wanted}")


def _comparison(field: Field, sign: str, value: Any) -> Test:
    compare = _SIGNS[sign]
    if value is None and sign not in ("=", "!=", "<>"):
        raise malformed("null can only be compared with = and !=")

    def test(row: Row) -> bool:
        found = _comparable(field, row[field.name])
        if sign not in ("=", "!=", "<>") and found is None:
            return False
        return compare(found, value)

    return test


def _value(kind: str, text: str) -> Any:
    if kind == "text":
        return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", _unescape, text[1:-1], flags=re.DOTALL)
    if kind == "boolean":
        return text.lower() == "true"
    return float(text) if kind == "number" else text


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape not in _ESCAPES:
        raise malformed(f"Invalid string literal: illegal escape '\\{escape}'")
    return _ESCAPES[escape]


def _comparable(field: Field, value: Any) -> Any:
    if value is None:
        return None
    try:
        match field.type:
            case "id" | "reference":
                return long_id(value)
            case "date":
                return date.fromisoformat(value)
            case "datetime":
                return parse_time(value)
            case "string" | "url":
                return value.lower()
    except ValueError as error:
        raise malformed(f"'{value}' is no {field.type}") from error
    return value
