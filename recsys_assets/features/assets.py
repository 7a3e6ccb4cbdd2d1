"""The assets of room `features`: user_features, item_features (a partition a day) and online_features.

Here: reading tables, calling the pure files, writing, and what people see about it. Not here: any arithmetic.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from recsys_assets.interactions.partitions import daily, days_of
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TableMissing, TableSchemaChanged, TablesResource
from recsys_assets.resources.trying_again import failed_a_while_ago
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

GROUP: Final = "features"
_OWNERS: Final = ["team:recommender"]

# `eager` also asks that no partition upstream is missing: with days that have not come yet that would wait for ever.
# A dependency whose checks have not run counts as not passed, so nothing starts on an empty project.
_ON_NEW_ROWS: Final = (
    dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing()) | failed_a_while_ago()
) & dg.AutomationCondition.all_deps_blocking_checks_passed()


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's assets for these settings."""
    return [_user_features(settings), _item_features(settings), _online_features(settings)]


def _user_features(settings: Settings) -> dg.AssetsDefinition:
    # The ingest job holds this asset after `interactions`; a condition of its own would compute each day twice.
    @dg.asset(
        group_name=GROUP,
        deps=["interactions"],
        partitions_def=daily(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "deltalake"},
        owners=_OWNERS,
    )
    @one_writer(settings, "user_features")
    def user_features(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one user on one day with events of that user, as known at the midnight after it.

        Grain: user and day; a user has no row on a day without events. Fresh: as new as `interactions`. Counts cover
        trailing windows that end at `event_time`; a repaired day changes the windows of the days after it, and
        features_sensor asks for those.
        """
        from recsys_assets.features.windows import user_feature_batches

        days = _days(context, tables)
        batches = user_feature_batches(_events(tables, days), days, settings.features)
        return _write(tables, "user_features", days, batches)

    return user_features


def _item_features(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        deps=["interactions"],
        partitions_def=daily(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "deltalake"},
        owners=_OWNERS,
    )
    @one_writer(settings, "item_features")
    def item_features(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one item on one day with events of that item, as known at the midnight after it.

        Grain: item and day; an item has no row on a day without events. Fresh: as new as `interactions`. `share_*` is
        the item's part of all events in the window, `users_*` its different users, `trend` above 0 is rising.
        """
        from recsys_assets.features.windows import item_feature_rows

        days = _days(context, tables)
        rows = item_feature_rows(_events(tables, days), days, settings.features)
        return _write(tables, "item_features", days, [(days, rows)])

    return item_features


def _online_features(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        deps=["user_features", "item_features"],
        automation_condition=_ON_NEW_ROWS,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(hours=26)),
        kinds={"feast", "sqlite"},
        owners=_OWNERS,
    )
    @one_writer(settings, "online_features")
    def online_features(tables: TablesResource, feature_store: FeatureStoreResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """The online store: for every user and item its newest feature row, through Feast, for the model servers.

        Grain: one row per entity, written over the last one. Fresh: follows each change of the two tables by itself,
        and warns when a day passes without one. The registry and Feast's offline files are brought up to date first.
        """
        from recsys_assets.features.views import KEYS

        applied = feature_store.apply()
        counts: dict[str, int] = {}
        for view, key in KEYS.items():
            feature_store.export(view, tables.scan(view))
            counts[view] = feature_store.write_online(view, newest_rows(tables, view, key))
        versions = {f"{view}_table_version": tables.version(view) for view in KEYS}
        about: dict[str, Any] = {"registered": ", ".join(applied), "dagster/row_count": sum(counts.values())}
        return dg.MaterializeResult(metadata={**about, **counts, **versions})

    return online_features


def newest_rows(tables: TablesResource, view: str, key: str) -> "pl.DataFrame":
    """Every entity's newest feature row, by entity; reads the wide columns of those rows only."""
    import polars as pl

    from recsys_assets.columns import DAY, EVENT_TIME

    last = tables.scan(view).group_by(key).agg(pl.col(EVENT_TIME).max())
    return tables.scan(view).join(last, on=[key, EVENT_TIME], how="semi").drop(DAY).sort(key).collect()


def _days(context: dg.AssetExecutionContext, tables: TablesResource) -> list[date]:
    """The days of this run. Refused where none of them was taken in: they are late or in quarantine.

    A day that was taken in and holds no event is as good as any other: nobody has a row of it.
    """
    days = days_of(context)
    try:
        known = set(tables.days("interactions"))
    except TableMissing as absent:
        raise dg.Failure(f"no features without interactions: {absent}", allow_retries=False) from absent
    if not (known | recorded_empty_days(tables)) & set(days):
        raise dg.Failure(
            f"no accepted interactions on {days[0]} to {days[-1]}: nothing to compute", allow_retries=False
        )
    return days


def recorded_empty_days(tables: TablesResource) -> set[date]:
    """The days on which nobody did anything, by the record of days."""
    from recsys_assets.interactions.days import TABLE, empty_days

    return set(empty_days(tables.read(TABLE))) if tables.exists(TABLE) else set()


def _events(tables: TablesResource, days: list[date]) -> "pl.DataFrame":
    """All events up to the last of `days`: windows and lists reach back without limit."""
    import polars as pl

    from recsys_assets.columns import DAY, EVENT_TIME, ITEM, USER, VALUE

    past = tables.scan("interactions").filter(pl.col(DAY) <= max(days))
    return past.select(USER, ITEM, EVENT_TIME, DAY, VALUE).collect()


def _write(
    tables: TablesResource, name: str, days: list[date], batches: Iterable[tuple[list[date], "pl.DataFrame"]]
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    from recsys_assets.columns import DAY
    from recsys_assets.features.plots import rows_per_day

    counts = dict.fromkeys(days, 0)
    columns: dict[str, Any] = {}
    for some, frame in batches:
        try:
            tables.overwrite_days(name, frame, some)
        except TableSchemaChanged:
            # Other windows in the settings: this run may change the columns if it makes all the table's days anew.
            tables.overwrite_days(name, frame, days)
        counts |= {day: n for day, n in frame.group_by(DAY).len().iter_rows()}
        columns = {column: str(dtype) for column, dtype in frame.schema.items()}
    schema = dg.TableSchema([dg.TableColumn(column, dtype) for column, dtype in columns.items()])
    empty = [str(day) for day, n in counts.items() if n == 0]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(counts.values()),
            "dagster/column_schema": schema,
            "table_version": tables.version(name),
            "days": len(days),
            "days_without_events": dg.MetadataValue.json(empty),
            "rows_per_day": dg.MetadataValue.md(rows_per_day(counts, title=name)),
        }
    )
