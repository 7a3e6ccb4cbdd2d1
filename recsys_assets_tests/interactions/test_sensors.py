"""The sensors: new content asks for one run, bad and running content for none.

Here: the shells over real files, tables and an instance. Not here: the pure decision (test_arrivals.py).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.interactions.assets import build_assets, build_jobs
from recsys_assets.interactions.partitions import daily
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.interactions.sensors import ARRIVAL_TAG, MAX_ATTEMPTS, RANGE_END, RANGE_START, build_sensors
from recsys_assets.interactions.survey import intake_lines
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.sources import MONDAY, TUESDAY, WEDNESDAY, good_rows, settings_with, write


class Harness:
    """The room with stand-ins for the features room's two assets; `tick` asks, `run` does what was asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inbox = settings.home / "inbox"
        self.instance = dg.DagsterInstance.ephemeral()
        policy = {"partitions_def": daily(settings), "backfill_policy": dg.BackfillPolicy.single_run()}

        @dg.asset(deps=["interactions"], **policy)  # type: ignore[arg-type]
        def user_features() -> None: ...

        @dg.asset(deps=["interactions"], **policy)  # type: ignore[arg-type]
        def item_features() -> None: ...

        self.defs = dg.Definitions(
            assets=[*build_assets(settings), user_features, item_features],
            jobs=build_jobs(settings),
            sensors=build_sensors(settings),
            resources={"tables": TablesResource(root=str(settings.path("tables")))},
        )

    def tick(self, sensor: str = "new_days_sensor") -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.defs.get_repository_def(),
            resources={"tables": TablesResource(root=str(self.settings.path("tables")))},
        )
        result = self.defs.resolve_sensor_def(sensor).evaluate_tick(context)
        self.said = result.skip_message or ""
        return list(result.run_requests or [])

    def skipped(self) -> str:
        """Why the tick asks for nothing."""
        assert self.tick() == []
        return self.said

    def run(self, request: dg.RunRequest, job: str = "ingest") -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=request.partition_key, tags=request.tags, raise_on_error=False
        )


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(settings_with(tmp_path))


def test_days_that_come_at_once_take_one_run_and_then_none(harness: Harness) -> None:
    assert harness.tick() == []
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY))
    (request,) = harness.tick()
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-01-01", "2024-01-02")
    assert harness.run(request).success
    assert harness.tick() == []


def test_a_single_new_day_is_a_run_of_its_partition(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    (request,) = harness.tick()
    assert request.partition_key == "2024-01-01"
    assert harness.run(request).success
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY, 4))
    (changed,) = harness.tick()
    assert changed.run_key != request.run_key


def test_a_file_outside_the_partitions_asks_for_nothing(harness: Harness) -> None:
    write(harness.inbox, "2025-01-01.csv", *good_rows(date(2025, 1, 1)))
    assert harness.tick() == []


def test_a_quarantined_content_is_not_asked_for_again_but_its_neighbours_reach_features(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", ",x,2024-01-02T01:00:00Z,3")
    write(harness.inbox, "2024-01-03.csv", *good_rows(WEDNESDAY))
    (everything,) = harness.tick()
    assert not harness.run(everything).success
    asked = harness.tick()
    assert [request.partition_key for request in asked] == ["2024-01-01", "2024-01-03"]
    assert all(harness.run(request).success for request in asked)
    assert harness.tick() == []
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY))
    assert [request.partition_key for request in harness.tick()] == ["2024-01-02"]


def in_state(harness: Harness, status: dg.DagsterRunStatus, tags: dict[str, str]) -> Any:
    return harness.instance.create_run_for_job(harness.defs.resolve_job_def("ingest"), status=status, tags=tags)


def test_a_day_in_flight_is_not_asked_for(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY))
    in_state(harness, dg.DagsterRunStatus.STARTED, {"dagster/partition": "2024-01-01"})
    assert [request.partition_key for request in harness.tick()] == ["2024-01-02"]


def test_a_run_that_died_is_asked_for_again_only_so_often(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    keys = []
    for _ in range(MAX_ATTEMPTS):
        (request,) = harness.tick()
        keys.append(request.run_key)
        in_state(harness, dg.DagsterRunStatus.FAILURE, {ARRIVAL_TAG: request.tags[ARRIVAL_TAG]})
    assert len(set(keys)) == MAX_ATTEMPTS
    assert harness.tick() == []


def test_items_and_users_are_asked_for_when_their_files_change(tmp_path: Path) -> None:
    users = {"path": "{home}/users.csv", "id_column": "id"}
    harness = Harness(settings_with(tmp_path, users=users))
    assert harness.tick("catalogue_sensor") == []
    write(harness.settings.home, "users.csv", "1", header="id")
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.run(harness.tick()[0]).success
    (request,) = harness.tick("catalogue_sensor")
    assert harness.run(request, "catalogue").success
    assert harness.tick("catalogue_sensor") == []
    write(harness.settings.home, "users.csv", "1", "2", header="id")
    assert len(harness.tick("catalogue_sensor")) == 1


def test_one_quiet_day_of_a_log_is_not_asked_for_again_and_its_neighbours_reach_features(harness: Harness) -> None:
    write(harness.inbox, "log.csv", *good_rows(MONDAY), *good_rows(WEDNESDAY))
    (everything,) = harness.tick()
    assert not harness.run(everything).success
    asked = harness.tick()
    assert [request.partition_key for request in asked] == ["2024-01-01", "2024-01-03"]
    assert all(harness.run(request).success for request in asked)
    assert harness.tick() == []


def test_the_tick_names_what_it_cannot_read_and_status_says_it_too(harness: Harness) -> None:
    harness.inbox.mkdir(parents=True)
    (harness.inbox / "log.csv").write_bytes("who,what,when,stars\n".encode("utf-16"))
    (harness.inbox / "2024-01-02.csv").symlink_to("/nowhere/2024-01-02.csv")
    told = harness.skipped()
    assert "1 files, 0 days arrived, none new" in told
    assert "log.csv: unreadable: UTF-16: convert the file to UTF-8" in told
    assert "2024-01-02.csv: unreadable: a link to /nowhere/2024-01-02.csv, which is not there" in told
    (kept,) = read_quarantine(harness.settings.home)
    assert kept.file == f"{harness.inbox}/log.csv"
    lines = intake_lines(harness.settings.home)
    assert lines[0].startswith("interactions, since 20")
    assert any("UTF-16" in line for line in lines)
    write(harness.inbox, "log.csv", *good_rows(MONDAY))
    (harness.inbox / "2024-01-02.csv").unlink()
    assert len(harness.tick()) == 1
    assert intake_lines(harness.settings.home) == []


def test_both_sensors_run_from_the_start(harness: Harness) -> None:
    assert {s.default_status for s in build_sensors(harness.settings)} == {dg.DefaultSensorStatus.RUNNING}
