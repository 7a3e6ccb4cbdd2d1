"""A day whose rows were replaced, or came late, has the features of the days after it made again, once.

Here: the sensor beside `ingest`, over real files, tables and runs, and the law of the decision. Not here: windows.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.features.behind import behind_days
from recsys_assets.features.jobs import build_jobs
from recsys_assets.features.sensors import RANGE_END, RANGE_START, build_sensors
from recsys_assets.resources.attempts import WAITS
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.harness import Harness
from recsys_assets_tests.interactions.sources import MONDAY, TUESDAY, WEDNESDAY, good_rows, settings_with, write

SENSOR = "features_sensor"
Made = dict[str, int]


class WithFeatures(Harness):
    """The room of interactions with the job and the sensor of features."""

    def use(self, settings: Settings) -> None:
        super().use(settings)
        clock = {"clock": lambda: datetime.now(UTC) + self.later}
        more = dg.Definitions(jobs=build_jobs(settings), sensors=build_sensors(settings, **clock))
        self.defs = dg.Definitions.merge(self.defs, more)

    def land(self, day: date, events: int) -> None:
        """So many users with one event each come on this day, and are taken in."""
        write(self.inbox, f"{day}.csv", *good_rows(day, events))
        assert self.rounds() == [True]

    def events_up_to(self, day: date) -> dict[str, int]:
        """By user: the events of the last week as known at the end of this day."""
        rows = self.tables.read("user_features").filter(pl.col("day") == day)
        return dict(rows.select("user_id", "events_7d").iter_rows())

    def makes(self) -> list[bool]:
        return self.rounds(SENSOR, "features")


@pytest.fixture
def harness(tmp_path: Path) -> WithFeatures:
    return WithFeatures(settings_with(tmp_path))


def test_days_that_come_in_order_need_nothing_more(harness: WithFeatures) -> None:
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        harness.land(day, 2)
    assert harness.makes() == []
    assert harness.words == "the features of each day hold the rows of all days before it"


def test_a_day_that_is_repaired_reaches_the_features_of_the_days_after_it(harness: WithFeatures) -> None:
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        harness.land(day, 2)
    before = harness.events_up_to(WEDNESDAY)
    harness.land(MONDAY, 1)
    assert harness.events_up_to(WEDNESDAY) == before, "nobody has asked yet"
    (request,) = harness.tick(SENSOR)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-01-02", "2024-01-03")
    assert harness.makes() == [True]
    after = harness.events_up_to(WEDNESDAY)
    assert {user: before[user] - after[user] for user in before} == {"000": 0, "001": 1}
    assert harness.makes() == []


def test_a_day_that_comes_late_reaches_the_features_of_the_days_after_it(harness: WithFeatures) -> None:
    harness.land(MONDAY, 1)
    harness.land(WEDNESDAY, 1)
    harness.land(TUESDAY, 1)
    assert harness.events_up_to(WEDNESDAY) == {"000": 2}
    assert harness.makes() == [True]
    assert harness.events_up_to(WEDNESDAY) == {"000": 3}
    assert harness.makes() == []


def test_nothing_is_asked_while_days_are_being_taken_in(harness: WithFeatures) -> None:
    harness.land(TUESDAY, 1)
    harness.land(MONDAY, 1)
    harness.instance.create_run_for_job(
        harness.defs.resolve_job_def("ingest"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2024-01-03"},
    )
    assert harness.tick(SENSOR) == []
    assert harness.words == "days are being taken in; features of later days come after them"


def test_a_run_that_failed_is_asked_for_again_after_a_while_and_five_times_at_most(harness: WithFeatures) -> None:
    harness.land(TUESDAY, 1)
    harness.land(MONDAY, 1)
    tries = 0
    for wait in (*WAITS, WAITS[-1]):
        (request,) = harness.tick(SENSOR)
        job = harness.defs.resolve_job_def("features")
        key = {"dagster/run_key": str(request.run_key)}
        run = harness.instance.create_run_for_job(job, tags={**request.tags, **key})
        harness.instance.report_run_failed(run)
        tries += 1
        assert harness.tick(SENSOR) == [], "not at once"
        harness.wait(seconds=wait.total_seconds() + 1)
    assert tries == 5
    assert harness.tick(SENSOR) == []
    assert "try 5 of 5" in harness.words


made = st.dictionaries(st.sampled_from([f"2024-01-0{n}" for n in range(1, 7)]), st.integers(1, 40))


@given(rows=made, views=st.lists(made, min_size=1, max_size=2))
def test_once_the_days_behind_are_made_again_none_is_behind(rows: Made, views: list[Made]) -> None:
    behind = behind_days(rows, views)
    assert behind_days(rows, [view | dict.fromkeys(behind, 41) for view in views]) == []


def test_rows_of_later_days_are_in_no_features_of_earlier_ones() -> None:
    assert behind_days({"2024-01-01": 1, "2024-01-02": 9}, [{"2024-01-01": 2, "2024-01-02": 10}]) == []


def test_a_day_is_behind_when_one_view_is() -> None:
    rows = {"2024-01-01": 9, "2024-01-02": 1}
    assert behind_days(rows, [{"2024-01-01": 10, "2024-01-02": 11}, {"2024-01-01": 10, "2024-01-02": 2}]) == [
        "2024-01-02"
    ]


def test_a_day_whose_own_features_are_missing_or_older_than_its_rows_is_left_to_ingest() -> None:
    rows = {"2024-01-01": 9, "2024-01-02": 5, "2024-01-03": 1}
    assert behind_days(rows, [{"2024-01-01": 10, "2024-01-02": 2}]) == []
