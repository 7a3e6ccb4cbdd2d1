"""The assets and their blocking checks, run by Dagster over real tables and Feast's real store below tmp_path."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from recsys_assets.columns import INTERACTIONS
from recsys_assets.features.assets import build_assets
from recsys_assets.features.checks import build_checks
from recsys_assets.features.online import OnlineReader
from recsys_assets.interactions.days import QUARANTINED, SCHEMA, STORED, TABLE
from recsys_assets.interactions.partitions import daily
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import FeatureSettings, Settings, load_settings

FIRST = date(1997, 9, 20)
FRESH, COMPLETE = "feature_rows_are_fresh", "feature_coverage_is_complete"
TABLES = ("user_features", "item_features")


class World:
    """One project below a folder: its tables, its Dagster instance, and runs over some of its days."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.tables = TablesResource(root=str(home / "tables"))
        self.store = FeatureStoreResource.of(settings)
        self.instance = dg.DagsterInstance.ephemeral()
        self.settings = settings

        @dg.asset(partitions_def=daily(settings))
        def interactions() -> None: ...

        self.defs = dg.Definitions(
            assets=[interactions, *build_assets(settings)],
            asset_checks=build_checks(settings),
            resources={"tables": self.tables, "feature_store": self.store},
        )

    def land(self, *days: int) -> None:
        """Events of ann with A and B, and of bob with A, on each of these days."""
        rows = [
            {"user_id": u, "item_id": i, "event_time": _at(n), "day": _day(n), "value": 3.0, "event_type": "view"}
            for n in days
            for u, i in (("ann", "A"), ("ann", "B"), ("bob", "A"))
        ]
        self.tables.overwrite_days("interactions", pl.DataFrame(rows, schema=INTERACTIONS), [_day(n) for n in days])

    def record(self, day: int, status: str, rows: int) -> None:
        """What the newest attempt at a day came to, as `interactions` writes it down."""
        row = {"day": _day(day), "digest": "d", "status": status, "rows": rows, "files": ["f"], "run_id": "r"}
        frame = pl.DataFrame([dict.fromkeys(SCHEMA) | row], schema=SCHEMA)
        self.tables.overwrite_days(TABLE, frame, [_day(day)])

    def run(self, assets: tuple[str, ...], first: int | None = None, last: int | None = None):
        names = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
        keys = (first, first if last is None else last)
        tags = {name: _day(n).isoformat() for name, n in zip(names, keys, strict=True) if n is not None}
        job = self.defs.resolve_implicit_global_asset_job_def()
        selected = [dg.AssetKey(name) for name in assets]
        return job.execute_in_process(instance=self.instance, asset_selection=selected, tags=tags, raise_on_error=False)


def _day(n: int) -> date:
    return FIRST + timedelta(days=n)


def _at(n: int) -> datetime:
    return datetime.combine(_day(n), datetime.min.time(), tzinfo=UTC) + timedelta(hours=12)


def said(result) -> dict[str, set[bool]]:
    found: dict[str, set[bool]] = {}
    for one in result.get_asset_check_evaluations():
        found.setdefault(one.check_name, set()).add(one.passed)
    return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    settings = load_settings(home=tmp_path)
    return World(tmp_path, settings.model_copy(update={"features": FeatureSettings(windows_days=(1, 7))}))


def test_days_one_by_one_and_all_at_once_give_the_same_table(world):
    world.land(0, 1, 3)
    at_once = world.run(TABLES, 0, 3)
    assert at_once.success
    assert said(at_once) == {FRESH: {True}, COMPLETE: {True}}
    before = {name: world.tables.read(name).sort(pl.nth(0), "day") for name in TABLES}
    assert before["user_features"].height == 6
    for day in (0, 1, 3):
        assert world.run(TABLES, day).success
    for name in TABLES:
        assert world.tables.read(name).sort(pl.nth(0), "day").equals(before[name])


def test_a_day_without_accepted_events_is_refused_and_writes_nothing(world):
    world.land(0)
    assert not world.run(TABLES, 1).success
    assert not any(world.tables.exists(name) for name in TABLES)


def test_a_day_on_which_nobody_did_anything_has_no_rows_and_is_no_failure(world):
    world.land(0)
    assert world.run(TABLES, 0).success
    world.record(1, STORED, 0)
    alone = world.run(TABLES, 1)
    assert alone.success
    assert said(alone) == {FRESH: {True}, COMPLETE: {True}}
    told = [one.description for one in alone.get_asset_check_evaluations() if one.check_name == COMPLETE]
    assert all(f"nobody had events on 1 days by the record, such as {_day(1)}" in text for text in told)
    made = alone.asset_materializations_for_node("user_features")[0].metadata
    assert made["dagster/row_count"].value == 0
    assert made["days_without_events"].value == [_day(1).isoformat()]
    assert world.tables.read("user_features").height == 2


def test_events_that_are_taken_back_take_their_rows_with_them(world):
    world.land(0, 1)
    assert world.run(TABLES, 0, 1).success
    world.tables.overwrite_days("interactions", pl.DataFrame(schema=INTERACTIONS), [_day(1)])
    world.record(1, STORED, 0)
    assert said(world.run(TABLES, 0))[COMPLETE] == {False}, "day 1 still has rows of nobody's events"
    assert said(world.run(TABLES, 1)) == {FRESH: {True}, COMPLETE: {True}}


@pytest.mark.parametrize(("status", "rows"), [(QUARANTINED, 0), (QUARANTINED, 3), (STORED, 3)])
def test_a_day_that_is_in_quarantine_or_whose_rows_are_gone_is_refused(world, status, rows):
    world.land(0)
    world.record(1, status, rows)
    assert not world.run(TABLES, 1).success
    assert not any(world.tables.exists(name) for name in TABLES)


def test_an_empty_first_day_proves_nothing_yet(world):
    world.tables.overwrite_days("interactions", pl.DataFrame(schema=INTERACTIONS), [_day(0)])
    world.record(0, STORED, 0)
    assert said(world.run(TABLES, 0)) == {FRESH: {False}, COMPLETE: {False}}
    assert world.tables.read("user_features").is_empty()


def test_features_behind_the_events_fail_the_freshness_check(world):
    world.land(0, 1)
    behind = world.run(TABLES, 0)
    assert said(behind)[FRESH] == {False}
    assert said(world.run(TABLES, 1))[FRESH] == {True}


def test_a_day_that_was_left_out_fails_the_coverage_check(world):
    world.land(0, 1)
    assert said(world.run(TABLES, 1))[COMPLETE] == {False}
    assert said(world.run(TABLES, 0))[COMPLETE] == {True}


def test_other_windows_take_effect_when_all_days_are_made_anew(world, tmp_path):
    world.land(0, 1)
    assert world.run(TABLES, 0, 1).success
    wider = world.settings.model_copy(update={"features": FeatureSettings(windows_days=(1, 14))})
    later = World(tmp_path, wider)
    assert not later.run(TABLES, 1).success, "a table must not hold rows of two kinds"
    assert later.run(TABLES, 0, 1).success
    assert "events_14d" in later.tables.read("user_features").columns


def test_the_online_store_holds_the_newest_rows_and_its_check_sees_a_changed_value(world):
    world.land(0, 1)
    assert world.run(TABLES, 0, 1).success
    written = world.run(("online_features",))
    assert said(written) == {"online_values_equal_offline_values": {True}}
    row = OnlineReader(world.store.online_path).read_user("ann", 5_000)
    assert row is not None
    assert (row["events_1d"], row["events_7d"], row["event_time"]) == (2, 4, _at(1) + timedelta(hours=12))

    name = "online_values_equal_offline_values"
    only = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("online_features"), name))
    wrong = world.tables.read("user_features").filter(pl.col("day") == _day(1)).drop("day")
    world.store.write_online("user_features", wrong.with_columns(events_1d=pl.lit(99)))
    job = dg.define_asset_job("only_the_check", selection=only)
    defs = dg.Definitions.merge(world.defs, dg.Definitions(jobs=[job]))
    again = defs.resolve_job_def("only_the_check").execute_in_process(instance=world.instance, raise_on_error=False)
    assert said(again) == {"online_values_equal_offline_values": {False}}
    assert "events_1d" in (again.get_asset_check_evaluations()[0].description or "")


def test_new_features_ask_for_the_online_store_by_themselves_but_only_when_their_checks_passed(world):
    def requested(cursor):
        result = dg.evaluate_automation_conditions(world.defs, world.instance, cursor=cursor)
        return result.get_requested_partitions(dg.AssetKey("online_features")), result.cursor

    found, cursor = requested(None)
    assert not found, "nothing has been computed"
    world.land(0, 1)
    world.run(TABLES, 1)
    found, cursor = requested(cursor)
    assert not found, "the coverage check failed: day 0 is missing"
    world.run(TABLES, 0)
    found, cursor = requested(cursor)
    assert found == {None}
    found, cursor = requested(cursor)
    assert not found, "once is enough"


def test_without_tables_the_checks_fail_and_say_that_they_could_not_look(world):
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    defs = dg.Definitions.merge(world.defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("checks").execute_in_process(instance=world.instance, raise_on_error=False)
    assert set().union(*said(result).values()) == {False}
    outcomes = {one.metadata["outcome"].value for one in result.get_asset_check_evaluations()}
    assert outcomes == {"INCONCLUSIVE"}
