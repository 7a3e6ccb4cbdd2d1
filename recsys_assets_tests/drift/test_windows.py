"""Which rows are compared: windows in event time over a table of few days.

Here: windows.py. Not here: distances.
"""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from recsys_assets.columns import INTERACTIONS
from recsys_assets.drift.windows import Windows, compared
from recsys_assets.settings import DriftSettings

AS_OF = datetime(2026, 1, 11, tzinfo=UTC)
OLD = date(2025, 1, 1)
SETTINGS = DriftSettings(reference_days=3, current_days=2)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def test_without_a_champion_the_newest_days_are_held_against_those_before() -> None:
    assert Windows.of(AS_OF, None, SETTINGS) == Windows(day(6), day(9), day(9), AS_OF)


def test_with_a_champion_the_reference_ends_where_its_knowledge_ends() -> None:
    assert Windows.of(AS_OF, day(5), SETTINGS) == Windows(day(2), day(5), day(9), AS_OF)


def test_the_windows_never_overlap_however_new_the_champion_is() -> None:
    assert Windows.of(AS_OF, day(10), SETTINGS).reference_to == day(9)


def test_each_window_holds_its_first_day_and_not_its_last() -> None:
    days = [date(2026, 1, n) for n in range(1, 13)]
    rows = pl.LazyFrame({"item_id": "a", "day": days, "share_7d": [float(n) for n in range(1, 13)]})
    found = compared("item_features", rows, Windows.of(AS_OF, None, SETTINGS), first_day=OLD)
    assert found.reference["share_7d"].to_list() == [6, 7, 8]
    assert found.current["share_7d"].to_list() == [9, 10]


def test_interactions_are_compared_by_behaviour_and_not_by_identifiers() -> None:
    at = day(9)
    rows = [(u, "a", at + timedelta(hours=h), at.date(), 4.0, "view") for u, h in (("ann", 3), ("ann", 9), ("bob", 20))]
    found = compared(
        "interactions",
        pl.DataFrame(rows, schema=INTERACTIONS, orient="row").lazy(),
        Windows.of(AS_OF, None, SETTINGS),
        first_day=OLD,
    )
    assert found.current.columns == ["value", "event_type", "part_of_day", "events_of_user_in_a_day"]
    assert found.current["part_of_day"].to_list() == ["night", "morning", "evening"]
    assert found.current["events_of_user_in_a_day"].to_list() == [2, 2, 1]
    assert found.reference.is_empty()


def test_what_grows_with_the_age_of_the_log_is_left_out() -> None:
    schema = {
        "user_id": pl.String,
        "day": pl.Date,
        "age_days": pl.Float64,
        "events_7d": pl.Int64,
        "recent_items": pl.List(pl.String),
    }
    found = compared("user_features", pl.LazyFrame(schema=schema), Windows.of(AS_OF, None, SETTINGS), first_day=OLD)
    assert found.current.columns == ["events_7d"]


def test_a_window_that_the_log_has_not_filled_yet_is_left_out() -> None:
    # The reference begins on 6 January and the log on 1 January: 5 days are known, so 7 are still filling.
    schema = {"item_id": pl.String, "day": pl.Date, "events_1d": pl.Int64, "events_5d": pl.Int64, "events_7d": pl.Int64}
    windows = Windows.of(AS_OF, None, SETTINGS)
    found = compared("item_features", pl.LazyFrame(schema=schema), windows, first_day=date(2026, 1, 1))
    assert found.current.columns == ["events_1d", "events_5d"]
