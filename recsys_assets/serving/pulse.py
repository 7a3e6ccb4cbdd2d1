"""How long this process waits for a processor: a timer that is due each 20 ms, and how late it comes.

Here: the lag of the last seconds. Not here: what is made of it (patience.py). On a machine that is too busy everything
is late, and no dependency is to blame for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BEAT_SECONDS = 0.02
# The worst of one to two spans counts.
SPAN_SECONDS = 1.0


class Pulse:
    """Started with the first `lag()` in an event loop; `now` is monotonic. `late` is given how late each beat came, so
    that a process that stood still can note it."""

    def __init__(self, now: Callable[[], float], *, late: Callable[[float], object] = lambda _: None) -> None:
        self._now, self._late = now, late
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._span_ends = 0.0
        self._worst = self._worst_before = 0.0

    def lag(self) -> float:
        """Seconds: by how much the timer was late at worst lately, or is late now."""
        if self._timer is None:
            self._again()
        return max(self._worst, self._worst_before, self._now() - self._due)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        now = self._now()
        self._late(now - self._due)
        if now >= self._span_ends:
            self._worst_before, self._worst, self._span_ends = self._worst, 0.0, now + SPAN_SECONDS
        self._worst = max(self._worst, now - self._due)
        self._again()

    def _again(self) -> None:
        self._due = self._now() + BEAT_SECONDS
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
