"""How often something may happen before it is only counted: so that strangers can't fill a log. In memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 60.0
_KEYS = 1024


class Budget:
    """So many times a minute per key, and so many for all keys together."""

    def __init__(self, each: int, together: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each, self._together, self._clock = each, together, clock
        self._lock = threading.Lock()
        self._begun = clock()
        self._spent: dict[str, int] = {}
        self._sum = 0

    def spend(self, key: str) -> bool:
        """Count it; whether it is still within what may be."""
        with self._lock:
            if self._clock() - self._begun >= SECONDS:
                self._begun, self._spent, self._sum = self._clock(), {}, 0
            if key not in self._spent and len(self._spent) >= _KEYS:
                return False
            spent = self._spent.get(key, 0) + 1
            self._spent[key] = spent
            if spent > self._each or self._sum >= self._together:
                return False
            self._sum += 1
            return True
