"""The sensor that notices new days and asks for a run of `ingest`, and the one for items and users.

Here: thin shells that look at the world. Not here: the decision (arrivals.py), files (sources.py).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from recsys_assets.interactions.assets import entity_digest
from recsys_assets.interactions.partitions import daily
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings

ARRIVAL_TAG = "recsys-assets/arrival"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
INGESTED = ("interactions", "user_features", "item_features")
# A content that failed this often waits for a person; a new content starts anew.
MAX_ATTEMPTS = 3
_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """new_days_sensor and catalogue_sensor, both running from the start."""
    return [_new_days(settings), _catalogue(settings)]


def _new_days(settings: Settings) -> dg.SensorDefinition:
    # Spans of whole logs by content: a log is read once, not on every tick.
    looked: dict[str, Any] = {}

    @dg.sensor(
        name="new_days_sensor",
        job_name="ingest",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of `ingest` for days whose files arrived or changed.",
    )
    def new_days_sensor(
        context: dg.SensorEvaluationContext, tables: TablesResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from recsys_assets.interactions.arrivals import decide_new_days, group_arrivals
        from recsys_assets.interactions.sources import arrived_days
        from recsys_assets.interactions.survey import keep_aside, remember, survey

        known = {date.fromisoformat(key) for key in daily(settings).get_partition_keys()}
        seen, now = survey(settings, looked, datetime.now(UTC)), datetime.now(UTC)
        keep_aside(settings.home, seen, now)
        remember(settings.home, seen, now)
        arrived = {day: digest for day, digest in arrived_days(seen.files, seen.spans).items() if day in known}
        recorded, quarantined = _recorded(context.instance, tables)
        days = decide_new_days(arrived, recorded, _days_in_flight(context.instance, known), quarantined)
        requests = [
            request
            for arrival in group_arrivals(days, arrived)
            if (request := _request(context.instance, arrival.first, arrival.last, arrival.key))
        ]
        yield from requests
        if not requests:
            waiting = f", {len(quarantined)} days in quarantine" if quarantined else ""
            failed = f", {len(days)} days failed {MAX_ATTEMPTS} times" if days else ""
            about = f"{len(seen.files)} files, {len(arrived)} days arrived, none new{waiting}{failed}"
            yield dg.SkipReason("; ".join([about, *seen.words()]))

    return new_days_sensor


def _recorded(instance: dg.DagsterInstance, tables: TablesResource) -> tuple[dict[date, str], dict[date, str]]:
    """What is stored and has reached every asset of the job, and the contents in quarantine."""
    from recsys_assets.interactions.days import TABLE, quarantined_digests, stored_digests

    if not tables.exists(TABLE):
        return {}, {}
    record = tables.read(TABLE)
    everywhere = set.intersection(*(set(instance.get_materialized_partitions(dg.AssetKey(key))) for key in INGESTED))
    stored = {day: digest for day, digest in stored_digests(record).items() if day.isoformat() in everywhere}
    return stored, quarantined_digests(record)


def _days_in_flight(instance: dg.DagsterInstance, known: set[date]) -> set[date]:
    """Days of every partitioned run that is queued or runs, whoever asked for it."""
    days: set[date] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS)):
        first = run.tags.get(RANGE_START) or run.tags.get("dagster/partition")
        last = run.tags.get(RANGE_END) or first
        if first and last:
            days |= {day for day in known if first <= day.isoformat() <= last}
    return days


def _request(instance: dg.DagsterInstance, first: date, last: date, key: str) -> dg.RunRequest | None:
    """A run for these days; None when this content has failed too often. A run key is used once, so it counts tries."""
    attempts = instance.get_runs_count(dg.RunsFilter(tags={ARRIVAL_TAG: key}))
    if attempts >= MAX_ATTEMPTS:
        return None
    run_key = f"{key}:{attempts}"
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=first.isoformat(), tags={ARRIVAL_TAG: key})
    tags = {ARRIVAL_TAG: key, RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
    return dg.RunRequest(run_key=run_key, tags=tags)


def _catalogue(settings: Settings) -> dg.SensorDefinition:
    sources = {"items": settings.data.items, "users": settings.data.users}

    @dg.sensor(
        name="catalogue_sensor",
        job_name="catalogue",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of `catalogue` when the file of items or users arrived or changed.",
    )
    def catalogue_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        present = {name: entity_digest(settings, source) for name, source in sources.items() if source}
        if not present or not all(present.values()):
            absent = ", ".join(sorted(name for name, digest in present.items() if not digest)) or "none configured"
            return dg.SkipReason(f"no file yet: {absent}")
        if present == {name: _materialized_digest(context.instance, name) for name in present}:
            return dg.SkipReason("items and users are those of their files")
        return dg.RunRequest(run_key=":".join(digest[:16] for digest in present.values()))

    return catalogue_sensor


def _materialized_digest(instance: dg.DagsterInstance, name: str) -> str | None:
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    made = event.asset_materialization if event else None
    value = made.metadata.get("digest") if made else None
    return str(value.value) if value else None
