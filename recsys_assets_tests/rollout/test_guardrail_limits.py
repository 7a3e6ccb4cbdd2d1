"""Each guardrail at its limits: ratios and increases of errors, quantiles of latency, users as the unit."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from recsys_assets.records import LatencyLimit, Outcome, Verdict
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.evidence import DEGRADED, ERRORS, LATENCY, STABLE
from recsys_assets.rollout.guardrails import errors
from recsys_assets_tests.rollout.build import Rows, crowd, later, scope


def judged(rows: Rows, check: str, **changes: Any) -> Verdict:
    return next(v for v in judge(rows.logs(), scope(**changes)) if v.check == check)


def failing(n: int, canary: float, stable: float, **changes: Any) -> Rows:
    """`n` visitors, one request each; every so many-th request of an arm fails."""
    rows = crowd(n, **changes)
    seen = {"canary": 0, "stable": 0}
    for row in rows.gateway:
        rate, number = {"canary": canary, "stable": stable}[row["variant"]], seen[row["variant"]]
        seen[row["variant"]] += 1
        if int((number + 1) * rate) > int(number * rate):
            row |= {"status": 503, "model_version": None, "rung": None}
    return rows


def test_three_times_the_errors_fail_by_the_ratio_long_before_two_percent_more_do() -> None:
    found = judged(failing(16_000, 0.015, 0.005), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert "more than 1.25 times" in found.reason


def test_as_many_errors_on_both_sides_pass() -> None:
    assert judged(failing(16_000, 0.005, 0.005), ERRORS).outcome is Outcome.PASS


def test_a_plan_that_allows_the_ratio_lets_it_pass() -> None:
    assert judged(failing(16_000, 0.015, 0.005), ERRORS, max_error_rate_ratio=4.0).outcome is Outcome.PASS


def test_a_ratio_that_is_half_way_to_being_shown_does_not_pass() -> None:
    found = judged(failing(10_000, 0.008, 0.003), ERRORS)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "perhaps more than" in found.reason


@pytest.mark.parametrize(
    ("failures", "outcome"),
    [(4, Outcome.PASS), (5, Outcome.INCONCLUSIVE), (9, Outcome.INCONCLUSIVE), (10, Outcome.FAIL)],
)
def test_a_ratio_says_nothing_of_a_handful_of_failures(failures: int, outcome: Outcome) -> None:
    rows = failing(8_000, failures / 4_000, 0.0)
    assert judged(rows, ERRORS).outcome is outcome


def test_harm_that_is_shown_stays_shown_where_the_ratio_only_leans_to_it() -> None:
    # Nine failures are too few for the ratio, and nine of thirty far more than two in a hundred above none of 600.
    rows = failing(630, 9 / 30, 0.0, share=30 / 630)
    found = judged(rows, ERRORS)
    assert found.outcome is Outcome.FAIL
    assert found.reason.startswith("9 of 30 on canary")


def test_a_few_healthy_answers_show_no_limit_to_be_kept() -> None:
    # 120 stable answers are enough for its quantile; what 30 of the canary's could hide is not bounded yet.
    few = crowd(150, share=0.2)
    assert judged(few, ERRORS).outcome is judged(few, LATENCY).outcome is Outcome.INCONCLUSIVE


def requests(n: int, failures: int) -> pl.DataFrame:
    """`n` requests of each arm as guardrails.py gets them; the first so many of the canary's failed, a minute apart."""
    number = pl.Series(range(2 * n)).cast(pl.String)
    return pl.DataFrame(
        {"request_id": number, "visitor_id": number, "variant": ["canary"] * n + ["stable"] * n}
    ).with_columns(
        weight_bp=pl.lit(5_000),
        status=pl.lit(503),
        failed=pl.int_range(2 * n) < failures,
        served_at=pl.lit(later(0)) + pl.duration(minutes=pl.int_range(2 * n) % n),
    )


@pytest.mark.parametrize(("n", "outcome"), [(20_001, Outcome.PASS), (20_000, Outcome.FAIL), (19_999, Outcome.FAIL)])
def test_many_times_next_to_nothing_is_next_to_nothing(n: int, outcome: Outcome) -> None:
    # Ten failures against none are shown to be more; whether that is 0.0005 of the requests more decides.
    assert errors(crowd(100).logs(), scope(), requests(n, 10)).outcome is outcome


def test_fewer_errors_than_stable_are_never_held_against_the_canary() -> None:
    assert judged(failing(8_000, 0.002, 0.02), ERRORS).outcome is Outcome.PASS


def test_one_user_who_fails_again_and_again_counts_for_less_than_many() -> None:
    many = failing(6_000, 0.02, 0.005)
    one = failing(6_000, 0.02, 0.005)
    for row in one.gateway:
        if row["status"] == 503:
            row["visitor_id"] = f"unlucky {row['variant']}"
    assert judged(many, ERRORS).outcome is Outcome.FAIL
    assert judged(one, ERRORS).outcome is not Outcome.FAIL


def test_requests_of_nobody_known_are_each_a_cluster_of_its_own() -> None:
    rows = failing(6_000, 0.02, 0.005)
    for row in rows.gateway:
        row["visitor_id"] = None
    assert judged(rows, ERRORS).outcome is Outcome.FAIL


def test_an_increase_is_a_breach_without_any_ratio() -> None:
    found = judged(failing(8_000, 0.52, 0.42), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert "times" not in found.reason


@pytest.mark.parametrize("arm", ["canary", "stable"])
def test_errors_of_one_arm_alone_compare_nothing(arm: str) -> None:
    rows = crowd(1_000)
    for row in rows.gateway:
        if row["variant"] != arm:
            row["status"] = 404
    assert judged(rows, ERRORS).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("quantile", "ratio", "ms", "outcome"),
    [
        (0.5, 1.5, lambda i: 60.0, Outcome.FAIL),  # twice the median of 30
        (0.5, 3.0, lambda i: 60.0, Outcome.PASS),
        (0.95, 1.5, lambda i: 60.0 if i % 8 == 0 else 30.0, Outcome.FAIL),  # one in eight is beyond the 95th
        (0.95, 1.5, lambda i: 60.0 if i % 100 == 0 else 30.0, Outcome.PASS),
    ],
)
def test_a_plan_may_limit_any_quantile(quantile: float, ratio: float, ms: Any, outcome: Outcome) -> None:
    rows = crowd(4_000, ms=ms)
    for row in rows.gateway:
        if row["variant"] == "stable":
            row["duration_ms"] = 30.0
    limits = (LatencyLimit(quantile=quantile, max_ratio=ratio),)
    found = judged(rows, LATENCY, latency_limits=limits, max_p99_ratio=100.0)
    assert found.outcome is outcome, found.reason
    assert f"p{quantile * 100:g}_canary_ms" in {m.name for m in found.measurements}


def test_stalls_of_stables_own_hide_a_slow_canary_from_the_p99_but_not_from_the_p90() -> None:
    # Three in a hundred of stable's answers met a stall of 300 ms: its p99 is 300, its p90 still 30.
    rows = crowd(4_000, ms=lambda i: 400.0 if i % 3 == 0 else 30.0)
    stable = [row for row in rows.gateway if row["variant"] == "stable"]
    for number, row in enumerate(stable):
        row["duration_ms"] = 300.0 if number % 33 == 0 else 30.0
    assert judged(rows, LATENCY, max_p99_ratio=2.0).outcome is not Outcome.FAIL
    most = (LatencyLimit(quantile=0.9, max_ratio=2.0),)
    assert judged(rows, LATENCY, max_p99_ratio=2.0, latency_limits=most).outcome is Outcome.FAIL


def test_one_quantile_too_slow_is_enough_and_one_unproven_one_leaves_it_open() -> None:
    rows = crowd(4_000, ms=60.0)
    for row in rows.gateway:
        if row["variant"] == "stable":
            row["duration_ms"] = 30.0
    half, far = LatencyLimit(quantile=0.5, max_ratio=1.5), LatencyLimit(quantile=0.9999, max_ratio=5.0)
    assert judged(rows, LATENCY, latency_limits=(half, far), max_p99_ratio=3.0).outcome is Outcome.FAIL
    assert judged(rows, LATENCY, latency_limits=(far,), max_p99_ratio=3.0).outcome is Outcome.INCONCLUSIVE
    assert judged(rows, LATENCY, max_p99_ratio=3.0).outcome is Outcome.PASS


@pytest.mark.parametrize(("n", "judged_at_all"), [(198, False), (200, True)])
def test_the_tail_needs_a_hundred_answers_of_stable(n: int, judged_at_all: bool) -> None:
    found = judged(crowd(n, ms=400.0), LATENCY)
    assert (found.outcome is Outcome.FAIL) is judged_at_all


def test_answers_below_the_floor_are_never_slow() -> None:
    assert judged(crowd(4_000, ms=24.9), LATENCY).outcome is Outcome.PASS
    assert judged(crowd(4_000, ms=25.1), LATENCY).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "bad",
    [{"rung": lambda i: "popular" if i % 5 == 0 else "full"}, {"items": lambda i: [] if i % 5 == 0 else ["a"]}],
)
def test_lower_rungs_and_empty_answers_are_each_caught(bad: dict[str, Any]) -> None:
    assert judged(crowd(3_000, **bad), DEGRADED).outcome is Outcome.FAIL


def test_unknown_users_excuse_a_lower_rung_and_not_an_empty_answer() -> None:
    excused = crowd(3_000, rung=lambda i: "popular" if i % 5 == 0 else "full", flags=("unknown_user",))
    assert judged(excused, DEGRADED).outcome is Outcome.PASS
    empty = crowd(3_000, rung="popular", flags=("unknown_user",), items=lambda i: [] if i % 5 == 0 else ["a"])
    assert judged(empty, DEGRADED).outcome is Outcome.FAIL


@pytest.mark.parametrize(("share", "outcome"), [(0.09, Outcome.PASS), (0.25, Outcome.FAIL)])
def test_stable_is_broken_when_shown_to_fail_more_than_one_in_ten(share: float, outcome: Outcome) -> None:
    assert judged(failing(3_000, 0.0, share), STABLE).outcome is outcome


def test_failures_of_stable_that_are_over_break_nothing() -> None:
    rows = crowd(3_000)
    for row in rows.gateway[:1_000]:
        if row["variant"] == "stable":
            row["status"] = 503
    assert judged(rows, STABLE).outcome is Outcome.PASS
