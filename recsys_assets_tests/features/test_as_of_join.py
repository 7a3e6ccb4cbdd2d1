"""The as-of join and what becomes of old rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.columns import UTC_TIME
from recsys_assets.features.as_of_join import FEATURE_TIME, expire_row, expire_windows, newest

SCHEMA = {"user_id": pl.String, "event_time": UTC_TIME}
TIME = {"feature_time": UTC_TIME}


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


# ann's row of the 1st is known from midnight of the 2nd, that of the 4th from the 5th; bob has one from the 3rd.
FEATURES = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob"],
        "event_time": [at(2), at(5), at(3)],
        "day": [at(1).date(), at(4).date(), at(2).date()],
        "events_7d": [1, 2, 9],
    },
    schema_overrides={"event_time": UTC_TIME},
)


def known(moment: datetime) -> list[tuple[object, ...]]:
    return newest(FEATURES, key="user_id", at=moment).select("user_id", "events_7d", FEATURE_TIME).rows()


def test_each_key_has_the_newest_features_that_the_moment_could_know():
    assert known(at(9)) == [("ann", 2, at(5)), ("bob", 9, at(3))]
    assert known(at(4, 23)) == [("ann", 1, at(2)), ("bob", 9, at(3))]


def test_a_feature_row_is_known_at_its_own_moment_and_not_before():
    assert known(at(5))[0] == ("ann", 2, at(5))
    assert known(at(5) - timedelta(microseconds=1))[0] == ("ann", 1, at(2))


def test_a_key_without_an_earlier_row_has_none():
    assert known(at(2)) == [("ann", 1, at(2))]
    assert known(at(1)) == []


rows_of = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 15)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(rows_of, st.integers(1, 15), st.integers(0, 23))
def test_the_newest_rows_are_what_a_loop_over_all_feature_rows_finds(rows, day, hour):
    features = pl.DataFrame(
        [(user, at(known_on), i) for i, (user, known_on) in enumerate(set(rows))],
        schema={**SCHEMA, "value": pl.Int64},
        orient="row",
    )
    moment, expected = at(day, hour), dict[str, tuple[datetime, int]]()
    for user, time, value in features.iter_rows():
        if time <= moment:
            expected[user] = max(expected.get(user, (time, value)), (time, value))
    found = newest(features, key="user_id", at=moment)
    assert found.select("user_id", "event_time", "value").rows() == [(u, *expected[u]) for u in sorted(expected)]


# At midnight of the 2nd: one event today, three in the week, six in the month.
OLD = {"events_1d": 1, "users_7d": 2, "share_7d": 0.5, "events_7d": 3, "events_30d": 6, "events_90d": 6}
OLD |= {"age_days": 4.0, "trend": 0.0}


def expired(moment: datetime) -> dict[str, object]:
    frame = pl.DataFrame([{**OLD, "feature_time": at(2)}], schema_overrides={"feature_time": UTC_TIME})
    return expire_windows(frame, moment).row(0, named=True)


def test_at_its_own_moment_a_row_is_what_it_was():
    now = expired(at(2))
    assert {name: now[name] for name in OLD if name != "trend"} == {n: v for n, v in OLD.items() if n != "trend"}
    assert now["days_since_last"] == 0


def test_a_window_is_empty_once_it_lies_wholly_behind():
    assert expired(at(2, 23))["events_1d"] == 1
    assert expired(at(3))["events_1d"] == 0
    week_later = expired(at(9))
    assert (week_later["events_7d"], week_later["users_7d"], week_later["share_7d"]) == (0, 0, 0.0)
    assert week_later["events_30d"] == 6


def test_trend_follows_the_expired_counts_and_ages_grow():
    week_later = expired(at(9, 12))
    assert week_later["trend"] == pytest.approx(log(1 / (6 * 7 / 30 + 1)))
    assert (week_later["age_days"], week_later["days_since_last"]) == (11.5, 7.5)


def test_never_seen_is_not_zero():
    nothing = pl.DataFrame({"events_7d": [None], "feature_time": [None]}, schema={"events_7d": pl.Int64, **TIME})
    assert expire_windows(nothing, at(9))["events_7d"].to_list() == [None]


counts = st.none() | st.integers(0, 10_000)


@settings(max_examples=100, deadline=None)
@given(st.tuples(counts, counts, counts, counts), st.none() | st.floats(0, 1), st.integers(0, 100 * 86_400 * 10**6))
def test_one_row_in_the_server_expires_exactly_as_a_column_in_training(events, share, microseconds):
    values = dict(zip(("events_1d", "events_7d", "events_30d", "events_90d"), events, strict=True))
    values |= {"share_30d": share, "days_since_first": 3.5, "mean_value": 2.0, "trend": 1.0, "recent_items": ["A"]}
    moment = at(2) + timedelta(microseconds=microseconds)
    types = {n: pl.Int64 for n in values if n.startswith("events")} | {
        "share_30d": pl.Float64,
        "feature_time": UTC_TIME,
    }
    frame = pl.DataFrame([{**values, "feature_time": at(2)}], schema_overrides=types)
    column = expire_windows(frame, moment).drop("feature_time").row(0, named=True)
    assert expire_row(values, feature_time=at(2), at=moment) == column
