"""Asking the online store under a deadline, and not asking it again at once when it did not answer.

Here: deadline, threads and the breaker. Not here: how a row is read (features/online.py) or what is done without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from recsys_assets.serving.ladder import Lookup

FAILURES_BEFORE_PAUSE = 3
PAUSE_SECONDS = 1.0
_THREADS = 4
# The reader keeps its own deadline. This is for one that hangs, with room for the waiting on a busy machine, which is
# not the store's doing.
_HANGING = 3.0


class ReadsUsers(Protocol):
    """features/online.py's OnlineReader."""

    def read_user(self, user_id: str, timeout_ms: float) -> Mapping[str, Any] | None: ...


class OnlineLookups:
    """The store behind a deadline. After three failures in a row it is left alone for a second."""

    def __init__(
        self,
        reader: ReadsUsers,
        *,
        timeout_ms: float,
        failures: tuple[type[Exception], ...],
        now: Callable[[], float],
    ) -> None:
        self._reader, self._timeout_ms, self._now = reader, timeout_ms, now
        self._failures = failures
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="online")
        self._failed_in_a_row, self._failed_at, self._paused_until = 0, 0.0, 0.0

    async def user(self, user_id: str) -> Lookup:
        """The user's row, or the reason why there is none: never an error."""
        if self._now() < self._paused_until:
            return Lookup(failure="online_store_paused")
        started = self._now()
        running = asyncio.get_running_loop().run_in_executor(
            self._pool, self._reader.read_user, user_id, self._timeout_ms
        )
        try:
            row = await asyncio.wait_for(running, self._timeout_ms * _HANGING / 1_000)
        except TimeoutError:
            return self._failed("online_store_slow", started)
        except self._failures:
            return self._failed("online_store_unavailable", started)
        self._failed_in_a_row = 0
        return Lookup(row=row)

    def _failed(self, reason: str, started: float) -> Lookup:
        # Requests that waited side by side met one failure, not many.
        self._failed_in_a_row += started >= self._failed_at
        self._failed_at = self._now()
        if self._failed_in_a_row >= FAILURES_BEFORE_PAUSE:
            self._paused_until = self._now() + PAUSE_SECONDS
        return Lookup(failure=reason)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
