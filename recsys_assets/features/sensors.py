"""The sensor that has features made again after rows of an earlier day were replaced or came late.

Here: a thin shell that looks at Dagster's record and at runs. Not here: the decision (behind.py), earlier tries
(resources/attempts.py).
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Final

import dagster as dg

from recsys_assets.features.jobs import JOB
from recsys_assets.interactions.partitions import last_made, ranges
from recsys_assets.resources.attempts import WORK_TAG, not_now, now_utc, run_key, runs_under_way, tries_of
from recsys_assets.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
VIEWS: Final = ("user_features", "item_features")


def build_sensors(settings: Settings, *, clock: Callable[[], datetime] = now_utc) -> list[dg.SensorDefinition]:
    """The room's one sensor, running from the start."""

    @dg.sensor(
        name="features_sensor",
        job_name=JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of `features` for days whose windows hold rows that were replaced since.",
    )
    def features_sensor(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        wanted, words = look_for_days(context.instance, clock())
        return wanted or dg.SkipReason(words)

    return [features_sensor]


def look_for_days(instance: dg.DagsterInstance, now: datetime) -> tuple[list[dg.RunRequest], str]:
    """What to ask for now, or why nothing."""
    from recsys_assets.features.behind import behind_days

    if any(runs_under_way(instance, now, job) for job in ("ingest", JOB)):
        return [], "days are being taken in; features of later days come after them"
    rows = last_made(instance, "interactions")
    days = behind_days(rows, [last_made(instance, view) for view in VIEWS])
    found, late = [], []
    for first, last in ranges([date.fromisoformat(day) for day in days]):
        work = f"features {first}..{last} after {max(rows.values())}"
        if why := not_now(tries_of(instance, work), now):
            late.append(f"{first} to {last}: {why}")
        else:
            tags = {WORK_TAG: work, RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
            found.append(dg.RunRequest(run_key=run_key(instance, work), tags=tags))
    return found, "; ".join(late) or "the features of each day hold the rows of all days before it"
