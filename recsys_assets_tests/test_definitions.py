"""The whole graph assembled: without a warning, without a file, and with parts that fit each other by name.

Here: what no room can see alone. Not here: what any asset does.
"""

from __future__ import annotations

import warnings

import dagster as dg
import pytest

from recsys_assets.definitions import build_defs
from recsys_assets.drift.sensors import ONE_TICK, RELEASE_JOB
from recsys_assets.settings import Settings


@pytest.fixture
def defs(settings: Settings) -> dg.Definitions:
    return build_defs(settings)


def test_assembling_warns_of_nothing_and_makes_no_file(settings: Settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assembled = build_defs(settings)
        assembled.get_repository_def().load_all_definitions()
    assert not settings.home.exists()


def test_what_a_drift_asks_for_is_what_the_release_takes(defs: dg.Definitions) -> None:
    assert dg.validate_run_config(defs.resolve_job_def(RELEASE_JOB), ONE_TICK)


def test_everything_that_starts_runs_by_itself_is_on_from_the_start(defs: dg.Definitions) -> None:
    sensors = {each.name: each.default_status for each in defs.sensors or []}
    schedules = {each.name: each.default_status for each in defs.schedules or []}
    assert set(sensors) == {
        "new_days_sensor",
        "catalogue_sensor",
        "features_sensor",
        "drift_sensor",
        "canary_sensor",
        "automation",
    }
    drill = schedules.pop("weekly_drill_schedule")  # real users would meet it
    assert drill is dg.DefaultScheduleStatus.STOPPED
    assert set(schedules) == {"collect_feedback_schedule"}
    assert set(sensors.values()) == {dg.DefaultSensorStatus.RUNNING}
    assert set(schedules.values()) == {dg.DefaultScheduleStatus.RUNNING}


def test_every_asset_says_what_it_is_and_every_dependency_is_an_asset(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert [node.key.to_user_string() for node in nodes if not node.is_materializable] == []
    assert [node.key.to_user_string() for node in nodes if not node.description] == []


def test_days_are_taken_in_by_a_job_that_is_partitioned_by_day(defs: dg.Definitions) -> None:
    partitions = defs.resolve_job_def("ingest").partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
