"""The asset `interactions`: what the sources hold, judged, in a versioned table; and the room's jobs.

Here: Dagster's side of taking days in. Not here: judgement (contract.py, intake.py), the look of results (report.py),
items and users (catalogue/assets.py).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.columns import DAY
from recsys_assets.interactions.catalogue import assets as catalogue
from recsys_assets.interactions.partitions import daily, days_of
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings

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
    return [_interactions(settings), *catalogue.build_assets(settings)]


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """None of their own: the checks stand in the assets, so that they judge before anything is written."""
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

        days = days_of(context)
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
    from recsys_assets.interactions.days import TABLE, judged_by, record_days, since_first_stored, upgraded
    from recsys_assets.interactions.quarantine import quarantine

    at = datetime.now(UTC)
    for file in intake.all_files:
        if found := intake.bad.get(file.path):
            quarantine(settings.home, file, found, days=intake.blocked_by(file), at=at, judged=intake.days)
    if intake.good_days:
        tables.overwrite_days("interactions", intake.good_rows, intake.good_days)
    rows = record_days(intake, run_id, judged_by=judged_by(settings.data), at=at)
    if tables.exists(TABLE):
        before = tables.read(TABLE)
        rows = since_first_stored(rows, before)
        if set(before.columns) != set(rows.columns):
            tables.overwrite(TABLE, upgraded(before))
    tables.overwrite_days(TABLE, rows, intake.days)
