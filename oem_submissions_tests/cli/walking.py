"""For tests of recording: a person at browser and terminal, and the skin that a scaffold has written."""

from __future__ import annotations

import importlib.util
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from playwright.sync_api import Browser, Page, sync_playwright

from oem_submissions.simulator.skin import Skin


def load_module(path: Path) -> ModuleType:
    """A module of a scaffold that no package has."""
    spec = importlib.util.spec_from_file_location(f"recorded_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_skin(path: Path, name: str) -> type[Skin]:
    """The skin of that name."""
    found: type[Skin] = getattr(load_module(path), name)
    return found


class Person:
    """Sits at the browser and at the terminal: an act and an answer for every question, in a thread of their own.

    Each is done once, at the first question that holds its words.
    """

    def __init__(self, port: int, where: str, acts: list[tuple[str, Callable[[Page], None] | None, str]]) -> None:
        """`where` is part of the address of the pages that the acts are done on."""
        self._port, self._where, self._acts = port, where, acts
        self._asked: queue.Queue[str | None] = queue.Queue()
        self._said: queue.Queue[str | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def ask(self, question: str) -> str:
        self._asked.put(question)
        answer = self._said.get(timeout=60)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def leave(self) -> None:
        self._asked.put(None)
        self._thread.join(timeout=30)

    def _live(self) -> None:
        with sync_playwright() as playwright:
            mine = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{self._port}")
            while (question := self._asked.get()) is not None:
                try:
                    self._said.put(self._answer(mine, question))
                except BaseException as error:  # noqa: BLE001 - raised where it was asked
                    self._said.put(error)

    def _answer(self, mine: Browser, question: str) -> str:
        at = next((at for at, one in enumerate(self._acts) if one[0] in question), None)
        _, act, answer = ("", None, "") if at is None else self._acts.pop(at)
        if act is not None:
            act(next(p for c in mine.contexts for p in c.pages if self._where in p.url))
        return answer
