"""The usual time of a dependency, learnt from its answers, and the deadline that follows from it.

Here: a window of times and its 99th percentile. Not here: clocks, waiting, what happens at the deadline (patience.py).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

WINDOW: Final = 256
FACTOR: Final = 3.0
# The deadline follows a store that got slower for good, but so slowly that an outage does not become the usual thing.
DOUBLES_IN_SECONDS: Final = 30.0
_EACH: Final = 16
# So many answers teach freely: what is known before them is nothing.
_YOUNG: Final = 128


class UsualTime:
    """`deadline` is FACTOR times the 99th percentile of the last answers, within [least, most] seconds."""

    def __init__(self, *, least: float, most: float) -> None:
        self._least, self._most = min(least, most), most
        self._times: deque[float] = deque(maxlen=WINDOW)
        self._count, self._at = 0, -math.inf
        self.deadline = most

    def learn(self, seconds: float, *, at: float) -> None:
        """One more answer, in time or not; `at` is a monotonic clock."""
        self._times.append(seconds)
        self._count += 1
        if self._count % _EACH:
            return
        wished = min(max(FACTOR * _p99(self._times), self._least), self._most)
        if self._count > _YOUNG:
            wished = min(wished, self.deadline * 2 ** ((at - self._at) / DOUBLES_IN_SECONDS))
        self.deadline, self._at = wished, at


def _p99(times: deque[float]) -> float:
    ordered = sorted(times)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]
