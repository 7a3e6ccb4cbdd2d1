"""Interactions as integer arrays: the form in which every retrieval source reads them.

Here: encoding, de-duplication and the sparse user-item matrix. Not here: any similarity or score.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
DAY_SECONDS = 86_400.0
# Half-lives after which an event is left out: it weighs 1e-18 of a new one, and floats soon fall out of their range.
FORGOTTEN = 60.0


class EmptyCatalogueError(ValueError):
    """There is no item to recommend: neither an interaction before the cut nor an item table."""


@dataclass(frozen=True)
class Events:
    """One entry is one event before `as_of`, oldest first. Codes index `user_ids` and `item_ids`, both sorted."""

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    users: Ints
    items: Ints
    times: Doubles

    def distinct(self) -> Events:
        """The newest event of each user with each item, still oldest first."""
        pair = self.users.astype(np.int64) * max(len(self.item_ids), 1) + self.items
        _, from_the_end = np.unique(pair[::-1], return_index=True)
        keep = np.sort(len(pair) - 1 - from_the_end)
        return Events(self.user_ids, self.item_ids, self.users[keep], self.items[keep], self.times[keep])

    def newest(self, per_user: int) -> Events:
        """At most `per_user` newest events of each user, so that one robot cannot square the co-visitation."""
        order = np.lexsort((-np.arange(len(self.users)), self.users))
        starts = np.flatnonzero(np.diff(self.users[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
        keep = np.sort(order[place < per_user])
        return Events(self.user_ids, self.item_ids, self.users[keep], self.items[keep], self.times[keep])

    def of_items(self, codes: Ints) -> Events:
        """The events with these items, ascending codes, which become the new codes 0, 1, ..."""
        place = np.minimum(np.searchsorted(codes, self.items), max(len(codes) - 1, 0))
        keep = np.flatnonzero(codes[place] == self.items) if len(codes) else np.zeros(0, dtype=np.int64)
        names = tuple(self.item_ids[code] for code in codes)
        return Events(self.user_ids, names, self.users[keep], place[keep].astype(np.int32), self.times[keep])

    def of_newest_users(self, most: int) -> Events:
        """The events of the `most` users whose last event is the newest, ties by code."""
        users, from_the_end = np.unique(self.users[::-1], return_index=True)
        if len(users) <= most:
            return self
        chosen = users[np.argsort(from_the_end, kind="stable")[:most]]
        keep = np.flatnonzero(np.isin(self.users, chosen))
        return Events(self.user_ids, self.item_ids, self.users[keep], self.items[keep], self.times[keep])

    def matrix(self, weights: Floats | None = None) -> Any:
        """Sparse users x items, with a weight per event (default 1)."""
        from scipy.sparse import csr_matrix

        data = np.ones(len(self.users), dtype=np.float32) if weights is None else weights
        return csr_matrix((data, (self.users, self.items)), shape=(len(self.user_ids), len(self.item_ids)))


def encode(
    interactions: pl.DataFrame, catalogue: pl.DataFrame | None, *, as_of: datetime, lookback_days: float
) -> Events:
    """The events in [as_of - lookback_days, as_of); the catalogue adds items that nobody has met yet."""
    inside = (pl.col(EVENT_TIME) < as_of) & (pl.col(EVENT_TIME) >= as_of - timedelta(days=lookback_days))
    kept = interactions.lazy().filter(inside).select(USER, ITEM, EVENT_TIME).collect()
    known = [kept[ITEM]] + ([] if catalogue is None else [catalogue[ITEM]])
    item_ids = pl.concat(known).drop_nulls().unique().sort()
    if item_ids.is_empty():
        raise EmptyCatalogueError(f"no interaction before {as_of.isoformat()} and no item in the item table")
    user_ids = kept[USER].unique().sort()
    users, items = _codes(kept[USER], user_ids), _codes(kept[ITEM], item_ids)
    moments = kept[EVENT_TIME].dt.epoch("us").to_numpy()
    order = np.lexsort((items, users, moments))  # codes are in the order of ids, and integers sort ten times faster
    return Events(
        user_ids=tuple(user_ids.to_list()),
        item_ids=tuple(item_ids.to_list()),
        users=users[order],
        items=items[order],
        times=moments[order] / 1e6,
    )


def _codes(values: pl.Series, ids: pl.Series) -> Ints:
    if values.is_empty():
        return np.zeros(0, dtype=np.int32)
    return values.cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int32)


def decay(ages_seconds: Doubles, half_life_days: float) -> Floats:
    """A weight that halves every `half_life_days`; an age below zero counts as zero."""
    weight: Floats = np.exp2(-np.maximum(ages_seconds, 0.0) / (half_life_days * DAY_SECONDS)).astype(np.float32)
    return weight
