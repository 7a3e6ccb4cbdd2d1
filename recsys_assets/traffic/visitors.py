"""Who visits and what they want: visitors drawn from the later events of a data set.

Here: pure functions over frames and a seed. Not here: HTTP, files, clocks.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER
from recsys_assets.errors import UserFacingError


class NoVisitorsError(UserFacingError, LookupError):
    """Nobody in the replayed events comes after the given time."""


@dataclass(frozen=True)
class Visitor:
    """One visit to come. `visitor_id` is the assignment unit of the gateway, `user_id` whose features are used, and
    `wanted` what this user goes on to use after the replayed moment."""

    visitor_id: str
    user_id: str
    wanted: frozenset[str]


def wanted_by_user(
    future: pl.DataFrame, *, after: datetime, seen: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """Items that each user uses at or after `after` and has not used before, by user; users without any are left out.

    `future` has user_id, item_id, event_time; `seen` holds the earlier items of users already known.
    """
    later = future.filter(pl.col(EVENT_TIME) >= after).group_by(USER, maintain_order=True).agg(pl.col(ITEM))
    wanted = {user: frozenset(items) - seen.get(user, frozenset()) for user, items in later.iter_rows()}
    return {user: items for user, items in sorted(wanted.items()) if items}


def draw_visitors(
    wanted: Mapping[str, frozenset[str]],
    known: frozenset[str],
    *,
    count: int,
    new_share: float,
    seed: int,
    run: str,
) -> Iterator[Visitor]:
    """Draw `count` visits with replacement, `new_share` of them from users nobody has seen before.

    A user who is drawn twice comes as two visitors, each assigned on its own: comparisons between the arms are then
    about this population of visits. `run` keeps the visitors of one replay apart from those of another.
    Raises NoVisitorsError when there is nobody to draw.
    """
    returning = sorted(wanted.keys() & known)
    new = sorted(wanted.keys() - known)
    if not returning and not new:
        raise NoVisitorsError("no user of the replayed events comes after the newest complete day")
    rng = random.Random(seed)
    for number in range(count):
        pool = new if (new and rng.random() < new_share) or not returning else returning
        user = rng.choice(pool)
        yield Visitor(f"{user}.{run}.{number}", user, wanted[user])


def clicks(visitor: Visitor, shown: Sequence[str], *, seed: int) -> list[str]:
    """Which shown items the visitor clicks: those it wants and looks at.

    Position r (from 1) is looked at with probability 1 / log2(r + 1), the discount of DCG, drawn from a generator that
    depends on the visitor and the position only: two models that show the same list get the same clicks.
    """
    clicked = []
    for position, item in enumerate(shown, start=1):
        looked = random.Random(f"{seed}:{visitor.visitor_id}:{position}").random() < 1 / math.log2(position + 1)
        if looked and item in visitor.wanted:
            clicked.append(item)
    return clicked
