"""The assets `interactions`, `items` and `users`: what the sources hold, judged, in versioned tables.

Here: Dagster's side of taking days in. Not here: judgement (contract.py, intake.py), the look of results (report.py).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.columns import DAY, ITEM, USER
from recsys_assets.interactions.partitions import daily, days_of
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import EntitySource, Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

GROUP = "interactions"
OWNERS = ["team:recommender"]
# A warning only: a file that cannot be read holds nobody knows which days.
ALL_READ = "interactions_files_were_all_read"
# Each check is about these rules of the contract, by name.
CHECKS = {
    "interactions_schema_is_valid": ("unreadable", "schema", "type"),
    "interactions_have_no_nulls": ("null",),
    "interactions_are_in_range": ("range", "other_day"),
    "interactions_are_not_duplicated": ("duplicate",),
    "interactions_are_not_from_the_future": ("future",),
    "interaction_volume_is_usual": ("empty", "volume"),
}


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """interactions, items, users."""
    return [
        _interactions(settings),
        _entities(settings, "items", ITEM, settings.data.items),
        _entities(settings, "users", USER, settings.data.users),
    ]


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """None of their own: the checks of `interactions` stand in the asset, so that they judge before it writes."""
    return []


def build_jobs(settings: Settings) -> "list[UnresolvedAssetJobDefinition]":
    """`ingest` takes days in, up to their features; `catalogue` takes items and users."""
    return [
        dg.define_asset_job(
            "ingest",
            selection=dg.AssetSelection.assets("interactions", "user_features", "item_features"),
            tags={"recsys-assets/writes": "interactions"},
            description="New days: interactions and their features. Many days fit into one run.",
        ),
        dg.define_asset_job(
            "catalogue",
            selection=dg.AssetSelection.assets("items", "users"),
            tags={"recsys-assets/writes": "catalogue"},
            description="Items and users with their attributes.",
        ),
    ]


def _interactions(settings: Settings) -> dg.AssetsDefinition:
    fresh = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2)) if settings.data.end_date is None else None

    @dg.asset(
        name="interactions",
        partitions_def=daily(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        freshness_policy=fresh,
        check_specs=[
            dg.AssetCheckSpec(name, asset="interactions", blocking=True, description=f"Rules: {', '.join(rules)}.")
            for name, rules in CHECKS.items()
        ]
        + [dg.AssetCheckSpec(ALL_READ, asset="interactions", description="No file of the source is left unread.")],
    )
    @one_writer(settings, "interactions")
    def interactions(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one event of one user with one item. Grain: event, kept by UTC day of the event.

        A run replaces exactly its days. A file that breaks the contract goes into quarantine whole, its days keep the
        rows that they had, and a blocking check says which file, row, column and rule. Fresh as its newest file.
        """
        from recsys_assets.interactions.report import materialization

        days = days_of(context.partition_keys)
        intake = _take_in(settings, tables, days)
        _store(settings, tables, intake, context.run.run_id)
        return materialization(intake, CHECKS, ALL_READ)

    return interactions


def _take_in(settings: Settings, tables: TablesResource, days: Sequence[date]) -> Any:
    from recsys_assets.interactions.intake import take_in
    from recsys_assets.interactions.reader import SourceMissingError
    from recsys_assets.interactions.sources import patterns
    from recsys_assets.interactions.survey import keep_aside, remember, survey

    source, now = settings.data.interactions, datetime.now(UTC)
    seen = survey(settings, {}, now)
    keep_aside(settings.home, seen, now, at_once=True)
    remember(settings.home, seen, now)
    try:
        return take_in(
            settings.data,
            seen.files,
            days,
            spans=seen.spans,
            trailing=_stored_counts(tables, before=days[0]),
            now=now,
            patterns=patterns(settings, source),
            unread=seen.unread,
        )
    except SourceMissingError as absent:
        raise dg.Failure(str(absent), metadata={"patterns": patterns(settings, source)}) from absent


def _stored_counts(tables: TablesResource, *, before: date) -> dict[date, int]:
    import polars as pl

    if not tables.exists("interactions"):
        return {}
    stored = tables.scan("interactions").filter(pl.col(DAY) < before)
    return dict(stored.group_by(DAY).agg(pl.len().cast(pl.Int64)).collect().iter_rows())


def _store(settings: Settings, tables: TablesResource, intake: Any, run_id: str) -> None:
    """Bad files first, then good days, then the record: cut off anywhere, a repetition ends in the same state."""
    from recsys_assets.interactions.days import TABLE, record_days
    from recsys_assets.interactions.quarantine import quarantine

    at = datetime.now(UTC)
    for file in intake.all_files:
        if found := intake.bad.get(file.path):
            quarantine(settings.home, file, found, days=intake.blocked_by(file), at=at, judged=intake.days)
    if intake.good_days:
        tables.overwrite_days("interactions", intake.good_rows, intake.good_days)
    tables.overwrite_days(TABLE, record_days(intake, run_id), intake.days)


def _entities(settings: Settings, name: str, id_name: str, source: EntitySource | None) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        # Without a file of their own, the entities are those that events have named.
        deps=[] if source else ["interactions"],
        group_name=GROUP,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        description=f"One row is one {name[:-1]} with its attributes. Grain: {id_name}. Fresh as its file.",
    )
    @one_writer(settings, name)
    def entities(tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        from recsys_assets.interactions.report import entity_metadata

        frame = _entity_rows(settings, tables, source, id_name)
        version = tables.overwrite(name, frame)
        digest = entity_digest(settings, source)
        return dg.MaterializeResult(metadata=entity_metadata(frame, version, digest))

    return entities


def _entity_rows(settings: Settings, tables: TablesResource, source: EntitySource | None, id_name: str) -> Any:
    from recsys_assets.interactions.entities import EntitiesBrokenError, read_entities
    from recsys_assets.interactions.sources import local_copy

    if source is None:
        return tables.scan("interactions").select(id_name).unique().sort(id_name).collect()
    place = settings.resolve(source.path)
    if "://" not in place and not Path(place).exists():
        raise dg.Failure(f"{place}: no such file")
    try:
        with local_copy(place) as path:
            return read_entities(path, source, id_name)
    except EntitiesBrokenError as broken:
        raise dg.Failure(str(broken).replace(str(path), place)) from broken


def entity_digest(settings: Settings, source: EntitySource | None) -> str:
    """The content digest of an entity file; empty where there is none."""
    from recsys_assets.interactions.sources import list_matching

    found = [] if source is None else list_matching(settings.resolve(source.path))
    return found[0].digest if found else ""
