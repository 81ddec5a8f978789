"""Reads `submission.json` back into facts, strictly. Writing it is `bundle.submission_json`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from oem_submissions.domain.evidence import BundleFacts
from oem_submissions.domain.keys import canonical_json
from oem_submissions.evidence.bundle import FORMAT, json_object

_FACTS = TypeAdapter(BundleFacts)
_NAMES = TypeAdapter(Annotated[list[str], Field(max_length=100)])
_FIELDS = frozenset(entry.name for entry in dataclasses.fields(BundleFacts))
_ADDED = frozenset({"late"})
"""Facts that bundles lack which were sealed before there were such."""
_MAX_BYTES = 1_000_000


class SubmissionUnreadable(Exception):
    """`submission.json` is not what it should be: one sentence without the file's name."""


def read_submission(data: bytes) -> tuple[BundleFacts, frozenset[str]]:
    """The facts, and the names of the payload's files. Raises `SubmissionUnreadable`."""
    document = json_object(data) if len(data) <= _MAX_BYTES else None
    if document is None:
        raise SubmissionUnreadable("is not a JSON object.")
    if document.pop("format", None) != FORMAT:
        raise SubmissionUnreadable(f"is not of the format “{FORMAT}”.")
    names = document.pop("files", None)
    if strange := (_FIELDS - _ADDED - document.keys()) | (document.keys() - _FIELDS):
        raise SubmissionUnreadable(f"misses or adds {', '.join(sorted(strange))[:200]}.")
    try:
        return _FACTS.validate_json(_canonical(document), strict=True), frozenset(_NAMES.validate_python(names))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])[:200]
        raise SubmissionUnreadable(f"does not hold what it should in “{where or 'files'}”.") from error


def _canonical(document: dict[str, object]) -> bytes:
    try:
        return canonical_json(document).encode("utf-8", "backslashreplace")
    except (ValueError, RecursionError) as error:
        raise SubmissionUnreadable("is not plain JSON.") from error
