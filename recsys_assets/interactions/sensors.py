"""The sensor that notices new days and asks for a run of `ingest`.

Here: a thin shell that looks at the world. Not here: the decision (arrivals.py), files (sources.py), earlier tries
(resources/attempts.py), items and users (catalogue/sensors.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import dagster as dg

from recsys_assets.interactions.arrivals import Arrival
from recsys_assets.interactions.catalogue import sensors as catalogue
from recsys_assets.interactions.partitions import daily, last_made
from recsys_assets.resources.attempts import (
    WORK_TAG,
    Try,
    newest_runs,
    not_now,
    now_utc,
    run_key,
    runs_under_way,
    tries_of,
)
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
FEATURES = ("user_features", "item_features")
Clock = Callable[[], datetime]


def build_sensors(settings: Settings, *, clock: Clock = now_utc) -> list[dg.SensorDefinition]:
    """new_days_sensor and catalogue_sensor, both running from the start."""
    return [_new_days(settings, clock), catalogue.build_sensor(settings, clock)]


def _new_days(settings: Settings, clock: Clock) -> dg.SensorDefinition:
    # Spans of whole logs by content: a log is read once, not on every tick.
    looked: dict[str, Any] = {}

    @dg.sensor(
        name="new_days_sensor",
        job_name="ingest",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of `ingest` for days whose files are not what the tables hold.",
    )
    def new_days_sensor(
        context: dg.SensorEvaluationContext, tables: TablesResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        wanted, words = look_for_days(settings, context.instance, tables, looked, clock())
        yield from (_request(context.instance, each) for each in wanted)
        if not wanted:
            yield dg.SkipReason("; ".join(words))

    return new_days_sensor


def look_for_days(
    settings: Settings, instance: dg.DagsterInstance, tables: TablesResource, looked: dict[str, Any], now: datetime
) -> tuple[list[Arrival], list[str]]:
    """What to ask for now, and how everything else stands, in words for people."""
    from recsys_assets.interactions.arrivals import decide_new_days, group_arrivals
    from recsys_assets.interactions.days import judged_by
    from recsys_assets.interactions.sources import arrived_days
    from recsys_assets.interactions.survey import keep_aside, remember, survey

    known = {date.fromisoformat(key) for key in daily(settings).get_partition_keys()}
    seen = survey(settings, looked, now)
    keep_aside(settings.home, seen, now)
    remember(settings.home, seen, now)
    arrived = {day: digest for day, digest in arrived_days(seen.files, seen.spans).items() if day in known}
    stored, refused = _recorded(settings, instance, tables, now)
    in_flight = {day for run in runs_under_way(instance, now) for day in _days_of(run, known)}
    days = decide_new_days(arrived, stored, in_flight, refused)
    found, late, runs = [], [], newest_runs(instance) if days else ()
    for each in group_arrivals(days, arrived):
        arrival = replace(each, key=f"{each.key}:{judged_by(settings.data)}")
        why = not_now(_tries(instance, runs, arrival, known), now)
        found += [] if why else [arrival]
        late += [f"{_named(arrival)}: {why}"] if why else []
    waiting = [day for day in sorted(arrived) if refused.get(day) == arrived[day]]
    about = f"{len(seen.files)} files, {len(arrived)} days arrived, none new"
    about += f", {len(waiting)} days in quarantine, the first {waiting[0]}" if waiting else ""
    return found, [about, *late, *seen.words()]


def _recorded(
    settings: Settings, instance: dg.DagsterInstance, tables: TablesResource, now: datetime
) -> tuple[dict[date, str], dict[date, str]]:
    """The content of each day that is stored and has reached every asset of the job since; and the refused content."""
    from recsys_assets.interactions.days import TABLE, empty_days, refused_digests, stored_digests

    if not tables.exists(TABLE):
        return {}, {}
    record = tables.read(TABLE)
    refused = refused_digests(record, settings.data, now)
    held = set(tables.days("interactions")) | set(empty_days(record)) if tables.exists("interactions") else set()
    made = last_made(instance, "interactions")
    features = [last_made(instance, name) if tables.exists(name) else {} for name in FEATURES]
    # Features of a day that are older than its rows are those of rows that were replaced.
    held &= {date.fromisoformat(day) for day, at in made.items() if all(each.get(day, 0) > at for each in features)}
    return {day: digest for day, digest in stored_digests(record).items() if day in held}, refused


def _days_of(run: dg.DagsterRun, known: set[date]) -> set[date]:
    """The days of a partitioned run, whoever asked for it."""
    first = run.tags.get(RANGE_START) or run.tags.get("dagster/partition")
    last = run.tags.get(RANGE_END) or first
    return {day for day in known if first <= day.isoformat() <= last} if first and last else set()


def _tries(
    instance: dg.DagsterInstance, runs: Sequence[dg.RunRecord], arrival: Arrival, known: set[date]
) -> Sequence[Try]:
    asked = {day for day in known if arrival.first <= day <= arrival.last}
    return tries_of(instance, arrival.key, newest=runs, concerns=lambda run: not asked.isdisjoint(_days_of(run, known)))


def _named(arrival: Arrival) -> str:
    return arrival.first.isoformat() if arrival.first == arrival.last else f"{arrival.first} to {arrival.last}"


def _request(instance: dg.DagsterInstance, arrival: Arrival) -> dg.RunRequest:
    first, last = arrival.first.isoformat(), arrival.last.isoformat()
    key, tags = run_key(instance, arrival.key), {WORK_TAG: arrival.key}
    if first == last:
        return dg.RunRequest(run_key=key, partition_key=first, tags=tags)
    return dg.RunRequest(run_key=key, tags={**tags, RANGE_START: first, RANGE_END: last})
