"""How many events a client may send: a bucket that fills at a steady rate and holds a burst.

Here: arithmetic over a given time. Not here: who a client is, clocks, HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence


class TokenBucket:
    """Holds at most `burst` tokens and gains `rate` of them a second; full at the start."""

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._held, self._at = burst, now

    def wait_seconds(self, cost: float, *, now: float) -> float:
        """How long until `cost` tokens are there; 0 where they are. More than the burst waits for a full bucket."""
        self._fill(now)
        missing = min(cost, self._burst) - self._held
        return max(0.0, missing / self._rate)

    def take(self, cost: float) -> None:
        """Take them; what is missing is owed, and nothing passes until it is paid."""
        self._held -= cost

    def _fill(self, now: float) -> None:
        # A clock that stands or goes back fills nothing.
        self._held = min(self._burst, self._held + self._rate * max(0.0, now - self._at))
        self._at = max(self._at, now)


def take_all(buckets: Sequence[TokenBucket], cost: float, *, now: float) -> float:
    """Take `cost` from every bucket and return 0, or from none and return the seconds to wait."""
    wait = max((bucket.wait_seconds(cost, now=now) for bucket in buckets), default=0.0)
    if wait == 0.0:
        for bucket in buckets:
            bucket.take(cost)
    return wait
