"""The newest feature row that a moment could know, and what has become of it by then.

Here: the newest row of each key, and the expiry of windows, the same for training and for serving. Not here: counting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from recsys_assets.columns import EVENT_TIME, UTC_TIME
from recsys_assets.features.windows import trend, trend_of

FEATURE_TIME: Final = "feature_time"
_WINDOW: Final = re.compile(r"(events|distinct_items|users|share)_(\d+)d")
_AGES: Final = ("days_since_first", "age_days")


def newest(features: pl.DataFrame, *, key: str, at: datetime) -> pl.DataFrame:
    """One row per key: its newest with event_time <= `at`, by key; event_time is kept, and also is `feature_time`."""
    # Only keys and times are sorted; the wide columns are then picked by place.
    places = features.select(key, EVENT_TIME).with_row_index("_place").filter(pl.col(EVENT_TIME) <= at)
    last = places.sort(EVENT_TIME, maintain_order=True).unique(key, keep="last").sort(key)
    return features[last["_place"]].with_columns(pl.col(EVENT_TIME).alias(FEATURE_TIME))


def expire_windows(frame: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Bring feature rows forward from their `feature_time` to the moment `at`.

    A count or share of a w-day window that ended w days ago or earlier is 0, `trend` follows the counts, ages grow,
    and `days_since_last` (days from feature_time to `at`) is added. Nulls stay null: never seen is not zero.
    """
    age = pl.lit(at, dtype=UTC_TIME) - pl.col(FEATURE_TIME)
    age_days = age.dt.total_microseconds() / timedelta(days=1).total_seconds() / 1_000_000
    lengths: list[int] = []
    changed = [age_days.alias("days_since_last")]
    for name in frame.columns:
        if found := _WINDOW.fullmatch(name):
            days = int(found[2])
            zero = pl.lit(0).cast(frame.schema[name])
            changed.append(
                pl.when(pl.col(name).is_not_null() & (age >= timedelta(days=days)))
                .then(zero)
                .otherwise(pl.col(name))
                .alias(name)
            )
            lengths += [days] if found[1] == "events" else []
        elif name in _AGES:
            changed.append(pl.col(name) + age_days)
    expired = frame.with_columns(changed)
    return expired.with_columns(trend(lengths)) if lengths and "trend" in frame.columns else expired


def expire_row(values: Mapping[str, Any], *, feature_time: datetime, at: datetime) -> dict[str, Any]:
    """`expire_windows` for one row as the model server reads it: the same values bit by bit (a test holds
    the two to each other), without the millisecond that a frame costs.
    """
    age = at - feature_time
    age_days = age / timedelta(microseconds=1) / timedelta(days=1).total_seconds() / 1_000_000
    row = {**values, "days_since_last": age_days}
    lengths: list[int] = []
    for name, value in values.items():
        if found := _WINDOW.fullmatch(name):
            lengths += [int(found[2])] if found[1] == "events" else []
            if value is not None and age >= timedelta(days=int(found[2])):
                row[name] = type(value)(0)
        elif name in _AGES and value is not None:
            row[name] = value + age_days
    if lengths and "trend" in values:
        row["trend"] = trend_of(lengths, row)
    return row
