"""Asking the online store for users, with no more patience than it deserves.

Here: what is asked, and the flags that tell how it went. Not here: deadlines and trust (patience.py), how a row is read
(features/online.py), or what is done without it (ladder.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from recsys_assets.serving.ladder import Lookup
from recsys_assets.serving.patience import Missed, Patience
from recsys_assets.serving.pulse import Pulse

# A read below this is not worth giving up: a busy machine takes as long at times.
MIN_TIMEOUT_MS: Final = 10.0
_PRIMING_SECONDS: Final = 0.1
_PRIMING_READS: Final = 32


class ReadsUsers(Protocol):
    """features/online.py's OnlineReader."""

    def read_user(self, user_id: str, timeout_ms: float) -> Mapping[str, Any] | None: ...


class OnlineLookups:
    """The store behind its deadline: `timeout_ms` at the most, and soon much less, but never below `min_timeout_ms`."""

    def __init__(
        self,
        reader: ReadsUsers,
        *,
        timeout_ms: float,
        min_timeout_ms: float = MIN_TIMEOUT_MS,
        failures: tuple[type[Exception], ...],
        now: Callable[[], float],
        pulse: Pulse | None = None,
    ) -> None:
        self._reader, self._timeout_ms = reader, timeout_ms
        self._patience: Patience[Mapping[str, Any] | None] = Patience(
            "online",
            failures=failures,
            least_seconds=min_timeout_ms / 1_000,
            most_seconds=timeout_ms / 1_000,
            now=now,
            pulse=pulse,
        )

    async def user(self, user_id: str) -> Lookup:
        """The user's row, or the reason why there is none: never an error."""
        row = await self._patience.call(self._read(user_id))
        return Lookup(failure=f"online_store_{row.why}") if isinstance(row, Missed) else Lookup(row=row)

    async def prime(self, users: Sequence[str]) -> None:
        """Before the first request: learn how fast the store is, or that it is not there."""
        reads = [self._read(user) for user in users[:_PRIMING_READS]]
        await self._patience.prime(reads, within_seconds=_PRIMING_SECONDS)

    def _read(self, user_id: str) -> Callable[[], Mapping[str, Any] | None]:
        return partial(self._reader.read_user, user_id, self._timeout_ms)

    def close(self) -> None:
        self._patience.close()
