"""The sensor for items and users: it asks for a load while a table is not what its file says.

Here: a thin shell that looks at files, tables and runs. Not here: what a content is called (loads.py), earlier tries
(resources/attempts.py).
"""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from recsys_assets.interactions.catalogue.assets import entity_file
from recsys_assets.resources.attempts import WORK_TAG, newest_runs, not_now, run_key, runs_under_way, tries_of
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import EntitySource, Settings

JOB = "catalogue"


def build_sensor(settings: Settings, clock: Callable[[], datetime]) -> dg.SensorDefinition:
    """catalogue_sensor."""

    @dg.sensor(
        name="catalogue_sensor",
        job_name=JOB,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of `catalogue` while the table of items or users is not what its file says.",
    )
    def catalogue_sensor(
        context: dg.SensorEvaluationContext, tables: TablesResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        wanted, words = look_for_loads(settings, context.instance, tables, clock())
        # Without a file of their own they are named by events: they are made again beside the others.
        derived = [name for name, source in _sources(settings).items() if source is None]
        derived = derived if tables.exists("interactions") else []
        return [
            dg.RunRequest(
                run_key=run_key(context.instance, work),
                asset_selection=[dg.AssetKey(each) for each in (name, *derived)],
                tags={WORK_TAG: work},
            )
            for name, work in wanted.items()
        ] or dg.SkipReason("; ".join(words))

    return catalogue_sensor


def look_for_loads(
    settings: Settings, instance: dg.DagsterInstance, tables: TablesResource, now: datetime
) -> tuple[dict[str, str], list[str]]:
    """The work to ask for by name of the table, and how the others stand, in words for people."""
    wanted: dict[str, str] = {}
    words = []
    for name, source in _sources(settings).items():
        if source is not None:
            work, told = _look(settings, instance, tables, name, source, now)
            wanted |= {name: work} if work else {}
            words.append(told)
    return wanted, [told for told in words if told] or ["neither items nor users are configured"]


def _look(
    settings: Settings,
    instance: dg.DagsterInstance,
    tables: TablesResource,
    name: str,
    source: EntitySource,
    now: datetime,
) -> tuple[str, str]:
    """The work to ask for, or why none is."""
    from recsys_assets.interactions.catalogue import loads

    file = entity_file(settings, name, source)
    if isinstance(file, str):
        return "", f"{name}: {file}" + (", the table stays" * tables.exists(name))
    content, there = loads.content_of(source, file.digest), tables.exists(name)
    about = tables.about(name) if there else {}
    unmatched = about.get(loads.MATCHED) == "false" and tables.exists("interactions")
    if about.get(loads.CONTENT) == content and not unmatched:
        return "", f"{name}: the table is what its file says"
    table = loads.refusal_table(name)
    refusal = loads.refusal_in(tables.read(table)) if tables.exists(table) else None
    if loads.stands_refused(refusal, content, source, tables.version(name) if there else -1, now):
        return "", f"{name}: REFUSED, in quarantine, the table stays as it is: {refusal.reason if refusal else ''}"
    if run := next((run for run in runs_under_way(instance, now) if _touches(run, name)), None):
        return "", f"{name}: run {run.run_id[:8]} is under way"
    work = loads.work_of(name, source, file.digest)
    tries = tries_of(instance, work, newest=newest_runs(instance), concerns=lambda run: _touches(run, name))
    why = not_now(tries, now)
    return ("", f"{name}: {why}") if why else (work, "")


def _touches(run: dg.DagsterRun, name: str) -> bool:
    """Whether the run makes this table."""
    if run.asset_selection is None:
        return run.job_name == JOB
    return dg.AssetKey(name) in run.asset_selection


def _sources(settings: Settings) -> dict[str, EntitySource | None]:
    return {"items": settings.data.items, "users": settings.data.users}
