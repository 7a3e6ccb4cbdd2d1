"""The daily partitions of everything that is kept by day.

Here: one definition from the settings, and the days a run is about. Not here: which of those days have arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from recsys_assets.settings import Settings


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, from `start_date` up to and without `end_date` (without one: up to yesterday)."""
    end = settings.data.end_date
    return dg.DailyPartitionsDefinition(
        start_date=settings.data.start_date.isoformat(), end_date=end.isoformat() if end else None, timezone="UTC"
    )


def days_of(partition_keys: Sequence[str]) -> list[date]:
    """The days behind partition keys, ascending."""
    return sorted(date.fromisoformat(key) for key in partition_keys)


def ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Runs of consecutive days as (first, last): [1, 2, 3, 7] is (1, 3) and (7, 7)."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
