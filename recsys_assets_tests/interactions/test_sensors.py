"""The sensors: new content asks for one run, bad and running content for none.

Here: the shells over real files, tables and an instance. Not here: the pure decision (test_arrivals.py).
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.interactions.sensors import RANGE_END, RANGE_START, build_sensors
from recsys_assets.interactions.survey import intake_lines
from recsys_assets.resources.attempts import WAITS, WORK_TAG
from recsys_assets_tests.interactions.harness import Harness
from recsys_assets_tests.interactions.sources import MONDAY, TUESDAY, WEDNESDAY, good_rows, settings_with, write


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
    assert changed.tags[WORK_TAG] != request.tags[WORK_TAG]


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


def died(harness: Harness, request: dg.RunRequest, status: dg.DagsterRunStatus) -> Any:
    tags = {**request.tags, "dagster/partition": request.partition_key or ""}
    return in_state(harness, status, tags)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_died_is_asked_for_again_later_each_time_and_only_so_often(
    harness: Harness, status: dg.DagsterRunStatus
) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    for wait in (*WAITS, timedelta(days=9)):
        (request,) = harness.tick()
        died(harness, request, status)
        assert harness.tick() == []
        assert f"ended with {status.value}" in harness.words
        harness.wait(seconds=wait.total_seconds() + 1)
    assert harness.tick() == []
    assert "try 5 of 5" in harness.words
    assert "start one by hand" in harness.words


def test_a_run_that_was_deleted_is_asked_for_again(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    for _ in range(3):
        (request,) = harness.tick()
        harness.instance.delete_run(died(harness, request, dg.DagsterRunStatus.FAILURE).run_id)
    assert len(harness.tick()) == 1


def test_a_run_that_a_dead_daemon_left_behind_does_not_hold_its_day_for_ever(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    died(harness, harness.tick()[0], dg.DagsterRunStatus.NOT_STARTED)
    assert harness.tick() == []
    harness.wait(minutes=11)
    assert len(harness.tick()) == 1


def stored(harness: Harness) -> int:
    return harness.tables.read("interactions").height


def test_a_day_that_comes_back_is_stored_again_however_often(harness: Harness) -> None:
    for count in (3, 4, 3, 4, 3):
        write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY, count))
        assert harness.rounds() == [True]
        assert stored(harness) == count


def test_a_bad_day_between_two_good_ones_ends_with_the_good_one(harness: Harness) -> None:
    for rows in (good_rows(MONDAY), [",x,2024-01-01T01:00:00Z,3"], good_rows(MONDAY)):
        write(harness.inbox, "2024-01-01.csv", *rows)
        harness.rounds()
    assert stored(harness) == 3
    assert "quarantine" not in harness.words


def test_a_file_that_was_refused_under_a_wrong_name_is_taken_under_the_right_one(harness: Harness) -> None:
    wrong = write(harness.inbox, "2024-01-02.csv", *good_rows(MONDAY))
    assert harness.rounds() == [False]
    wrong.rename(harness.inbox / "2024-01-01.csv")
    assert harness.rounds() == [True]
    assert stored(harness) == 3


def test_a_day_whose_features_failed_after_it_was_repaired_is_asked_for_again(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.rounds() == [True]
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY, 5))
    (request,) = harness.tick()
    table = harness.settings.path("tables", "user_features")
    table.rename(table.with_name("aside"))
    table.write_text("a full disk")
    assert not harness.run(request).success
    table.unlink()
    table.with_name("aside").rename(table)
    harness.wait(minutes=1)
    assert harness.rounds() == [True]
    rows = harness.tables.read("user_features")
    assert sorted(rows["user_id"]) == ["000", "001", "002", "003", "004"]


def test_a_table_that_was_lost_is_made_again(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.rounds() == [True]
    shutil.rmtree(harness.settings.path("tables", "interactions"))
    harness.wait(minutes=1)
    assert harness.rounds() == [True]
    assert stored(harness) == 3


def test_other_limits_judge_a_refused_day_anew(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path))
    write(harness.inbox, "2024-01-01.csv", ",x,2024-01-01T01:00:00Z,3", *good_rows(MONDAY))
    assert harness.rounds() == [False]
    assert harness.tick() == []
    harness.use(settings_with(tmp_path, max_null_share=0.5))
    assert harness.rounds() == [True]
    assert stored(harness) == 3


def test_a_day_that_was_refused_beside_a_wrong_day_is_judged_anew_when_that_one_is_repaired(harness: Harness) -> None:
    flood = [f"u,x{n},2024-01-01T00:00:00Z,3" for n in range(300)]
    write(harness.inbox, "2024-01-01.csv", *flood)
    assert harness.rounds() == [True]
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY, 3))
    assert harness.rounds() == [False]
    assert harness.tick() == []
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY, 3))
    harness.wait(minutes=1)
    assert harness.rounds() == [True, True]
    assert stored(harness) == 6


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
