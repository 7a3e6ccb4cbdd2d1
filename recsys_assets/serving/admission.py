"""Who may report feedback now: a known client, within its rate, while memory for one more request is set aside.

Here: the order of the refusals and what each answers. Not here: tokens (tokens.py), buckets (rate.py), routes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from recsys_assets.serving.rate import TokenBucket, take_all
from recsys_assets.serving.tokens import TokenGate, TokensBroken
from recsys_assets.settings import CollectorSettings


class Refused(Exception):  # noqa: N818
    """A request that is not taken, for a reason other than what it says."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str]) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, dict(headers)


def unavailable(why: str) -> Refused:
    """503: nothing was acknowledged, and sending it again is right."""
    return Refused(503, f"nothing was acknowledged: {why}", {"retry-after": "1"})


class Door:
    """The one door of a collector. `clock` is monotonic seconds."""

    def __init__(self, gate: TokenGate, limits: CollectorSettings, *, clock: Callable[[], float]) -> None:
        self._gate, self._limits, self._clock = gate, limits, clock
        self._everybody = self._bucket(limits.events_per_second)
        self._clients: dict[str, TokenBucket] = {}
        self._inside = 0

    def client(self, authorization: str | None) -> str:
        """The client's name. Nothing of a stranger's request is read, and it costs the others nothing."""
        try:
            name = self._gate.client_of(authorization)
        except TokensBroken as broken:
            raise unavailable(str(broken)) from None
        if name is None:
            raise Refused(401, "a client token is wanted", {"www-authenticate": "Bearer"})
        return name

    def charge(self, client: str, events: int) -> None:
        """429 where the client, or all of them together, send more than they may; what is refused costs no more."""
        if client not in self._clients:
            self._clients[client] = self._bucket(self._limits.client_events_per_second)
        wait = take_all([self._clients[client], self._everybody], events, now=self._clock())
        if wait > 0:
            raise Refused(429, "too many events", {"retry-after": str(math.ceil(wait))})

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Room for one more body, held while the block runs."""
        if self._inside >= self._limits.max_in_flight:
            raise unavailable(f"{self._inside} requests are under way")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _bucket(self, rate: float) -> TokenBucket:
        return TokenBucket(rate, rate * self._limits.burst_seconds, now=self._clock())
