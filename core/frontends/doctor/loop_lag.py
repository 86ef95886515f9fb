"""How late the event loop is: a timer that says by how much it missed its time.

A loop that is late is a key that waits. One timer every quarter of a second costs next to nothing, and so
sees only what the loop did at these moments: a single short block may fall between two of them, and of one
that is seen only the rest counts. The figures are those of a sample, and the highest is a lower bound.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import Final

from core.base.values import Value

EVERY_S: Final = 0.25
_STEP: Final = 1.05
"""Values are kept to within five per cent, so that a week of them takes no more memory than a minute."""

_LEAST_S: Final = 1e-5


class Lag(Value):
    """How late the loop was, in seconds, over `count` samples."""

    count: int
    median: float
    p99: float
    highest: float


class LoopLag:
    """Measures the lag of the event loop in which `start` is called; `stop` may be called twice."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._counts: Counter[int] = Counter()
        self._highest = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    @property
    def lag(self) -> Lag | None:
        """The lag so far; None without samples."""
        count = self._counts.total()
        if not count:
            return None
        return Lag(count, self._percentile(50), self._percentile(99), self._highest)

    def note(self, seconds: float) -> None:
        """Record a sample."""
        self._highest = max(self._highest, seconds)
        self._counts[math.ceil(math.log(max(seconds, _LEAST_S) / _LEAST_S, _STEP))] += 1

    def _wait(self) -> None:
        self._due = time.monotonic() + self._every_s
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)

    def _tick(self) -> None:
        self.note(max(0.0, time.monotonic() - self._due))
        self._wait()

    def _percentile(self, percent: float) -> float:
        wanted = math.ceil(self._counts.total() * percent / 100)
        seen = 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= wanted:
                return min(_LEAST_S * _STEP**step, self._highest)
        raise AssertionError("there are samples")
