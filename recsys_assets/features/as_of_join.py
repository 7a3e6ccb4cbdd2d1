"""The newest feature row that a moment could know, and what has become of it by then.

Here: the as-of join and the expiry of windows, the same functions for training and for serving. Not here: counting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, UTC_TIME
from recsys_assets.features.windows import trend, trend_of

FEATURE_TIME: Final = "feature_time"
_WINDOW: Final = re.compile(r"(events|distinct_items|users|share)_(\d+)d")
_AGES: Final = ("days_since_first", "age_days")


def join_as_of(
    rows: pl.DataFrame, features: pl.DataFrame, *, key: str, at: str = EVENT_TIME, prefix: str = ""
) -> pl.DataFrame:
    """Give each of `rows` the newest row of `features` with the same key and event_time <= its own `at`.

    All rows and their order are kept; one that has no earlier feature row gets nulls. Feature columns are named
    `prefix` + name, the time of the feature row is `prefix` + "feature_time", and its `day` is left out.
    """
    values = [pl.col(name).alias(prefix + name) for name in features.columns if name not in {key, EVENT_TIME, DAY}]
    values = [pl.col(EVENT_TIME).alias(prefix + FEATURE_TIME), *values]
    names = features.select(values).columns
    if taken := sorted(set(rows.columns) & set(names)):
        raise ValueError(f"columns {', '.join(taken)} are in both frames: give a prefix")
    # Only keys and times are sorted and joined; the wide columns are then picked by place, once, for the rows asked.
    asked = rows.select(_key=key, _at=at).with_row_index("_row").sort("_at")
    places = features.select(_key=key, _at=EVENT_TIME).with_row_index("_place")
    places = places.join(asked.select("_key"), on="_key", how="semi").sort("_at")
    found = asked.join_asof(places, on="_at", by="_key", strategy="backward", check_sortedness=False)
    place = found.sort("_row").get_column("_place")
    return rows.hstack(features.select(value.gather(place) for value in values))


def newest(features: pl.DataFrame, *, key: str, at: datetime) -> pl.DataFrame:
    """One row per key: its newest with event_time <= `at`, by key; event_time is kept, and also is `feature_time`."""
    known = (
        features.filter(pl.col(EVENT_TIME) <= at).sort(key, EVENT_TIME).unique(key, keep="last", maintain_order=True)
    )
    return known.with_columns(pl.col(EVENT_TIME).alias(FEATURE_TIME))


def expire_windows(frame: pl.DataFrame, at: str | datetime, *, prefix: str = "") -> pl.DataFrame:
    """Bring feature rows forward from `prefix` + "feature_time" to `at`, a moment or a column.

    A count or share of a w-day window that ended w days ago or earlier is 0, `trend` follows the counts, ages grow,
    and `days_since_last` (days from feature_time to `at`) is added. Nulls stay null: never seen is not zero.
    """
    moment = pl.col(at) if isinstance(at, str) else pl.lit(at, dtype=UTC_TIME)
    age = moment - pl.col(prefix + FEATURE_TIME)
    age_days = age.dt.total_microseconds() / timedelta(days=1).total_seconds() / 1_000_000
    lengths: list[int] = []
    changed = [age_days.alias(f"{prefix}days_since_last")]
    for name in frame.columns:
        bare = name.removeprefix(prefix) if name.startswith(prefix) else ""
        if found := _WINDOW.fullmatch(bare):
            days = int(found[2])
            zero = pl.lit(0).cast(frame.schema[name])
            changed.append(
                pl.when(pl.col(name).is_not_null() & (age >= timedelta(days=days)))
                .then(zero)
                .otherwise(pl.col(name))
                .alias(name)
            )
            lengths += [days] if found[1] == "events" else []
        elif bare in _AGES:
            changed.append(pl.col(name) + age_days)
    expired = frame.with_columns(changed)
    return expired.with_columns(trend(lengths, prefix)) if lengths and f"{prefix}trend" in frame.columns else expired


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
