"""The daily partitions of everything that is kept by day.

Here: one definition from the settings, a run's days, when each was made last. Not here: which of them have arrived.
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


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    """The days that a run is about, ascending. Refused for a run that names none, which Dagster lets begin."""
    if not (context.has_partition_key or context.has_partition_key_range):
        keys = context.assets_def.partitions_def.get_partition_keys()
        raise dg.Failure(_which_days(context.asset_key.to_user_string(), keys), allow_retries=False)
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def _which_days(asset: str, keys: Sequence[str]) -> str:
    first, last = (keys[0], keys[-1]) if keys else ("2024-01-01", "2024-01-31")
    tags = f'{{"dagster/asset_partition_range_start": "{first}", "dagster/asset_partition_range_end": "{last}"}}'
    return (
        f"{asset} is kept by day, and this run does not say for which days. Name them, for example: "
        f"dagster job execute -m recsys_assets.definitions -j ingest --tags '{tags}'. "
        "In the UI choose the days under `Materialize`. While `recsys-assets up` runs, the sensor new_days_sensor asks "
        "for every day whose file arrives; nobody has to start that run."
    )


def ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Runs of consecutive days as (first, last): [1, 2, 3, 7] is (1, 3) and (7, 7)."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def last_made(instance: dg.DagsterInstance, name: str) -> dict[str, int]:
    """When each partition was made last, as a number that grows."""
    made = instance.get_latest_storage_id_by_partition(
        dg.AssetKey(name), dg.DagsterEventType.ASSET_MATERIALIZATION, None
    )
    return dict(made)
