"""What happens while nobody looks: days are taken in and a release moves on, also when the daemon is killed.

Here: claims about the running stack. Not here: what a single tick decides (each room's own tests).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets import home
from recsys_assets.platform.local.programs import DAEMON
from recsys_assets.records import Phase
from recsys_assets.rollout.ledger import OPENED, ReleaseRow
from recsys_assets.traffic.background import replaying
from recsys_assets_tests.journeys import town
from recsys_assets_tests.journeys.dagster_api import DagsterApi, in_time
from recsys_assets_tests.journeys.house import Story
from recsys_assets_tests.platform.homes import running_programs
from recsys_assets_tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]
SENSORS = {"new_days_sensor", "catalogue_sensor", "features_sensor", "canary_sensor", "drift_sensor", "automation"}
SENSOR_TAG = "dagster/sensor_name"
RUN_ACTOR = "dagster run "
CHALLENGER = ("training_rows", "candidate_index", "ranker_model", "evaluation_report", "challenger_service")
ONE_TICK: Mapping[str, Any] = {"ops": {"shadow_comparison": {"config": {"until": "one_tick"}}}}


def days_of(story: Story, table: str) -> set[Any]:
    return set(story.tables.days(table))


def make(story: Story, *assets: str, config: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
    """Materialize these assets in this process, as a person would from the UI."""
    job = story.stage.definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=story.stage.instance,
        asset_selection=[dg.AssetKey(name) for name in assets],
        run_config=dict(config or {}),
        raise_on_error=False,
    )


def newest_release(story: Story) -> ReleaseRow:
    return story.ledger.releases()[-1]


def daemon_pid(story: Story) -> int | None:
    state = running_programs(story.settings).get(DAEMON)
    return state.pid if state and state.state == "RUNNING" else None


@pytest.fixture(scope="module")
def arrived(story: Story, running: DagsterApi) -> date:
    """A day whose file landed, and which nobody but the sensor asked for; there once its features are."""
    day = town.SECOND_AS_OF
    assert day not in days_of(story, "interactions")
    town.land(story.settings.home, day)
    in_time(lambda: day in days_of(story, "user_features"), what=f"{day} in user_features")
    in_time(lambda: day in days_of(story, "item_features"), what=f"{day} in item_features")
    return day


@pytest.fixture(scope="module")
def served_online(story: Story, running: DagsterApi, arrived: date) -> str:
    """Id of the run that brought the day's features to the online store; a challenger is trained meanwhile."""
    before = set(running.runs_that_made("online_features"))
    assert make(story, *CHALLENGER).success
    made = in_time(lambda: set(running.runs_that_made("online_features")) - before, what="the day in the online store")
    return made.pop()


@pytest.fixture(scope="module")
def moved(story: Story, running: DagsterApi, served_online: str) -> ReleaseRow:
    """A release that nobody opened, while the daemon was killed; users come, and its row once users see it."""
    challenger = story.registry.challenger()
    assert challenger is not None
    in_time(lambda: newest_release(story).version == challenger.version, what="a release of its own")
    release = newest_release(story)
    killed = daemon_pid(story)
    assert killed is not None
    os.kill(killed, 9)
    in_time(lambda: daemon_pid(story) not in {None, 0, killed}, what="the daemon again")
    before_users = {Phase.GATED, Phase.SHADOW}
    with replaying(story.settings):
        # At once: with more visitors it would go on to its end, and nobody could roll it back.
        eventually(lambda: newest_release(story).phase not in before_users, what=f"{release} moved on")
    return newest_release(story)


def test_all_sensors_run_and_none_of_their_ticks_failed(running: DagsterApi) -> None:
    def ticked() -> dict[str, Any] | None:
        sensors = running.sensors()
        return sensors if all(sensor["ticks"] for sensor in sensors.values()) else None

    sensors = in_time(ticked, what="a tick of every sensor")
    assert set(sensors) == SENSORS
    assert {sensor["status"] for sensor in sensors.values()} == {"RUNNING"}
    ticks = [tick for sensor in sensors.values() for tick in sensor["ticks"]]
    assert [tick["error"]["message"] for tick in ticks if tick["error"]] == []


def test_a_new_day_is_taken_in_up_to_its_features_without_a_call(
    story: Story, running: DagsterApi, arrived: date
) -> None:
    landed = town.events().filter(pl.col("day") == arrived)
    assert story.tables.read("interactions").filter(pl.col("day") == arrived).height == landed.height
    rows = story.tables.read("user_features").filter(pl.col("day") == arrived)
    assert set(rows["user_id"]) == set(landed["user_id"])
    [made, *_] = running.runs_that_made("interactions")
    ended = running.end_of(made)
    assert ended["status"] == "SUCCESS"
    assert (ended["jobName"], ended["tags"][SENSOR_TAG]) == ("ingest", "new_days_sensor")


def test_the_new_day_reaches_the_online_store_without_a_call(running: DagsterApi, served_online: str) -> None:
    assert running.run(served_online)["tags"][SENSOR_TAG] == "automation"


def test_a_challenger_that_passed_its_gates_is_released_without_a_call(
    story: Story, running: DagsterApi, moved: ReleaseRow
) -> None:
    [opened] = [event for event in story.ledger.events(moved.release_id) if event.kind == OPENED]
    assert opened.actor.startswith(RUN_ACTOR)
    assert running.run(opened.actor.removeprefix(RUN_ACTOR))["tags"][SENSOR_TAG] == "automation"


def test_a_release_is_moved_on_by_the_sensor_of_a_daemon_that_was_killed(
    story: Story, running: DagsterApi, moved: ReleaseRow
) -> None:
    assert moved.phase in {Phase.CANARY, Phase.BAKING, Phase.CHAMPION}
    advancing = [running.run(each["runId"]) for each in running.latest_runs() if each["jobName"] == "advance_release"]
    assert advancing
    assert {run["tags"].get(SENSOR_TAG) for run in advancing} == {"canary_sensor"}
    assert moved.actor.startswith(RUN_ACTOR)


def test_the_release_knows_the_day_that_came_by_itself(story: Story, arrived: date, moved: ReleaseRow) -> None:
    known_until = story.registry.get(moved.version).as_of
    assert known_until == datetime.combine(arrived + timedelta(days=1), time(), UTC)


def test_a_digest_that_a_person_rolled_back_is_not_released_again(story: Story, moved: ReleaseRow) -> None:
    command = [str(Path(sys.executable).with_name("recsys-assets")), "rollback", moved.release_id]
    command += ["--why", "the journey ends here", "--who", "a tester"]
    told = subprocess.run(
        command, env=os.environ | home.environment(story.settings), capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    after = newest_release(story)
    assert (after.phase, after.actor) == (Phase.ROLLED_BACK, "a tester")
    story.registry.set_alias("challenger", moved.version)
    refused = make(story, "shadow_comparison", config=ONE_TICK)
    assert not refused.success
    [failure] = [event for event in refused.all_events if event.is_step_failure]
    assert moved.release_id in str(failure.event_specific_data)
    assert "rolled back" in str(failure.event_specific_data)
    assert newest_release(story) == after


def test_the_champion_before_it_has_all_of_the_traffic_again(story: Story, moved: ReleaseRow) -> None:
    champion = story.registry.champion()
    assert champion is not None
    assert champion.version != moved.version
    route = story.stage.platform.get("VirtualService", story.settings.model_name)
    assert route is not None
    given = {r["destination"]["host"]: r["weight"] for r in route["spec"]["http"][0]["route"] if r["weight"]}
    assert given == {champion.service_name: 10_000}
