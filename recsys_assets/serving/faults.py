"""Faults on purpose: the ways in which a model that passed every offline gate can still hurt users.

Here: the drills, for rehearsing a roll-back. Not here: when one is asked for (the ranker's run configuration, or the
file of switch.py), and what is made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from recsys_assets.columns import EVENT_TIME
from recsys_assets.recommender.profiles import RECENT_ITEMS, RECENT_TIMES
from recsys_assets.serving.ladder import Answer, Lookup

Fault = Literal["slow", "failing", "crossed_users", "worse", "stale_features"]
FAULTS: Final[tuple[Fault, ...]] = ("slow", "failing", "crossed_users", "worse", "stale_features")
# Slow beyond what a busy machine does to a model that is well.
SLOW_SECONDS: Final = 1.0
STALE_DAYS: Final = 14
# The share of requests that a fault meets where nothing else is said.
SHARES: Final[dict[Fault, float]] = {"failing": 0.3, "worse": 0.8}


@dataclass(frozen=True)
class Drill:
    """One fault, the share of requests that it meets, and how long `slow` waits."""

    fault: Fault
    share: float
    seconds: float = SLOW_SECONDS

    @classmethod
    def of(cls, fault: Fault, share: float | None = None, seconds: float | None = None) -> Drill:
        """With the usual share and seconds where none are given."""
        return cls(
            fault,
            SHARES.get(fault, 1.0) if share is None else share,
            SLOW_SECONDS if seconds is None else seconds,
        )

    def meets(self, request_id: str) -> bool:
        """Whether this request is of the share: the same share of every kind of request, and again if asked again."""
        if self.share >= 1:
            return True
        bucket = int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=4).digest())
        return bucket < self.share * 2**32


class Faults:
    """What goes wrong for requests of real visitors (with `x-user-id`); a probe or a golden request sees none of it,
    which is what makes these the release's business and not the deploy gate's. `slow` shows in the shadow already;
    `failing` is a call that only an answer to a user makes, so that copies in the shadow never meet it."""

    def __init__(self, fault: Fault | None, switch: Callable[[], Drill | None] | None = None) -> None:
        """`fault` holds from the start; `switch`, asked at each request, says what was switched on since."""
        self._drill = None if fault is None else Drill.of(fault)
        self._switch = switch
        self._last: Sequence[Answer] | None = None

    def _now(self, *faults: Fault) -> Drill | None:
        drill = (self._switch and self._switch()) or self._drill
        return drill if drill is not None and drill.fault in faults else None

    def delay_seconds(self, request_id: str = "") -> float:
        drill = self._now("slow")
        return drill.seconds if drill and drill.meets(request_id) else 0.0

    def fails(self, request_id: str) -> bool:
        """Whether this request gets a 500."""
        drill = self._now("failing")
        return drill is not None and drill.meets(request_id)

    def stale(self, request_id: str = "") -> bool:
        """Whether this request finds an online store that stopped moving."""
        drill = self._now("stale_features")
        return drill is not None and drill.meets(request_id)

    def cross(self, answers: Sequence[Answer], request_id: str = "") -> Sequence[Answer]:
        """A cache whose key lacks the user: everybody gets what the visitor before got; `worse` for a share only."""
        drill = self._now("crossed_users", "worse")
        if drill is None:
            return answers
        others, self._last = self._last or answers, answers
        if not drill.meets(request_id):
            return answers
        return [
            replace(own, items=other.items[: len(own.items)], scores=other.scores[: len(own.items)])
            for own, other in zip(answers, [others[n % len(others)] for n in range(len(answers))], strict=True)
        ]


def stopped_moving(lookup: Lookup, days: int = STALE_DAYS) -> Lookup:
    """What a store that stopped moving `days` before would say: the user's events up to then, or nothing of a user who
    came later. A store that said nothing, or nothing sensible, says the same."""
    row = lookup.row
    until = row.get(EVENT_TIME) if row else None
    items, times = (row.get(RECENT_ITEMS), row.get(RECENT_TIMES)) if row else (None, None)
    if row is None or not isinstance(until, datetime) or not isinstance(items, list) or not isinstance(times, list):
        return lookup
    stopped = until - timedelta(days=days)
    known = [(item, at) for item, at in zip(items, times, strict=False) if at < stopped.timestamp()]
    if not known:
        return Lookup()
    return Lookup(
        {**row, EVENT_TIME: stopped, RECENT_ITEMS: [i for i, _ in known], RECENT_TIMES: [t for _, t in known]}
    )
