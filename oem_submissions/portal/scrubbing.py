"""Takes secrets and personal values out of everything that leaves a session as text: returned, raised or logged.

One boundary: `leaves_clean` stands around a session's public methods, so that no step has to think of it. What stands
in pictures and archives is `veil`'s and `archive`'s; that nothing was forgotten is the leak gate's to find out.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import re2

from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.needles import Kind, Needle, Needles, encodings, in_text, stands_alone
from oem_submissions.domain.outcomes import Filed, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode

_AROUND = 8
"""Characters on either side of what was found that say whether it is a word of its own."""
_LEARNT = 32
"""So many secrets that came up on the way are remembered, the newest: pages may have a new token each."""
_LOGGERS = ("oem_submissions.portal", "adapters")

P = ParamSpec("P")
R = TypeVar("R")


class Scrubber:
    """What one session has to hide: secrets, of which it learns more on the way, and one claim's personal values."""

    def __init__(self, secrets: Needles) -> None:
        self._account, self._of_claim, self._personal = secrets, Needles(), Needles()
        self._learnt: dict[str, Needle] = {}
        self._public: tuple[str, ...] = ()
        self._searches: dict[Kind, _Search] = {}

    @property
    def needles(self) -> Needles:
        """All of it."""
        return self._secrets | self._personal

    @property
    def _secrets(self) -> Needles:
        return self._account | self._of_claim | Needles(tuple(self._learnt.values()))

    def know(self, secrets: Needles) -> None:
        """Secrets like the account's own: for as long as the session."""
        self._account |= secrets
        self._searches.pop(Kind.SECRET, None)

    def learn(self, name: str, values: Iterable[str]) -> None:
        """Secrets that came up: codes that were given, what the portal handed out. Never what the claim says aloud."""
        new = Needles.of(Kind.SECRET, ((name, value) for value in values)).beside(self._public)
        if any(needle.value not in self._learnt for needle in new.all):
            self._searches.pop(Kind.SECRET, None)
        for needle in new.all:
            self._learnt.pop(needle.value, None)  # what is seen again is new again
            self._learnt[needle.value] = needle
        for oldest in list(self._learnt)[:-_LEARNT]:
            del self._learnt[oldest]

    def begin_claim(
        self, personal: Iterable[tuple[str, str]], secret: Iterable[tuple[str, str]], public: Iterable[str]
    ) -> None:
        """The next claim's values, by name. A personal value that the claim also says aloud is not hidden."""
        of_claim = Needles.of(Kind.SECRET, secret)
        self._public = tuple(text for text in public if not any(needle.value in text for needle in of_claim.all))
        self._personal = Needles.of(Kind.PERSONAL, personal).beside(self._public)
        self._searches.pop(Kind.PERSONAL, None)
        if of_claim != self._of_claim:
            self._of_claim = of_claim
            self._searches.pop(Kind.SECRET, None)

    def spans(self, text: str, *kinds: Kind) -> list[tuple[int, int, Kind]]:
        """Where they stand in the text, however they are written: beginning, end, kind. All kinds, or those named."""
        found: list[tuple[int, int, Kind]] = []
        for kind in kinds or tuple(Kind):
            needles = (self._secrets if kind is Kind.SECRET else self._personal).all
            if needles:
                if kind not in self._searches:
                    self._searches[kind] = _Search(Needles(needles))
                found += [(start, end, kind) for start, end in self._searches[kind].spans(text)]
        return sorted(found)

    def text(self, text: str, *kinds: Kind) -> str:
        """The text with `[secret]` and `[personal]` in their places."""
        kept, at = [], 0
        for start, end, kind in self.spans(text, *kinds):
            if end > at:
                kept += [text[at : max(at, start)], f"[{kind}]"]
                at = end
        return "".join([*kept, text[at:]])


class _Search:
    def __init__(self, needles: Needles) -> None:
        ways = [(needle, way) for needle in needles.all for _, way in encodings(needle.value, in_text)]
        self._bounded = [needle.bounded for needle, _ in ways]
        options = re2.Options()
        options.max_mem = 64 * 1024 * 1024
        self._any = re2.compile("|".join(f"({way})" for _, way in ways), options)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        for match in self._any.finditer(text):
            start, end = match.span()
            alone = stands_alone(text[max(0, start - _AROUND) : start], match.group(), text[end : end + _AROUND])
            if alone or not self._bounded[match.lastindex - 1]:
                yield start, end


# --- whatever leaves ----------------------------------------------------------------------------------------------


def scrubbed(value: Any, scrubber: Scrubber) -> Any:
    """The value with every text in it scrubbed, at any depth. Artefacts are left as they are.

    A reference that holds a secret is none: it can't be told, and can't be kept (SECRET_IN_ARTIFACT).
    """
    match value:
        case str() if not isinstance(value, Enum):
            return scrubber.text(value)
        case Reference():
            return _reference(value, scrubber)
        case Filed(reference):
            clean = _reference(reference, scrubber)
            return clean if isinstance(clean, Unknown) else Filed(clean)
        case tuple() | list() | frozenset():
            return type(value)(scrubbed(item, scrubber) for item in value)
        case dict():
            return {scrubbed(key, scrubber): scrubbed(item, scrubber) for key, item in value.items()}
        case Artifact():
            return value
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        before = getattr(value, field.name)
        after = scrubbed(before, scrubber)
        if after != before:
            changes[field.name] = after
    return dataclasses.replace(value, **changes) if changes else value


def _reference(reference: Reference, scrubber: Scrubber) -> Reference | Unknown:
    start, end = reference.span
    before, after = scrubber.text(reference.raw_text[:start]), scrubber.text(reference.raw_text[end:])
    if any(at < end and start < to for at, to, _ in scrubber.spans(reference.raw_text)) or scrubber.spans(
        reference.value
    ):
        text = f"The {reference.kind} on the page holds a secret or a personal value, and was not kept."
        return Unknown(ReasonCode.SECRET_IN_ARTIFACT, text)
    raw = before + reference.raw_text[start:end] + after
    return dataclasses.replace(reference, raw_text=raw, span=(len(before), len(before) + end - start))


class Scrubs(Protocol):
    """What has a scrubber: a session."""

    scrubber: Scrubber


S = TypeVar("S", bound=Scrubs)


def leaves_clean(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A session's method whose result, exceptions and log lines are scrubbed."""

    @functools.wraps(method)
    def clean(session: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with clean_logs(session.scrubber):
            try:
                return scrubbed(method(session, *args, **kwargs), session.scrubber)
            except StepFailed as failure:
                text = session.scrubber.text(failure.text)
                said = StepFailed(failure.reason, text, failure.step or "", failure.artifacts)
            except Exception as error:
                _scrub_chain(error, session.scrubber)
                raise
            # Outside of the handler, so that the exception that it was made from does not leave with it.
            raise said

    return clean


def _scrub_chain(error: BaseException, scrubber: Scrubber) -> None:
    """What is no `StepFailed` is a bug, or infrastructure: it leaves as it is, but for the texts."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.args = tuple(scrubbed(argument, scrubber) for argument in link.args)
        link = link.__cause__ or link.__context__


@contextmanager
def clean_logs(scrubber: Scrubber) -> Iterator[None]:
    """While it lasts, what the portal package and the adapters log is scrubbed, tracebacks too."""
    names = [name for name in list(logging.root.manager.loggerDict) if name.startswith(_LOGGERS)]
    loggers, filter_ = [logging.getLogger(name) for name in names], _Filter(scrubber)
    for logger in loggers:
        logger.addFilter(filter_)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(filter_)


class _Filter(logging.Filter):
    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrubber.text(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            # As text, and never as the exception: a handler would print that one's message itself.
            record.exc_text = self._scrubber.text("".join(traceback.format_exception(*record.exc_info)).rstrip())
            record.exc_info = None
        return True
