"""The newest feature row of every user or item as of a moment, and the item table that a ranker reads.

Here: as-of selection with expired windows, and encoded item attributes. Not here: how feature rows are counted.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, ITEM
from recsys_assets.features.as_of_join import FEATURE_TIME, expire_windows, newest
from recsys_assets.recommender.encoding import encode_attributes


def newest_rows(features: pl.DataFrame, *, key: str, at: datetime) -> pl.DataFrame:
    """The newest row per key with event_time <= at, its windows brought forward to `at`; the keys and features only."""
    return expire_windows(newest(features, key=key, at=at), at).drop(EVENT_TIME, DAY, FEATURE_TIME, strict=False)


def item_state(item_features: pl.DataFrame | None, items: pl.DataFrame | None, *, at: datetime) -> pl.DataFrame:
    """One row is one item as of `at`: its id and every numeric feature and encoded attribute as Float64."""
    state = pl.DataFrame(schema={ITEM: pl.String})
    if item_features is not None:
        newest = newest_rows(item_features, key=ITEM, at=at)
        numeric = [c for c in newest.columns if newest.schema[c].is_numeric()]
        state = newest.select(ITEM, pl.col(numeric).cast(pl.Float64))
    if items is not None:
        encoded = encode_attributes(items.unique(ITEM, keep="first", maintain_order=True), ITEM, at=at)
        state = state.join(encoded, on=ITEM, how="full", coalesce=True)
    return state.sort(ITEM)
