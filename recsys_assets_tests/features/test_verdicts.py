"""Each gate of the room passes, fails, and says INCONCLUSIVE without data."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from recsys_assets.features.verdicts import COMPLETE, coverage, equality, freshness, together
from recsys_assets.records import Outcome

MON, TUE = date(2024, 1, 1), date(2024, 1, 2)


def pairs(*rows: tuple[str, date]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "day": pl.Date}, orient="row")


@pytest.mark.parametrize(
    ("features", "events", "outcome"),
    [
        (TUE, TUE, Outcome.PASS),
        (MON, TUE, Outcome.FAIL),
        (TUE, MON, Outcome.FAIL),
        (None, TUE, Outcome.INCONCLUSIVE),
        (TUE, None, Outcome.INCONCLUSIVE),
    ],
)
def test_features_are_fresh_when_they_reach_the_newest_day_of_events(features, events, outcome):
    assert freshness(features, events).outcome is outcome


def test_coverage_passes_when_each_user_with_events_has_the_days_row():
    events = pairs(("ann", MON), ("ann", MON), ("bob", TUE))
    assert coverage(events, pairs(("ann", MON), ("bob", TUE)), key="user_id").passed


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (pairs(("ann", MON)), "1 user_id and day pairs without a row, such as bob on 2024-01-02"),
        (pairs(("ann", MON), ("bob", TUE), ("cid", MON)), "without events, such as cid on 2024-01-01"),
        (pairs(("ann", MON), ("bob", TUE), ("bob", TUE)), "with several rows, such as bob on 2024-01-02"),
    ],
)
def test_coverage_fails_and_names_a_pair(features, said):
    verdict = coverage(pairs(("ann", MON), ("bob", TUE)), features, key="user_id")
    assert verdict.outcome is Outcome.FAIL
    assert said in verdict.reason


def test_a_day_on_which_nobody_had_events_is_told_and_may_have_no_rows():
    ann = pairs(("ann", MON))
    verdict = coverage(ann, ann, key="user_id", empty_days=[TUE])
    assert verdict.passed
    assert "nobody had events on 1 days by the record, such as 2024-01-02" in verdict.reason
    made_up = coverage(ann, pairs(("ann", MON), ("ann", TUE)), key="user_id", empty_days=[TUE])
    assert made_up.outcome is Outcome.FAIL
    assert coverage(pairs(), pairs(), key="user_id", empty_days=[TUE]).outcome is Outcome.INCONCLUSIVE


def test_coverage_without_events_or_without_features_proves_nothing():
    assert coverage(pairs(), pairs(("ann", MON)), key="user_id").outcome is Outcome.INCONCLUSIVE
    assert coverage(pairs(("ann", MON)), pairs(), key="user_id").outcome is Outcome.INCONCLUSIVE


ANN = {"user_id": "ann", "events_1d": 2, "mean_value": None, "recent_times": [1.5, 2.5]}


def test_online_equals_offline_value_by_value():
    assert equality([ANN], [dict(ANN)], key="user_id").passed
    assert equality([{"x": float("nan")}], [{"x": float("nan")}], key="x").passed


@pytest.mark.parametrize("wrong", [{"events_1d": 3}, {"mean_value": 0.0}, {"recent_times": [1.5]}])
def test_one_differing_value_fails_and_is_named(wrong):
    verdict = equality([ANN, ANN], [ANN, ANN | wrong], key="user_id")
    assert verdict.outcome is Outcome.FAIL
    assert next(iter(wrong)) in verdict.reason


def test_a_missing_online_row_or_value_is_a_difference():
    assert equality([ANN], [None], key="user_id").outcome is Outcome.FAIL
    assert equality([ANN], [{"user_id": "ann"}], key="user_id").outcome is Outcome.FAIL


def test_nothing_to_compare_proves_nothing():
    assert equality([], [], key="user_id").outcome is Outcome.INCONCLUSIVE
    assert equality([ANN], [], key="user_id").outcome is Outcome.INCONCLUSIVE
    assert together(COMPLETE, []).outcome is Outcome.INCONCLUSIVE


def test_the_worst_of_several_verdicts_is_the_verdict():
    good, bad, unknown = freshness(MON, MON), freshness(MON, TUE), freshness(None, None)
    assert together(COMPLETE, [good, good]).passed
    assert together(COMPLETE, [good, unknown]).outcome is Outcome.INCONCLUSIVE
    assert together(COMPLETE, [unknown, bad, good]).outcome is Outcome.FAIL
