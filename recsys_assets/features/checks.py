"""The blocking checks of room `features`: fresh, complete, and the same online as offline.

Here: reading what verdicts.py judges. Not here: the judgement.
"""

from typing import TYPE_CHECKING, Final, Literal

import dagster as dg

from recsys_assets.features.assets import newest_rows, recorded_empty_days
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.tables import TableMissing, TablesResource
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.records import Verdict

View = Literal["user_features", "item_features"]
_KEYS: Final[dict[View, str]] = {"user_features": "user_id", "item_features": "item_id"}
_SAMPLE: Final = 50
_TIMEOUT_MS: Final = 5_000.0


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """The room's checks; they look at whole tables, so that one day's run also sees what other runs left behind."""
    tables = [check for view, key in _KEYS.items() for check in (_fresh(view), _complete(view, key))]
    return [*tables, _equal(settings)]


def _fresh(view: View) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=view, name="feature_rows_are_fresh", blocking=True)
    def fresh(tables: TablesResource) -> dg.AssetCheckResult:
        """The newest day of events has feature rows."""
        from recsys_assets.features import verdicts

        try:
            features, events = tables.days(view), tables.days("interactions")
        except TableMissing as absent:
            return check_result(verdicts.unavailable(verdicts.FRESH, absent))
        return check_result(verdicts.freshness(max(features, default=None), max(events, default=None)))

    return fresh


def _complete(view: View, key: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=view, name="feature_coverage_is_complete", blocking=True)
    def complete(tables: TablesResource) -> dg.AssetCheckResult:
        """Each user (item) with events on a day has exactly one row of that day, up to the newest day of features.

        A day on which nobody had events, by the record of days, has none.
        """
        import polars as pl

        from recsys_assets.features import verdicts

        try:
            features = tables.scan(view).select(key, "day").collect()
            events = tables.scan("interactions").select(key, "day").unique().collect()
        except TableMissing as absent:
            return check_result(verdicts.unavailable(verdicts.COMPLETE, absent))
        if features.height:
            # Days after the newest feature day are for the check of freshness to judge.
            events = events.filter(pl.col("day") <= features["day"].max())
        return check_result(verdicts.coverage(events, features, key=key, empty_days=recorded_empty_days(tables)))

    return complete


def _equal(settings: Settings) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset="online_features", name="online_values_equal_offline_values", blocking=True)
    @one_writer(settings, "online_features")  # a store that is half written answers rows of two states
    def equal(tables: TablesResource, feature_store: FeatureStoreResource) -> dg.AssetCheckResult:
        """The store answers the newest table rows of a sample, through Feast and through the server's reader."""
        from recsys_assets.features import verdicts
        from recsys_assets.features.online import OnlineStoreUnavailable

        try:
            found = [verdict for view, key in _KEYS.items() for verdict in _compare(tables, feature_store, view, key)]
        except (TableMissing, OnlineStoreUnavailable) as absent:
            return check_result(verdicts.unavailable(verdicts.EQUAL, absent))
        return check_result(verdicts.together(verdicts.EQUAL, found))

    return equal


def _compare(tables: TablesResource, store: FeatureStoreResource, view: View, key: str) -> "list[Verdict]":
    from recsys_assets.features import verdicts

    newest = newest_rows(tables, view, key)
    sample = newest.gather_every(max(newest.height // _SAMPLE, 1))
    ids = sample[key].to_list()
    reader = store.reader(view)
    direct = [reader.read(entity, _TIMEOUT_MS) for entity in ids]
    offline = sample.to_dicts()
    bare = sample.drop("event_time").to_dicts()
    named = [None if row is None else {key: entity, **row} for entity, row in zip(ids, direct, strict=True)]
    answered = store.read_online(view, ids).to_dicts()
    return [verdicts.equality(bare, answered, key=key), verdicts.equality(offline, named, key=key)]
