"""Feature rows of users and items: counts over trailing windows that end at the midnight after a day with events.

Here: which features there are and how each is made, for one day or many at once with the same result. Not here: tables,
Feast, or what becomes of a row that grows old (as_of_join.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from math import log
from typing import Any, Final

import numpy as np
import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, ITEM, USER, UTC_TIME
from recsys_assets.features.history import Asked, History, Ints, number
from recsys_assets.settings import FeatureSettings

# Lists are what makes feature rows large, so a long range is cut into frames of about this many list values.
MAX_LIST_VALUES: Final = 8_000_000

Columns = dict[str, Ints | pl.Series]


def windows(settings: FeatureSettings) -> tuple[int, ...]:
    """The windows in days, shortest first, each once."""
    return tuple(sorted(set(settings.windows_days)))


def user_schema(settings: FeatureSettings) -> pl.Schema:
    """One row is one user on one day with events of that user; it knows the events strictly before `event_time`."""
    counts = {f"{name}_{w}d": pl.Int64() for name in ("events", "distinct_items") for w in windows(settings)}
    numbers = ("days_since_first", "days_since_previous", "mean_value", "trend")
    return pl.Schema(
        {USER: pl.String(), EVENT_TIME: UTC_TIME, DAY: pl.Date(), **counts}
        | {"events_total": pl.Int64(), "active_days": pl.Int64(), **dict.fromkeys(numbers, pl.Float64())}
        | {"recent_items": pl.List(pl.String()), "recent_times": pl.List(pl.Float64())}
    )


def item_schema(settings: FeatureSettings) -> pl.Schema:
    """One row is one item on one day with events of that item; it knows the events strictly before `event_time`."""
    counts = {f"{name}_{w}d": pl.Int64() for name in ("events", "users") for w in windows(settings)}
    shares = {f"share_{w}d": pl.Float64() for w in windows(settings)}
    return pl.Schema(
        {ITEM: pl.String(), EVENT_TIME: UTC_TIME, DAY: pl.Date(), **counts, **shares, "events_total": pl.Int64()}
        | dict.fromkeys(("age_days", "mean_value", "trend"), pl.Float64())
    )


def trend_windows(lengths: Sequence[int]) -> tuple[int, int]:
    """The two windows that `trend` compares: the middle ones, as the shortest is noisy and the longest is slow."""
    ordered = sorted(lengths)
    middle = len(ordered) // 2
    return ordered[max(middle - 1, 0)], ordered[middle]


def trend(lengths: Sequence[int]) -> pl.Expr:
    """Log of the events of the short window over those expected from the long one: 0 is steady, above 0 is rising."""
    short, long = trend_windows(lengths)
    expected = pl.col(f"events_{long}d") * (short / long)
    return ((pl.col(f"events_{short}d") + 1.0) / (expected + 1.0)).log().alias("trend")


def trend_of(lengths: Sequence[int], row: Mapping[str, Any]) -> float | None:
    """`trend` of one row's values."""
    short, long = trend_windows(lengths)
    seen, over = row[f"events_{short}d"], row[f"events_{long}d"]
    return None if seen is None or over is None else log((seen + 1.0) / (over * (short / long) + 1.0))


def user_feature_batches(
    interactions: pl.DataFrame, days: Sequence[date], settings: FeatureSettings, *, most: int = MAX_LIST_VALUES
) -> Iterator[tuple[list[date], pl.DataFrame]]:
    """Rows of every user with events on `days`, as (days, frame of those days), a few days at a time, so that memory
    stays bounded. `interactions` must reach back to the first event."""
    lengths = windows(settings)
    past = History.of(interactions, days, entity=USER, other=ITEM, longest=lengths[-1])
    asked = past.ask(days)
    values = np.minimum(asked.stop - asked.first, settings.recent_items)
    lists = [pl.col(ITEM).alias("recent_items"), _seconds(EVENT_TIME).alias("recent_times")]
    for chosen in _batches(days, dict(zip(*_sums(asked.day + past.start, values), strict=True)), most):
        some = past.ask(chosen)
        columns = _counts(past, some, lengths, distinct="distinct_items")
        columns |= {"active_days": past.active_days(some), "days_since_previous": past.gap(some)}
        columns |= past.newest(some, lists, settings.recent_items).to_dict()
        yield chosen, _frame(past, some, columns, user_schema(settings), age="days_since_first", lengths=lengths)


def item_feature_rows(interactions: pl.DataFrame, days: Sequence[date], settings: FeatureSettings) -> pl.DataFrame:
    """Rows of every item with events on `days`. `interactions` must reach back to the first event."""
    lengths = windows(settings)
    past = History.of(interactions, days, entity=ITEM, other=USER, longest=lengths[-1])
    asked = past.ask(days)
    columns = _counts(past, asked, lengths, distinct="users")
    for w in lengths:
        columns[f"share_{w}d"] = pl.Series(past.events(asked, w) / np.maximum(past.all_events(asked, w), 1))
    return _frame(past, asked, columns, item_schema(settings), age="age_days", lengths=lengths)


def _counts(past: History, asked: Asked, lengths: Sequence[int], *, distinct: str) -> Columns:
    columns: Columns = {f"events_{w}d": past.events(asked, w) for w in lengths}
    names = [f"{distinct}_{w}d" for w in lengths]
    columns |= dict(zip(names, past.distinct(asked, lengths), strict=True))
    return columns | {"events_total": asked.stop - asked.first, "mean_value": past.mean_value(asked)}


def _frame(
    past: History, asked: Asked, columns: Columns, schema: pl.Schema, *, age: str, lengths: Sequence[int]
) -> pl.DataFrame:
    entity = next(iter(schema))
    day = pl.Series(asked.day + past.start).cast(pl.Int32).cast(pl.Date)
    known: dict[str, Ints | pl.Series] = {entity: past.names[asked.entity], DAY: day, **columns}
    # A row is read at the midnight after its day, when an entity first seen on that day is one day old.
    known |= {age: asked.day + 1 - past.first_day(asked)}
    time = (pl.col(DAY) + timedelta(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(EVENT_TIME)
    return pl.DataFrame(known).with_columns(time, trend(lengths)).select(schema.names()).cast(schema)


def _seconds(name: str) -> pl.Expr:
    return pl.col(name).dt.timestamp("us") / 1_000_000


def _sums(keys: Ints, values: Ints) -> tuple[list[int], list[int]]:
    unique, place = np.unique(keys, return_inverse=True)
    return unique.tolist(), np.bincount(place, weights=values, minlength=len(unique)).astype(int).tolist()


def _batches(days: Sequence[date], sizes: Mapping[int, int], most: int) -> Iterator[list[date]]:
    """Cut the days, in order, where the next one would make a batch larger than `most`; every day is in one batch."""
    batch: list[date] = []
    held = 0
    for day in sorted(set(days)):
        size = sizes.get(number(day), 0)
        if batch and held + size > most:
            yield batch
            batch, held = [], 0
        batch.append(day)
        held += size
    if batch:
        yield batch
