"""What groups of users prefer: how much more of each item a group of one attribute takes than everybody does.

Here: groups out of user attributes, and their lifts. Not here: tastes of one user, or which attributes users have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.attribute_names import one_hot_name, plain_name
from recsys_assets.columns import USER
from recsys_assets.recommender.encoding import encode_attributes, one_hot_names
from recsys_assets.recommender.events import Doubles, Events, Floats, Ints

QUANTILES = (0.2, 0.4, 0.6, 0.8)
# Every group keeps a number for each item in every model server.
MAX_GROUPS = 64
# A group's share of an item is drawn to everybody's as if so many of the group's events had been like everybody's.
PRIOR_EVENTS = 20.0


@dataclass(frozen=True)
class Group:
    """Users whose profile feature is in [low, high); None is no bound."""

    feature: str
    low: float | None
    high: float | None

    def holds(self, features: Mapping[str, float]) -> bool:
        value = features.get(self.feature)
        if value is None:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)

    def among(self, encoded: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """`holds` for every row of encoded attributes."""
        inside = pl.col(self.feature).is_not_null()
        inside = inside if self.low is None else inside & (pl.col(self.feature) >= self.low)
        inside = inside if self.high is None else inside & (pl.col(self.feature) < self.high)
        return encoded.select(inside.fill_null(False)).to_series().to_numpy()


@dataclass(frozen=True)
class Groups:
    """`lifts` is [groups, items]: log of the group's share of the item over everybody's; 0 where nothing is known."""

    members: tuple[Group, ...]
    lifts: Floats

    def lift(self, features: Mapping[str, float], items: Ints) -> Floats:
        """[items]: mean over the groups that these profile features belong to; 0 for a profile in none."""
        rows = [row for row, group in enumerate(self.members) if group.holds(features)]
        if not rows:
            return np.zeros(len(items), dtype=np.float32)
        mean: Floats = np.mean([self.lifts[row][items] for row in rows], axis=0, dtype=np.float32)
        return mean


def fit_groups(users: pl.DataFrame | None, events: Events, weights: Floats, *, at: datetime) -> Groups:
    """Groups of the attributes of `users`, and their lifts over the events, each counted with its weight."""
    n = len(events.item_ids)
    groups = () if users is None else groups_of(users)[:MAX_GROUPS]
    if users is None or not groups:
        return Groups((), np.zeros((0, n), dtype=np.float32))
    encoded = encode_attributes(users.unique(USER, keep="first", maintain_order=True), USER, at=at)
    known = pl.DataFrame({USER: list(events.user_ids)}, schema={USER: pl.String})
    known = known.join(encoded, on=USER, how="left", maintain_order="left")
    total = np.bincount(events.items, weights=weights, minlength=n)
    share = total / max(float(total.sum()), 1e-12)
    lifts = np.zeros((len(groups), n), dtype=np.float32)
    for row, group in enumerate(groups):
        chosen = group.among(known)[events.users]
        lifts[row] = _lift(
            np.bincount(events.items[chosen], weights=weights[chosen], minlength=n).astype(np.float64), share
        )
    return Groups(groups, lifts)


def groups_of(users: pl.DataFrame) -> tuple[Group, ...]:
    """A group for every frequent category, and one for each fifth of a number."""
    names = one_hot_names(users, USER)
    found = [Group(one_hot_name(name, value), 0.5, None) for name, values in names.items() for value in values]
    for name in sorted(c for c in users.columns if users.schema[c].is_numeric() and c != USER):
        values = users[name].drop_nulls().to_numpy()
        edges = np.unique(np.quantile(values, QUANTILES)).tolist() if len(values) else []
        found += [Group(plain_name(name), low, high) for low, high in pairwise([None, *edges, None])]
    return tuple(found)


def _lift(counts: Doubles, share: Doubles) -> Floats:
    drawn = (counts + PRIOR_EVENTS * share) / (counts.sum() + PRIOR_EVENTS)
    lift: Floats = np.log((drawn + 1e-9) / (share + 1e-9)).astype(np.float32)
    return lift
