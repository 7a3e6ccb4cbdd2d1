"""The as-of join and what becomes of old rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.columns import UTC_TIME
from recsys_assets.features.as_of_join import expire_row, expire_windows, join_as_of, newest

SCHEMA = {"user_id": pl.String, "event_time": UTC_TIME}


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


def ask(*rows: tuple[str, datetime]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_a_row_gets_the_newest_features_that_its_moment_could_know():
    joined = join_as_of(ask(("ann", at(9)), ("bob", at(4)), ("ann", at(4, 23))), FEATURES, key="user_id")
    assert joined["events_7d"].to_list() == [2, 9, 1]
    assert joined["feature_time"].to_list() == [at(5), at(3), at(2)]


def test_a_feature_row_is_known_at_its_own_moment_and_not_before():
    joined = join_as_of(ask(("ann", at(5)), ("ann", at(5) - timedelta(microseconds=1))), FEATURES, key="user_id")
    assert joined["events_7d"].to_list() == [2, 1]


def test_rows_without_earlier_features_are_kept_with_nulls_in_their_place():
    asked = ask(("ann", at(9)), ("cid", at(9)), ("ann", at(1)), ("bob", at(9)))
    joined = join_as_of(asked, FEATURES, key="user_id")
    assert joined.select("user_id", "event_time").equals(asked)
    assert joined["events_7d"].to_list() == [2, None, None, 9]


def test_columns_of_two_joins_are_told_apart_by_their_prefix():
    joined = join_as_of(ask(("ann", at(9))), FEATURES, key="user_id", prefix="user_")
    assert joined.columns == ["user_id", "event_time", "user_feature_time", "user_events_7d"]
    with pytest.raises(ValueError, match="are in both frames: give a prefix"):
        join_as_of(join_as_of(ask(("ann", at(9))), FEATURES, key="user_id"), FEATURES, key="user_id")


def test_no_rows_and_no_features_join_to_nothing_and_to_nulls():
    assert join_as_of(ask(), FEATURES, key="user_id").height == 0
    assert join_as_of(ask(("ann", at(9))), FEATURES.clear(), key="user_id")["events_7d"].to_list() == [None]


def test_newest_takes_each_keys_last_row_up_to_a_moment():
    assert newest(FEATURES, key="user_id", at=at(4))["events_7d"].to_list() == [1, 9]
    assert newest(FEATURES, key="user_id", at=at(2))["user_id"].to_list() == ["ann"]


rows_of = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 15), st.integers(0, 23)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(rows_of, rows_of)
def test_the_join_is_what_a_loop_over_all_feature_rows_finds(asked, known):
    features = pl.DataFrame(
        [(user, at(day), i) for i, (user, day) in enumerate({(u, d) for u, d, _ in known})],
        schema={**SCHEMA, "value": pl.Int64},
        orient="row",
    )
    rows = ask(*((user, at(day, hour)) for user, day, hour in asked))
    expected = []
    for user, moment in rows.iter_rows():
        earlier = [(t, v) for u, t, v in features.iter_rows() if u == user and t <= moment]
        expected.append(max(earlier)[1] if earlier else None)
    joined = join_as_of(rows, features, key="user_id")
    assert joined["value"].to_list() == expected
    assert joined.select("user_id", "event_time").equals(rows)


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
    joined = join_as_of(ask(("cid", at(9))), FEATURES, key="user_id")
    assert expire_windows(joined, "event_time")["events_7d"].to_list() == [None]


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
