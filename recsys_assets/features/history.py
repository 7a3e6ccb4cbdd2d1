"""Events as sorted integers, so that any trailing window is counted by two binary searches.

Here: the index over one kind of entity and the counts it answers. Not here: which features there are, or their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, VALUE

Ints = np.ndarray[Any, np.dtype[np.int64]]


def alive(starts: Ints, ends: Ints, at: Ints) -> Ints:
    """How many of the intervals [start, end) hold each point. Both arrays are sorted, each by itself."""
    return np.searchsorted(starts, at, side="right") - np.searchsorted(ends, at, side="right")


@dataclass(frozen=True)
class Asked:
    """One element is one row to make: entity and day, their key, and the range [first, stop) of its events so far."""

    entity: Ints
    day: Ints
    key: Ints
    first: Ints
    stop: Ints

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class History:
    """Events up to the last asked day by entity, day and time. A key is entity * span + day, and so sorted as well.

    The order within a day is total (time, other id, value), so sums of floats do not depend on how files were read.
    Days count from `start`; no window reaches from one entity's keys into the next one's, as span is wider.
    """

    frame: pl.DataFrame
    names: pl.Series
    entity: Ints
    other: Ints
    day: Ints
    key: Ints
    span: int
    start: int

    @classmethod
    def of(cls, interactions: pl.DataFrame, days: Sequence[date], *, entity: str, other: str, longest: int) -> History:
        """Index `interactions` up to the last of `days`; `longest` is the widest window that will be asked, in days."""
        frame = interactions.lazy().filter(pl.col(DAY) <= max(days, default=date.min))
        frame = frame.select(entity, other, EVENT_TIME, DAY, pl.col(VALUE).fill_nan(None))
        indexed = frame.with_columns(_code(entity), _code(other)).sort(
            "_" + entity, DAY, EVENT_TIME, "_" + other, VALUE
        )
        sorted_ = indexed.collect()
        numbers = sorted_[DAY].to_physical().cast(pl.Int64).to_numpy()
        start = int(numbers.min(initial=number(date.max)))
        day, codes = numbers - start, sorted_["_" + entity].to_numpy()
        span = int(day.max(initial=0)) + longest + 2
        names = sorted_[entity].unique().sort()
        other_codes = sorted_["_" + other].to_numpy()
        return cls(sorted_, names, codes, other_codes, day, codes * span + day, span, start)

    def ask(self, days: Sequence[date]) -> Asked:
        """Every entity with events on one of `days`, by entity and day."""
        wanted = np.array([number(d) - self.start for d in days], dtype=np.int64)
        key = np.unique(self.key[np.isin(self.day, wanted)])
        entity, day = key // self.span, key % self.span
        first = np.searchsorted(self.key, entity * self.span, side="left")
        return Asked(entity, day, key, first, np.searchsorted(self.key, key, side="right"))

    def events(self, asked: Asked, length: int) -> Ints:
        """Events in each row's window of `length` days."""
        return alive(self.key, self.key + length, asked.key)

    def all_events(self, asked: Asked, length: int) -> Ints:
        """Events of all entities in the same window."""
        days = np.sort(self.day)
        return alive(days, days + length, asked.day)

    def distinct(self, asked: Asked, lengths: Sequence[int]) -> Iterator[Ints]:
        """How many different others each row's window holds, for each length.

        A pair seen on day d stands for itself until it is seen again or leaves the window: it is counted in
        [d, min(next d, d + length)), hence once.
        """
        order = np.lexsort((self.day, self.other, self.entity))
        entity, other, day = self.entity[order], self.other[order], self.day[order]
        again = np.full(len(day), self.span, dtype=np.int64)
        same = (entity[1:] == entity[:-1]) & (other[1:] == other[:-1])
        again[:-1][same] = day[1:][same]
        offset = entity * self.span
        for length in lengths:
            yield alive(self.key, np.sort(offset + np.minimum(again, day + length)), asked.key)

    def first_day(self, asked: Asked) -> Ints:
        """The day of each row's entity's first event ever."""
        return self.day[asked.first]

    def active_days(self, asked: Asked) -> Ints:
        """Days with events so far."""
        opens = np.ones(len(self.key), dtype=np.int64)
        opens[1:] = self.key[1:] != self.key[:-1]
        so_far = np.cumsum(opens)
        return so_far[asked.stop - 1] - so_far[asked.first] + 1

    def gap(self, asked: Asked) -> pl.Series:
        """Days since the previous day with events; null on an entity's first day."""
        opened = np.searchsorted(self.key, asked.key, side="left")
        gaps = pl.DataFrame({"gap": asked.day - self.day[np.maximum(opened - 1, 0)], "known": opened > asked.first})
        return gaps.select(pl.when("known").then(pl.col("gap").cast(pl.Float64))).to_series()

    def mean_value(self, asked: Asked) -> pl.Series:
        """Mean value of all events so far that carry one; null where none does."""
        code = pl.Series(self.entity)
        sums = self.frame.select(
            total=pl.col(VALUE).fill_null(0.0).cum_sum().over(code), known=pl.col(VALUE).cum_count().over(code)
        )[asked.stop - 1]
        mean = pl.when(pl.col("known") > 0).then(pl.col("total") / pl.col("known"))
        return sums.select(mean.cast(pl.Float64)).to_series()

    def newest(self, asked: Asked, columns: Sequence[pl.Expr], most: int) -> pl.DataFrame:
        """The newest `most` events so far, as one list for each column, newest last."""
        size = np.minimum(asked.stop - asked.first, most)
        row = np.repeat(np.arange(len(size)), size)
        at = np.repeat(asked.stop - np.cumsum(size), size) + np.arange(len(row))
        picked = self.frame.select(columns)[at].with_columns(pl.Series("_row", row).set_sorted())
        return picked.group_by("_row", maintain_order=True).all().drop("_row")


def number(day: date) -> int:
    """A day as Polars counts it: days since 1970."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def _code(name: str) -> pl.Expr:
    # Dense rank is the place among the sorted names.
    return (pl.col(name).rank("dense").cast(pl.Int64) - 1).alias("_" + name)
