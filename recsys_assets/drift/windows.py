"""Which rows are compared: the reference before what the champion knows ends, the current rows, and their columns.

Here: windows in event time over the three tables. Not here: distances.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, ITEM, USER, VALUE
from recsys_assets.drift.detector import DriftReport, Shift, shifts
from recsys_assets.records import ModelVersion
from recsys_assets.settings import DriftSettings

# They grow with the age of the log, so they move between any two windows however steady the users are.
AGEING = ("days_since_first", "age_days", "events_total", "active_days")
PART_OF_DAY = "part_of_day"
EVENTS_OF_USER = "events_of_user_in_a_day"


@dataclass(frozen=True)
class Windows:
    """Two half-open windows that never overlap: [reference_from, reference_to) and [current_from, as_of)."""

    reference_from: datetime
    reference_to: datetime
    current_from: datetime
    as_of: datetime

    @classmethod
    def of(cls, as_of: datetime, champion_as_of: datetime | None, settings: DriftSettings) -> Windows:
        """The newest days against the days before them, or against the last days that the champion knows."""
        current_from = as_of - timedelta(days=settings.current_days)
        reference_to = min(current_from, champion_as_of) if champion_as_of else current_from
        return cls(reference_to - timedelta(days=settings.reference_days), reference_to, current_from, as_of)

    def reference(self) -> pl.Expr:
        return (pl.col(DAY) >= self.reference_from.date()) & (pl.col(DAY) < self.reference_to.date())

    def current(self) -> pl.Expr:
        return (pl.col(DAY) >= self.current_from.date()) & (pl.col(DAY) < self.as_of.date())


@dataclass(frozen=True)
class Compared:
    """The rows of one table in both windows, and its features that are compared."""

    name: str
    reference: pl.DataFrame
    current: pl.DataFrame

    @property
    def features(self) -> list[str]:
        """All columns of the prepared rows but those without any value in either window."""
        both = (self.reference, self.current)
        return [
            c for c in self.reference.columns if all(frame[c].null_count() < max(frame.height, 1) for frame in both)
        ]

    def shifts(self) -> list[Shift]:
        return shifts(self.reference, self.current, prefix=self.name, features=self.reference.columns)


def compared(name: str, table: pl.LazyFrame, windows: Windows, *, first_day: date) -> Compared:
    """Cut one table into its windows. `interactions` gets columns that describe behaviour instead of identifiers.

    A count over w days is compared only where the log reaches back w days before the reference: a window that is
    still filling grows by itself.
    """
    known_days = (windows.reference_from.date() - first_day).days
    parts = [table.filter(part).collect() for part in (windows.reference(), windows.current())]
    before, after = (_interactions(p) if name == "interactions" else _features(p, known_days) for p in parts)
    return Compared(name, before, after)


def drift_report(
    tables: list[Compared], windows: Windows, champion: ModelVersion | None, settings: DriftSettings
) -> DriftReport:
    """One report over all tables."""
    return DriftReport(
        as_of=windows.as_of,
        reference_from=windows.reference_from,
        reference_to=windows.reference_to,
        current_from=windows.current_from,
        champion_version=champion.version if champion else None,
        champion_as_of=champion.as_of if champion else None,
        shifts=tuple(shift for table in tables for shift in table.shifts()),
        max_distance=settings.max_distance,
        max_drifted_share=settings.max_drifted_share,
    )


def _interactions(events: pl.DataFrame) -> pl.DataFrame:
    hours = pl.col(EVENT_TIME).dt.hour()
    parts = pl.when(hours < 6).then(pl.lit("night")).when(hours < 12).then(pl.lit("morning"))
    return events.select(
        VALUE,
        EVENT_TYPE,
        parts.when(hours < 18).then(pl.lit("afternoon")).otherwise(pl.lit("evening")).alias(PART_OF_DAY),
        pl.len().over(USER, DAY).cast(pl.Int64).alias(EVENTS_OF_USER),
    )


def _features(rows: pl.DataFrame, known_days: int) -> pl.DataFrame:
    left_out = {USER, ITEM, EVENT_TIME, DAY, *AGEING} | {c for c in rows.columns if _window_days(c) > known_days}
    kept = [c for c, kind in rows.schema.items() if c not in left_out and (kind.is_numeric() or kind == pl.String)]
    return rows.select(kept)


def _window_days(column: str) -> int:
    found = re.search(r"_(\d+)d$", column)
    return int(found.group(1)) if found else 0
