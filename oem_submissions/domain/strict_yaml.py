"""A YAML file as strict data: a pydantic model, or one sentence that names file, line and key of what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from oem_submissions.domain.failures import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path, text: str, what: str) -> dict[Any, Any]:
    """The file's content; `what` it is stands in the sentence of the `ConfigurationError`."""
    try:
        raw = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path} line {line} ({what}): not valid YAML: {error.problem}.") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path} line 1 ({what}): a {what.partition(' ')[0]} is a mapping of keys.")
    return raw


def checked(model: type[Model], path: Path, text: str, raw: dict[Any, Any], what: str) -> Model:
    """The content as the model. Raises `ConfigurationError`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(_sentence(path, raw, _nodes(text), error, what)) from error


def line_of(text: str, where: Sequence[int | str]) -> int:
    """The line of the key that these keys lead to."""
    return _line(_nodes(text), where)


def _nodes(text: str) -> Node:
    """The file's nodes, which know their lines."""
    root: Node = YAML(typ="safe", pure=True).compose(text)
    return root


def _sentence(path: Path, raw: Any, root: Node, error: ValidationError, what: str) -> str:
    """The first fault in words; the others are only counted, since one often causes the next."""
    faults = error.errors(include_url=False, include_context=False)
    fault = faults[0]
    where = _real_location(raw, fault["loc"])
    message = (
        "this key is not known" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    )
    if fault["type"] == "missing":
        message = "this key is missing"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    key = ".".join(str(part) for part in where) or "(the whole file)"
    return f"{path} line {_line(root, where)}, key '{key}' ({what}): {message[0].lower()}{message[1:]}{more}."


def _real_location(raw: Any, location: tuple[int | str, ...]) -> list[int | str]:
    """Pydantic's location without the tags of unions, which are no keys of the file."""
    where: list[int | str] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        inside = raw[part] if isinstance(raw, dict) and part in raw else None
        if isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        elif isinstance(raw, dict) and part in raw and (last or isinstance(inside, dict | list)):
            raw = inside
        elif not (isinstance(raw, dict) and last):
            continue
        where.append(part)
    return where


def _line(node: Node, where: Sequence[int | str]) -> int:
    """The line of the key, or of the nearest thing around it."""
    line = int(node.start_mark.line) + 1
    for part in where:
        if isinstance(node, MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                return line
            line, node = int(pair[0].start_mark.line) + 1, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = int(node.start_mark.line) + 1
    return line
