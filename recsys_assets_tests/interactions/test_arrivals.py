"""Arrival: which days have come, which to ask for, and how they are grouped into runs.

Here: pure decisions over literal days. Not here: the sensor's shell (test_sensors.py).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.interactions.arrivals import decide_new_days, group_arrivals
from recsys_assets.interactions.calendar import as_of
from recsys_assets.interactions.days import TABLE
from recsys_assets.interactions.files.datasets import day_in_name
from recsys_assets.interactions.partitions import daily, ranges
from recsys_assets.interactions.sources import SourceFile, arrived_days, list_files
from recsys_assets_tests.interactions.harness import Harness
from recsys_assets_tests.interactions.sources import MONDAY, TUESDAY, WEDNESDAY, good_rows, settings_with, write


def test_a_file_with_a_day_in_its_name_brings_that_day() -> None:
    files = [SourceFile("in/2024-01-01.csv", "a", 1, MONDAY), SourceFile("in/2024-01-03.csv", "c", 1, WEDNESDAY)]
    assert arrived_days(files, {}) == {MONDAY: "a", WEDNESDAY: "c"}


def test_a_whole_log_brings_every_day_of_its_span() -> None:
    log = SourceFile("in/log.csv", "a", 1)
    assert list(arrived_days([log], {"a": (MONDAY, WEDNESDAY)})) == [MONDAY, TUESDAY, WEDNESDAY]


def test_a_log_that_cannot_be_read_brings_no_day() -> None:
    assert arrived_days([SourceFile("in/log.csv", "a", 1)], {"a": None}) == {}


def test_a_second_file_for_a_day_changes_its_digest() -> None:
    one, two = SourceFile("in/2024-01-01-a", "a", 1, MONDAY), SourceFile("in/2024-01-01-b", "b", 1, MONDAY)
    alone, both = arrived_days([one], {})[MONDAY], arrived_days([one, two], {})[MONDAY]
    assert alone == "a" != both == arrived_days([two, one], {})[MONDAY]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("2024-01-01.parquet", MONDAY),
        ("clicks-2024-01-01-part0.csv", MONDAY),
        ("log.csv", None),
        ("2024-13-01.csv", None),
        ("12024-01-011.csv", None),
    ],
)
def test_the_day_in_a_name(name: str, day: date | None) -> None:
    assert day_in_name(name) == day


def test_files_are_listed_once_with_a_digest_of_their_content(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, interactions={"paths": ["{home}/inbox/*.csv", "{home}/inbox/2024*"]})
    write(settings.home / "inbox", "2024-01-02.csv", *good_rows(TUESDAY))
    write(settings.home / "inbox", "2024-01-01.csv", *good_rows(MONDAY))
    first = list_files(settings, settings.data.interactions)
    assert [file.day for file in first] == [MONDAY, TUESDAY]
    write(settings.home / "inbox", "2024-01-01.csv", *good_rows(MONDAY, 4))
    again = list_files(settings, settings.data.interactions)
    assert (again[0].digest != first[0].digest, again[1].digest == first[1].digest) == (True, True)


def test_new_and_changed_days_are_asked_for() -> None:
    arrived = {MONDAY: "a", TUESDAY: "b2", WEDNESDAY: "c"}
    assert decide_new_days(arrived, {MONDAY: "a", TUESDAY: "b1"}, (), {}) == [TUESDAY, WEDNESDAY]


def test_a_day_with_a_run_in_flight_waits() -> None:
    assert decide_new_days({MONDAY: "a", TUESDAY: "b"}, {}, {MONDAY}, {}) == [TUESDAY]


def test_a_content_in_quarantine_is_not_asked_for_until_it_is_replaced() -> None:
    assert decide_new_days({MONDAY: "bad"}, {}, (), {MONDAY: "bad"}) == []
    assert decide_new_days({MONDAY: "good"}, {}, (), {MONDAY: "bad"}) == [MONDAY]


def test_a_content_that_was_refused_for_another_day_is_asked_for() -> None:
    assert decide_new_days({MONDAY: "bad"}, {}, (), {TUESDAY: "bad"}) == [MONDAY]


def test_nothing_arrived_asks_for_nothing() -> None:
    assert decide_new_days({}, {MONDAY: "a"}, (), {}) == []


def test_consecutive_days_take_one_run_and_a_gap_two() -> None:
    arrived = {MONDAY: "a", TUESDAY: "b", date(2024, 1, 5): "e"}
    found = group_arrivals(list(arrived), arrived)
    assert [(one.first, one.last) for one in found] == [(MONDAY, TUESDAY), (date(2024, 1, 5), date(2024, 1, 5))]
    changed = group_arrivals(list(arrived), {**arrived, MONDAY: "a2"})
    assert (changed[0].key != found[0].key, changed[1].key == found[1].key) == (True, True)


@given(st.sets(st.dates(MONDAY, MONDAY + timedelta(days=60))))
def test_ranges_hold_exactly_the_days_and_never_touch(days: set[date]) -> None:
    found = ranges(sorted(days))
    assert {first + timedelta(days=n) for first, last in found for n in range((last - first).days + 1)} == days
    assert all(b[0] - a[1] > timedelta(days=1) for a, b in pairwise(found))


def test_as_of_is_midnight_after_the_newest_day() -> None:
    assert as_of([MONDAY, TUESDAY]) == datetime(2024, 1, 3, tzinfo=UTC)
    with pytest.raises(ValueError, match="no day"):
        as_of([])


def test_partitions_end_before_the_end_date(tmp_path: Path) -> None:
    keys = daily(settings_with(tmp_path)).get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2024-01-01", "2024-01-31", 31)


def test_a_record_of_before_is_read_with_what_it_lacks(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path))
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.rounds() == [True]
    record = harness.tables.read(TABLE)
    harness.tables.overwrite(TABLE, record.drop("rules", "judged_by", "at"))
    assert harness.tick() == []
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY))
    assert harness.rounds() == [True]
    assert harness.tables.read(TABLE)["day"].sort().to_list() == [MONDAY, TUESDAY]
