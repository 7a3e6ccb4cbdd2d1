"""Each guard of the verdicts, alone: the one thing that keeps numbers from being believed, at its own limit.

Here: what mutation testing found untold (benchmarks/mutation_testing.py). Not here: who counts (test_analysis.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from recsys_assets.records import MetricPlan, Outcome, Verdict
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.counting import counted, sample_ratio
from recsys_assets.rollout.evidence import COUNTED, ERRORS, QUALITY, STABLE, unreadable
from recsys_assets.rollout.guardrails import stable_health
from recsys_assets.rollout.outcomes import Logs, gateway_requests
from recsys_assets_tests.rollout.build import Rows, crowd, scope

NOTHING = Logs(None, None, None)


def judged(logs: Logs, check: str, **changes: Any) -> Verdict:
    return next(v for v in judge(logs, scope(**changes)) if v.check == check)


# Whether the sources can carry a verdict


def test_before_the_first_weight_nothing_can_be_read() -> None:
    assert "no user has been sent" in unreadable(crowd(100).logs(), scope(weights=()))


@pytest.mark.parametrize("name", ["gateway", "exposures", "feedback"])
@pytest.mark.parametrize("how", ["cannot be read", "is empty"])
def test_each_source_that_is_needed_must_be_readable_and_not_empty(name: str, how: str) -> None:
    logs = crowd(100).logs()
    bad = replace(logs, **{name: None if how == "cannot be read" else getattr(logs, name).head(0)})
    assert unreadable(bad, scope(), "exposures", "feedback") == f"the {name} log {how}"


@pytest.mark.parametrize("name", ["exposures", "feedback"])
def test_what_is_not_needed_may_be_missing(name: str) -> None:
    assert unreadable(replace(crowd(100).logs(), **{name: None}), scope()) == ""


@pytest.mark.parametrize(("now", "fresh"), [(40.0, True), (40.5, False)])
def test_a_gateway_that_is_silent_for_longer_than_the_lease_is_stale(now: float, fresh: bool) -> None:
    rows = Rows()
    rows.ask("a", "canary", 10)
    rows.ask("b", "stable", 10)
    assert (unreadable(rows.logs(), scope(now)) == "") is fresh
    assert unreadable(rows.logs(), scope(now, lease_seconds=31)) == ""
    assert (unreadable(rows.logs(), scope(now, lease_seconds=1)) == "") is fresh


def test_each_arm_must_be_heard_of_and_stable_need_not_at_full_weight() -> None:
    rows = Rows()
    rows.ask("a", "canary", 10)
    assert unreadable(rows.logs(), scope(20)) == "the gateway has no stable request"
    assert unreadable(rows.logs(), scope(20, weights=[(0, 5_000), (5, 10_000)])) == ""
    other = Rows()
    other.ask("b", "stable", 10)
    assert unreadable(other.logs(), scope(20, weights=[(0, 5_000), (5, 10_000)])) == "the gateway has no canary request"


def test_after_a_new_weight_an_arm_has_its_time_to_be_heard_of() -> None:
    rows = Rows()
    rows.ask("a", "canary", 10)
    rows.ask("b", "stable", 10)
    assert unreadable(rows.logs(), scope(60, weights=[(0, 1_000), (50, 2_500)])) == ""


# Whether it was counted right


@pytest.mark.parametrize(("visitors", "outcome"), [(49, Outcome.INCONCLUSIVE), (50, Outcome.PASS)])
def test_a_ratio_of_a_few_visitors_says_nothing(visitors: int, outcome: Outcome) -> None:
    rows = Rows()
    for i in range(visitors):
        rows.ask(f"v{i}", "canary" if i % 2 else "stable", 3 + i / 2)
    assert sample_ratio(rows.logs(), scope(40)).outcome is outcome


def test_a_ratio_without_a_gateway_says_nothing() -> None:
    assert sample_ratio(NOTHING, scope()).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("missing", ["exposures", "gateway"])
def test_counting_needs_both_logs(missing: str) -> None:
    logs = crowd(300).logs()
    requests = gateway_requests(logs, scope())
    assert counted(replace(logs, **{missing: None}), scope(), requests).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("gone", "outcome"), [(10, Outcome.PASS), (11, Outcome.INCONCLUSIVE)])
@pytest.mark.parametrize("side", ["lost", "declared"])
def test_one_answer_in_a_hundred_may_be_uncounted_on_either_side_and_no_more(
    side: str, gone: int, outcome: Outcome
) -> None:
    rows = crowd(1_000)
    if side == "lost":
        del rows.exposures[:gone]
    else:
        del rows.gateway[:gone]
    logs, of = rows.logs(), scope()
    assert counted(logs, of, gateway_requests(logs, of)).outcome is outcome


def test_servers_that_answered_nothing_prove_no_counting() -> None:
    rows = crowd(300)
    for row in rows.gateway:
        row["status"] = 503
    assert judged(rows.logs(), COUNTED).outcome is Outcome.INCONCLUSIVE
    shadowed = crowd(300)
    for row in shadowed.exposures:
        row["variant"] = "shadow"
    assert judged(shadowed.logs(), COUNTED).outcome is Outcome.INCONCLUSIVE


# Whether stable is fit


@pytest.mark.parametrize(("weights", "outcome"), [([(0, 5_000)], Outcome.INCONCLUSIVE), ([(0, 10_000)], Outcome.PASS)])
def test_a_stable_that_nobody_asked_lately_is_unknown_but_for_full_weight(
    weights: list[tuple[float, int]], outcome: Outcome
) -> None:
    rows = Rows()
    rows.ask("b", "stable", 3)
    for i in range(100):
        rows.ask(f"v{i}", "canary", 34 + i / 4)
    of = scope(60, weights=weights, lease_seconds=600)
    assert stable_health(rows.logs(), of, gateway_requests(rows.logs(), of)).outcome is outcome


def test_a_stable_without_any_log_is_unknown() -> None:
    assert judged(NOTHING, STABLE).outcome is Outcome.INCONCLUSIVE


# Several metrics, and errors


def test_one_metric_that_fails_fails_all_and_one_that_is_open_leaves_all_open() -> None:
    good, bad = crowd(1_600, canary_clicks=0.9), crowd(1_600, canary_clicks=0.1)
    second = MetricPlan(name="again", margin=0.1)
    assert judged(good.logs(), QUALITY, metrics=(second,)).outcome is Outcome.PASS
    assert judged(bad.logs(), QUALITY, metrics=(second,)).outcome is Outcome.FAIL
    assert judged(crowd(300).logs(), QUALITY, metrics=(second,)).outcome is Outcome.INCONCLUSIVE


def test_errors_without_a_gateway_are_unknown_and_carry_no_numbers() -> None:
    found = judged(NOTHING, ERRORS)
    assert (found.outcome, found.measurements) == (Outcome.INCONCLUSIVE, ())


def test_who_nobody_knows_is_no_arrival() -> None:
    rows = crowd(100)
    for row in rows.gateway:
        row["visitor_id"] = None
    logs = rows.logs()
    assert logs.gateway is not None
    assert logs.gateway["visitor_id"].dtype == pl.String
    found = sample_ratio(logs, scope())
    assert (found.outcome, found.measurements[0].n) == (Outcome.INCONCLUSIVE, 0)


def test_without_the_gateways_log_stable_is_not_called_fit_even_at_full_weight() -> None:
    rows = gateway_requests(NOTHING, scope())
    at_full = scope(weights=[(0, 5_000), (30, 10_000)])
    found = stable_health(NOTHING, at_full, rows)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "the gateway log cannot be read")


def test_the_share_of_stables_failures_is_told() -> None:
    logs = crowd(200).logs()
    four = gateway_requests(logs, scope()).filter(pl.col("variant") == "stable").tail(4)
    number, _ = stable_health(logs, scope(), four.with_columns(failed=pl.int_range(4) == 0)).measurements
    assert (number.value, number.n) == (0.25, 4)
