"""Windows, worked out by hand on a handful of events, and the laws that hold for any events."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import log

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.columns import INTERACTIONS
from recsys_assets.features.windows import (
    item_feature_rows,
    item_schema,
    trend_windows,
    user_feature_batches,
    user_schema,
)
from recsys_assets.settings import FeatureSettings
from recsys_assets_tests.features.rows import user_feature_rows

WINDOWS = FeatureSettings(windows_days=(1, 7, 30), recent_items=3)
JAN = {d: date(2024, 1, d) for d in range(1, 32)}


def events(*rows: tuple[str, str, int, int, float | None]) -> pl.DataFrame:
    """(user, item, day of January, hour, value)"""
    return pl.DataFrame(
        [
            {"user_id": u, "item_id": i, "event_time": datetime(2024, 1, d, h, tzinfo=UTC), "day": JAN[d], "value": v}
            for u, i, d, h, v in rows
        ],
        schema={name: dtype for name, dtype in INTERACTIONS.items() if name != "event_type"},
    ).with_columns(event_type=pl.lit("view"))


# ann watches A and B on the 1st, A again on the 5th, and C on the 12th; bob watches A on the 5th only.
FIVE = events(
    ("ann", "A", 1, 9, 4.0), ("ann", "B", 1, 10, None), ("ann", "A", 5, 9, 1.0), ("bob", "A", 5, 12, None),
    ("ann", "C", 12, 9, 1.0),
)  # fmt: skip


def row(frame: pl.DataFrame, key: str, entity: str, day: int) -> dict[str, object]:
    return frame.filter(pl.col(key) == entity, pl.col("day") == JAN[day]).row(0, named=True)


def test_a_day_has_rows_only_of_users_with_events_that_day():
    rows = user_feature_rows(FIVE, [JAN[5], JAN[6], JAN[12]], WINDOWS)
    assert rows.select("user_id", "day").rows() == [("ann", JAN[5]), ("ann", JAN[12]), ("bob", JAN[5])]
    assert rows.schema == user_schema(WINDOWS)


def test_a_users_row_counts_what_lies_before_the_midnight_after_its_day():
    ann = row(user_feature_rows(FIVE, [JAN[5]], WINDOWS), "user_id", "ann", 5)
    assert ann["event_time"] == datetime(2024, 1, 6, tzinfo=UTC)
    assert (ann["events_1d"], ann["events_7d"], ann["events_30d"]) == (1, 3, 3)
    assert (ann["distinct_items_1d"], ann["distinct_items_7d"]) == (1, 2)
    assert (ann["events_total"], ann["active_days"], ann["days_since_first"], ann["days_since_previous"]) == (
        3,
        2,
        5,
        4,
    )
    assert ann["mean_value"] == 2.5
    assert ann["recent_items"] == ["A", "B", "A"]
    assert ann["recent_times"] == [
        datetime(2024, 1, d, h, tzinfo=UTC).timestamp() for d, h in ((1, 9), (1, 10), (5, 9))
    ]


def test_an_event_leaves_a_window_after_exactly_its_length():
    ann = row(user_feature_rows(FIVE, [JAN[12]], WINDOWS), "user_id", "ann", 12)
    # The window of seven days before midnight of the 13th begins with the 6th: the 5th is out.
    assert (ann["events_7d"], ann["distinct_items_7d"], ann["events_30d"], ann["distinct_items_30d"]) == (1, 1, 4, 3)
    assert ann["trend"] == pytest.approx(log((1 + 1) / (1 * 1 / 7 + 1))), "of three windows the first two"
    assert ann["recent_items"] == ["B", "A", "C"], "three at most, newest last"


def test_a_user_without_values_or_an_earlier_day_has_nulls_there():
    bob = row(user_feature_rows(FIVE, [JAN[5]], WINDOWS), "user_id", "bob", 5)
    assert (bob["mean_value"], bob["days_since_previous"], bob["days_since_first"]) == (None, None, 1)


def test_an_items_row_holds_its_share_of_all_events_and_its_different_users():
    rows = item_feature_rows(FIVE, [JAN[5]], WINDOWS)
    a = row(rows, "item_id", "A", 5)
    assert rows.height == 1
    assert rows.schema == item_schema(WINDOWS)
    assert (a["events_1d"], a["users_1d"], a["share_1d"]) == (2, 2, 1.0)
    assert (a["events_7d"], a["users_7d"], a["share_7d"]) == (3, 2, 0.75)
    assert (a["age_days"], a["mean_value"], a["events_total"]) == (5, 2.5, 3)


def test_no_events_or_no_days_give_no_rows_of_the_same_schema():
    for interactions, days in ((FIVE.clear(), [JAN[1]]), (FIVE, [JAN[2]]), (FIVE, [])):
        assert user_feature_rows(interactions, days, WINDOWS).equals(user_schema(WINDOWS).to_frame())
        assert item_feature_rows(interactions, days, WINDOWS).equals(item_schema(WINDOWS).to_frame())


def test_batches_hold_every_day_once_in_order_and_the_same_rows():
    days = [JAN[12], JAN[1], JAN[5], JAN[2]]
    batches = list(user_feature_batches(FIVE, days, WINDOWS, most=3))
    assert [some for some, _ in batches] == [[JAN[1], JAN[2]], [JAN[5]], [JAN[12]]]
    together = pl.concat([frame for _, frame in batches]).sort("user_id", "day")
    assert together.equals(user_feature_rows(FIVE, days, WINDOWS))


@pytest.mark.parametrize(("lengths", "compared"), [((1, 7, 30, 90), (7, 30)), ((7, 1, 30), (1, 7)), ((7,), (7, 7))])
def test_trend_compares_the_middle_windows(lengths, compared):
    assert trend_windows(lengths) == compared


any_events = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("ABCD"),
        st.integers(1, 20),
        st.integers(0, 23),
        st.none() | st.floats(-9, 9),
    ),
    min_size=1,
    max_size=40,
)
quick = settings(max_examples=25, deadline=None)


@quick
@given(any_events, st.randoms(use_true_random=False))
def test_one_day_alone_gives_the_rows_that_many_days_at_once_give_whatever_the_order(rows, random):
    all_days = [JAN[d] for d in range(1, 21)]
    shuffled, some_days = events(*random.sample(rows, len(rows))), random.sample(all_days, 6)
    for make, key in ((user_feature_rows, "user_id"), (item_feature_rows, "item_id")):
        at_once = make(events(*rows), all_days, WINDOWS)
        alone = [make(shuffled.filter(pl.col("day") <= day), [day], WINDOWS) for day in some_days]
        wanted = at_once.filter(pl.col("day").is_in(some_days))
        assert pl.concat(alone).sort(key, "day").equals(wanted.sort(key, "day"))


@quick
@given(any_events)
def test_counts_are_those_of_a_plain_filter(rows):
    frame = events(*rows)
    users = user_feature_rows(frame, [JAN[d] for d in range(1, 21)], WINDOWS)
    items = item_feature_rows(frame, [JAN[d] for d in range(1, 21)], WINDOWS)
    for window in WINDOWS.windows_days:
        for got in users.iter_rows(named=True):
            since = got["day"] - timedelta(days=window)
            held = frame.filter(pl.col("user_id") == got["user_id"], pl.col("day") <= got["day"], pl.col("day") > since)
            assert (got[f"events_{window}d"], got[f"distinct_items_{window}d"]) == (
                held.height,
                held["item_id"].n_unique(),
            )
        for got in items.iter_rows(named=True):
            since = got["day"] - timedelta(days=window)
            everything = frame.filter(pl.col("day") <= got["day"], pl.col("day") > since)
            held = everything.filter(pl.col("item_id") == got["item_id"])
            assert (got[f"events_{window}d"], got[f"users_{window}d"]) == (held.height, held["user_id"].n_unique())
            assert got[f"share_{window}d"] == held.height / everything.height
