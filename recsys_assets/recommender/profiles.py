"""What is known of a user at a moment: numeric features, encoded attributes, and the newest items.

Here: UserProfile and how profiles come out of the feature and user tables. Not here: reading the online store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from recsys_assets.columns import USER
from recsys_assets.recommender.encoding import encode_attributes
from recsys_assets.recommender.state import newest_rows

RECENT_ITEMS = "recent_items"
RECENT_TIMES = "recent_times"


@dataclass(frozen=True)
class UserProfile:
    """One user at one moment. `recent_items` are newest last, `recent_times` their epoch seconds.

    An encoded category is a feature `<attribute>_is_<value>` of 1.0; one that is absent reads as 0.
    """

    user_id: str
    features: Mapping[str, float] = field(default_factory=dict)
    recent_items: Sequence[str] = ()
    recent_times: Sequence[float] = ()

    def __post_init__(self) -> None:
        if len(self.recent_items) != len(self.recent_times):
            counts = f"{len(self.recent_items)} recent items and {len(self.recent_times)} times"
            raise ValueError(f"user {self.user_id}: {counts}, they must pair up")


def profile_frame(
    user_features: pl.DataFrame,
    users: pl.DataFrame | None,
    *,
    at: datetime,
    user_ids: Sequence[str] | None = None,
) -> pl.DataFrame:
    """One row is one user as of `at`: id, recent_items, recent_times, and every numeric feature as Float64."""
    newest = newest_rows(user_features, key=USER, at=at)
    numeric = [c for c in newest.columns if newest.schema[c].is_numeric()]
    lists = [c for c in (RECENT_ITEMS, RECENT_TIMES) if c in newest.columns]
    frame = newest.select(USER, *lists, pl.col(numeric).cast(pl.Float64))
    if users is not None:
        encoded = encode_attributes(users.unique(USER, keep="first", maintain_order=True), USER, at=at)
        frame = frame.join(encoded, on=USER, how="full", coalesce=True)
    if user_ids is not None:
        wanted = pl.DataFrame({USER: sorted(set(user_ids))}, schema={USER: pl.String})
        frame = wanted.join(frame, on=USER, how="left")
    kinds = {RECENT_ITEMS: pl.List(pl.String), RECENT_TIMES: pl.List(pl.Float64)}
    missing = [pl.lit(None, dtype=kind).alias(c) for c, kind in kinds.items() if c not in frame.columns]
    frame = frame.with_columns(missing).with_columns(pl.col(c).fill_null([]) for c in kinds)
    return frame.sort(USER)


def profile_of_row(row: Mapping[str, object]) -> UserProfile:
    """A row of `profile_frame` as a profile; features that are null are left out."""
    items, times = row[RECENT_ITEMS], row[RECENT_TIMES]
    features = {
        name: float(value)
        for name, value in row.items()
        if name not in (USER, RECENT_ITEMS, RECENT_TIMES) and isinstance(value, int | float)
    }
    return UserProfile(
        user_id=str(row[USER]),
        features=features,
        recent_items=tuple(items) if isinstance(items, list) else (),
        recent_times=tuple(times) if isinstance(times, list) else (),
    )
