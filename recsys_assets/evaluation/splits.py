"""The holdout in time: what was known before the cut, what users chose after it, and the segments they fall into.

Here: splitting one interactions frame. Not here: any model or metric.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER

NEW_USERS = "new_users"
WARM_USERS = "warm_users"
LONG_TAIL = "long_tail_items"
SLICES = (NEW_USERS, WARM_USERS, LONG_TAIL)


@dataclass(frozen=True)
class Holdout:
    """Events before `cut` and the truth of the users active in [cut, as_of).

    `truth` has one row for each (user_id, item_id) that is new to the user: what they had before is never
    recommended, so it could not be hit. With cut = day 3:

    | event                | where                               |
    |----------------------|-------------------------------------|
    | ann, film a, day 1   | past                                |
    | ann, film a, day 3   | nowhere: she had it before          |
    | ann, film b, day 3   | truth                               |
    | bob, film a, day 4   | truth; bob is new                   |
    """

    cut: datetime
    as_of: datetime
    past: pl.DataFrame
    truth: pl.DataFrame

    @property
    def users(self) -> list[str]:
        """The test users, sorted."""
        return self.truth[USER].unique().sort().to_list()


def split(interactions: pl.DataFrame, *, cut: datetime, as_of: datetime, max_users: int) -> Holdout:
    """Split at the cut; of more than `max_users` test users, take those whose hash is smallest, always the same."""
    past = interactions.filter(pl.col(EVENT_TIME) < cut)
    after = interactions.filter((pl.col(EVENT_TIME) >= cut) & (pl.col(EVENT_TIME) < as_of))
    truth = after.select(USER, ITEM).unique().join(past, on=[USER, ITEM], how="anti").sort(USER, ITEM)
    users = truth[USER].unique().to_list()
    if len(users) > max_users:
        kept = sorted(users, key=_hash)[:max_users]
        truth = truth.filter(pl.col(USER).is_in(kept))
    return Holdout(cut=cut, as_of=as_of, past=past, truth=truth)


def slice_truths(
    truth: pl.DataFrame, *, known_users: Collection[str], head_items: Collection[str]
) -> dict[str, pl.DataFrame]:
    """The truth of each segment. New and warm users partition the users; the long tail keeps only unpopular items."""
    known, head = list(known_users), list(head_items)
    return {
        NEW_USERS: truth.filter(~pl.col(USER).is_in(known)),
        WARM_USERS: truth.filter(pl.col(USER).is_in(known)),
        LONG_TAIL: truth.filter(~pl.col(ITEM).is_in(head)),
    }


def _hash(user: str) -> bytes:
    return blake2b(user.encode(), digest_size=8).digest()
