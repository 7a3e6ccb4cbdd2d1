"""The holdout in time and its segments, on a table of six events.

Here: splits.py. Not here: metrics.
"""

from datetime import UTC, datetime

import polars as pl

from recsys_assets.evaluation.splits import LONG_TAIL, NEW_USERS, WARM_USERS, slice_truths, split


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


EVENTS = pl.DataFrame(
    [
        ("ann", "a", day(1)),  # past
        ("ann", "a", day(3)),  # nowhere: she had it before
        ("ann", "b", day(3)),  # truth, exactly at the cut
        ("ann", "b", day(4)),  # the same pair again: once in the truth
        ("bob", "a", day(4)),  # truth of a new user
        ("bob", "c", day(5)),  # at as_of: nowhere
    ],
    schema={"user_id": pl.String, "item_id": pl.String, "event_time": pl.Datetime("us", "UTC")},
    orient="row",
)


def test_the_cut_belongs_to_the_test_and_as_of_does_not() -> None:
    holdout = split(EVENTS, cut=day(3), as_of=day(5), max_users=10)
    assert holdout.past.rows() == [("ann", "a", day(1))]
    assert holdout.truth.rows() == [("ann", "b"), ("bob", "a")]
    assert holdout.users == ["ann", "bob"]


def test_no_event_of_the_test_is_known_before_the_cut() -> None:
    holdout = split(EVENTS, cut=day(3), as_of=day(5), max_users=10)
    newest = holdout.past["event_time"].max()
    assert isinstance(newest, datetime)
    assert newest < holdout.cut


def test_a_sample_of_users_is_the_same_for_any_order_of_the_events() -> None:
    events = pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(50)], "item_id": "a", "event_time": day(4)}, schema=EVENTS.schema
    )
    one = split(events, cut=day(3), as_of=day(5), max_users=7)
    other = split(events.reverse(), cut=day(3), as_of=day(5), max_users=7)
    assert len(one.users) == 7
    assert one.users == other.users


def test_segments_split_the_users_and_keep_only_the_tail() -> None:
    truth = pl.DataFrame({"user_id": ["ann", "ann", "bob"], "item_id": ["a", "b", "a"]})
    found = slice_truths(truth, known_users=["ann"], head_items=["a"])
    assert found[NEW_USERS].rows() == [("bob", "a")]
    assert found[WARM_USERS].rows() == [("ann", "a"), ("ann", "b")]
    assert found[LONG_TAIL].rows() == [("ann", "b")]
