"""The contract: each rule passes, fails with file, row, column and value, and has no opinion without data.

Here: pure rules over literal rows. Not here: files on disk (test_reader.py), Dagster (test_assets.py).
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from recsys_assets.interactions.contract import (
    EXAMPLES,
    FILE,
    Rule,
    Violation,
    judge_duplicates,
    judge_rows,
    judge_volume,
    missing_columns,
)
from recsys_assets.interactions.files.opening import ROW
from recsys_assets_tests.interactions.sources import MONDAY, NOW, TUESDAY, csv_source, data_settings

GOOD = ("007", "x1", "2024-01-01T10:00:00Z", "4")


def raw(*rows: tuple[str | None, str | None, str | None, str | None]) -> pl.DataFrame:
    names = ("user_id", "item_id", "event_time", "value")
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.with_row_index(ROW, offset=1)


def judge(
    *rows: tuple[str | None, str | None, str | None, str | None], day: date | None = MONDAY, **data: object
) -> list[Violation]:
    settings = data_settings(**data)
    return judge_rows(raw(*rows), settings.interactions, settings, file="a.csv", day=day, now=NOW)[1]


def told(found: list[Violation]) -> list[tuple[Rule, int | None, str | None, str | None]]:
    return [(v.rule, v.row, v.column, v.value) for v in found]


def test_good_rows_break_nothing_and_keep_their_leading_zeros() -> None:
    settings = data_settings()
    rows, found = judge_rows(raw(GOOD), settings.interactions, settings, file="a.csv", day=MONDAY, now=NOW)
    assert found == []
    assert rows.select("user_id", "day", "value").row(0) == ("007", MONDAY, 4.0)


def test_a_file_without_rows_breaks_no_rule_about_rows() -> None:
    assert judge() == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((None, "x1", "2024-01-01T10:00:00Z", "4"), (Rule.NULL, 2, "who", None)),
        (("7", "", "2024-01-01T10:00:00Z", "4"), (Rule.NULL, 2, "what", "")),
        (("7", "x1", None, "4"), (Rule.NULL, 2, "when", None)),
        (("7", "x1", "yesterday", "4"), (Rule.TYPE, 2, "when", "yesterday")),
        (("7", "x1", "2024-01-01T10:00:00Z", "many"), (Rule.TYPE, 2, "stars", "many")),
        (("7", "x1", "2024-01-01T10:00:00Z", "6"), (Rule.RANGE, 2, "stars", "6.0")),
        (("7", "x1", "2024-01-01T10:00:00Z", "inf"), (Rule.RANGE, 2, "stars", "inf")),
        (("7", "x1", "2024-01-02T00:00:00Z", "4"), (Rule.FUTURE, 2, "when", "2024-01-02T00:00:00+00:00")),
        (("7", "x1", "2023-12-31T23:59:59Z", "4"), (Rule.OTHER_DAY, 2, "when", "2023-12-31T23:59:59+00:00")),
    ],
)
def test_a_bad_row_is_named_by_row_column_rule_and_value(
    row: tuple[str | None, ...], expected: tuple[Rule, int, str, str | None]
) -> None:
    assert told(judge(GOOD, row)) == [expected]  # type: ignore[arg-type]


def test_an_offset_counts_when_the_day_is_told() -> None:
    late_in_new_york = ("7", "x1", "2024-01-01T20:00:00-05:00", "4")  # 01:00 on Tuesday in UTC
    assert told(judge(late_in_new_york)) == [(Rule.FUTURE, 1, "when", "2024-01-02T01:00:00+00:00")]


def test_in_a_whole_log_the_future_begins_when_it_is_read() -> None:
    assert judge(GOOD, day=None) == []
    assert told(judge(("7", "x1", "2024-06-01T00:00:01Z", "4"), day=None))[0][:3] == (Rule.FUTURE, 1, "when")


def test_a_value_may_be_absent_and_no_range_may_be_set() -> None:
    assert judge(("7", "x1", "2024-01-01T10:00:00Z", None)) == []
    assert judge(("7", "x1", "2024-01-01T10:00:00Z", "99"), interactions=csv_source(value_range=None)) == []


def test_a_share_of_nulls_within_the_limit_is_left_out_and_not_blamed() -> None:
    settings = data_settings(max_null_share=0.5)
    rows, found = judge_rows(
        raw(GOOD, (None, *GOOD[1:])), settings.interactions, settings, file="a.csv", day=MONDAY, now=NOW
    )
    assert (rows.height, found) == (1, [])


def test_a_column_shifted_by_one_is_found_in_each_column() -> None:
    shifted = ("x1", "2024-01-01T10:00:00Z", "4", "007")
    assert {(v.rule, v.column) for v in judge(shifted)} == {(Rule.TYPE, "when"), (Rule.RANGE, "stars")}


def test_many_bad_rows_are_counted_and_the_first_ones_named() -> None:
    found = judge(*[("7", "x1", "never", "4")] * 25)
    assert [v.row for v in found] == list(range(1, EXAMPLES + 1))
    assert {v.total for v in found} == {25}


def test_a_missing_column_is_named_as_the_file_should_have_it() -> None:
    source = csv_source()
    assert missing_columns(list(source.columns), source, "a.csv", ["who"]) == []
    assert [(v.rule, v.column) for v in missing_columns(["user_id", "item_id", "value"], source, "a.csv", [])] == [
        (Rule.SCHEMA, "when")
    ]


def events(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    """(file, row, user, item), all at one time."""
    frame = pl.DataFrame(list(rows), schema=[FILE, ROW, "user_id", "item_id"], orient="row")
    return frame.with_columns(event_time=pl.lit(NOW), day=pl.lit(NOW.date()), event_type=pl.lit(None, pl.String))


def test_the_first_copy_of_an_event_stays_and_the_second_is_blamed() -> None:
    data = data_settings()
    rows, found = judge_duplicates(
        events(("a", 1, "u", "i"), ("a", 2, "u", "j"), ("b", 1, "u", "i")), data.interactions, data
    )
    assert rows.select(FILE, ROW).rows() == [("a", 1), ("a", 2)]
    assert [(v.file, v.row, v.rule, v.column) for v in found] == [("b", 1, Rule.DUPLICATE, "who, what, when")]


def test_few_duplicates_are_left_out_and_not_blamed() -> None:
    data = data_settings(max_duplicate_share=0.5)
    rows, found = judge_duplicates(events(("a", 1, "u", "i"), ("a", 2, "u", "i")), data.interactions, data)
    assert (rows.height, found) == (1, [])
    assert judge_duplicates(events().cast({FILE: pl.String}), data.interactions, data)[1] == []


def test_a_day_is_compared_with_the_days_before_it() -> None:
    data = data_settings(min_volume_ratio=0.5, max_volume_ratio=2.0)
    before = {MONDAY - timedelta(days=n): 100 for n in (1, 2, 40)}
    assert judge_volume({MONDAY: 100}, before, data)[0] == {}
    wrong, _ = judge_volume({MONDAY: 49, TUESDAY: 201}, before, data)
    assert {day: rule for day, (rule, _) in wrong.items()} == {MONDAY: Rule.VOLUME, TUESDAY: Rule.VOLUME}


def test_the_first_day_is_not_compared_and_says_so() -> None:
    wrong, basis = judge_volume({MONDAY: 5, TUESDAY: 5}, {}, data_settings())
    assert wrong == {}
    assert basis == {MONDAY: "first day: nothing before it", TUESDAY: "median 5 of 1 days before"}


def test_days_long_ago_still_are_a_yardstick() -> None:
    wrong, _ = judge_volume({MONDAY: 1}, {MONDAY - timedelta(days=400): 1000}, data_settings())
    assert wrong[MONDAY][0] is Rule.VOLUME


def test_a_day_without_events_is_wrong_even_as_the_first_unless_allowed() -> None:
    assert judge_volume({MONDAY: 0}, {}, data_settings())[0][MONDAY][0] is Rule.EMPTY
    assert judge_volume({MONDAY: 0}, {}, data_settings(min_volume_ratio=0))[0] == {}
