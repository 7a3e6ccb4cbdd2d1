"""What is a breach: each condition of the guard's judgement alone, and a breach that hours of good answers hide.

Here: literal rows and verdicts. Not here: the loop, the route, the lock (test_guard.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest

from recsys_assets.records import Decision, Outcome, Phase, TrafficSplit, Verdict
from recsys_assets.rollout.breaches import EPOCH_SECONDS, epochs, full_verdicts, gateway_verdicts, judge_breach
from recsys_assets.rollout.evidence import ALL_CHECKS, COUNTED, DEGRADED, ERRORS, GUARDRAILS, LATENCY, QUALITY, STABLE
from recsys_assets.rollout.outcomes import Logs
from recsys_assets_tests.rollout.build import Rows, all_pass, crowd, later, route, scope, verdict

LATE = 3_600.0


def judged(
    *verdicts: Verdict, phase: Phase = Phase.CANARY, lease: float = 30, now: float = 10, stable_ready: bool = True
) -> Decision | None:
    state = replace(route(phase, 1), lease=later(lease))
    return judge_breach(state, verdicts, stable_ready=stable_ready, now=later(now))


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.BAKING])
@pytest.mark.parametrize("check", GUARDRAILS)
def test_each_guardrail_that_fails_takes_the_whole_weight(check: str, phase: Phase) -> None:
    decision = judged(*all_pass(**{check: Outcome.FAIL}), phase=phase)
    assert decision is not None
    assert (decision.action, decision.phase) == ("roll_back", Phase.ROLLED_BACK)
    assert (decision.split.canary, decision.split.canary_weight_bp) == (None, 0)
    assert check in decision.reason


@pytest.mark.parametrize("check", ALL_CHECKS)
def test_no_data_is_no_breach(check: str) -> None:
    assert judged(*all_pass(**{check: Outcome.INCONCLUSIVE})) is None
    assert judged() is None


@pytest.mark.parametrize("check", sorted(set(ALL_CHECKS) - set(GUARDRAILS)))
def test_what_speaks_of_routing_logs_or_stable_takes_no_weight(check: str) -> None:
    assert judged(*all_pass(**{check: Outcome.FAIL})) is None


def test_a_verdict_on_another_version_says_nothing() -> None:
    assert judged(verdict(ERRORS, Outcome.FAIL, version="9")) is None
    frozen = judged(verdict(ERRORS, Outcome.FAIL), verdict(STABLE, Outcome.FAIL, version="9"))
    assert frozen is not None
    assert frozen.action == "roll_back"


def test_one_fail_among_two_of_a_name_counts() -> None:
    decision = judged(verdict(ERRORS), verdict(ERRORS, Outcome.FAIL))
    assert decision is not None
    assert decision.phase is Phase.ROLLED_BACK


def test_a_lease_is_over_at_its_last_instant_and_blames_nobody() -> None:
    assert judged(now=29.9) is None
    decision = judged(now=30)
    assert decision is not None
    assert (decision.action, decision.phase, decision.split.canary_weight_bp) == ("roll_back", Phase.HELD, 0)
    assert "lease" in decision.reason


def test_a_breach_after_the_lease_is_still_a_breach() -> None:
    decision = judged(verdict(QUALITY, Outcome.FAIL), now=40)
    assert decision is not None
    assert decision.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("how", ["not ready", "failing"])
@pytest.mark.parametrize("now", [10, 40])
def test_with_stable_broken_too_nobody_gets_all_users_unseen(how: str, now: float) -> None:
    verdicts = [verdict(ERRORS, Outcome.FAIL)] if now == 10 else []
    verdicts += [verdict(STABLE, Outcome.FAIL)] if how == "failing" else []
    decision = judged(*verdicts, now=now, stable_ready=how != "not ready")
    assert decision is not None
    assert (decision.action, decision.phase, decision.split.canary_weight_bp) == ("pause", Phase.CANARY, 2_500)
    assert "call a person" in decision.reason


def test_a_freeze_leaves_the_weight_that_stands_there_even_one_put_there_by_hand() -> None:
    by_hand = TrafficSplit(stable="recommender-v1", canary="recommender-v2", canary_weight_bp=9_000)
    state = replace(route(Phase.CANARY, 1), split=by_hand)
    decision = judge_breach(state, (verdict(ERRORS, Outcome.FAIL),), stable_ready=False, now=later(10))
    assert decision is not None
    assert (decision.action, decision.split) == ("pause", by_hand)


def test_half_a_minute_that_shows_nothing_is_no_news() -> None:
    logs = crowd(900).logs()
    for questions in (gateway_verdicts, full_verdicts):
        assert not [v for v in questions(logs, scope(64)) if v.reason.startswith("since ")]


def breached(logs: Logs, now: float, questions: Callable[..., tuple[Verdict, ...]], **more: Any) -> set[str]:
    return {v.check for v in questions(logs, scope(now, **more)) if v.outcome is Outcome.FAIL}


@cache
def long_day() -> Logs:
    """An hour of good answers, two of three by stable: one minute, sixty times."""
    rows = Rows()
    for i in range(1_000):
        rows.ask(f"g{i}", "canary" if i % 3 == 0 else "stable", 3 + i * 0.057, clicks=["a"])
    minute = rows.logs()
    return Logs(*(pl.concat([_after(frame, n) for n in range(60)]) for frame in vars(minute).values()))


def _after(frame: pl.DataFrame, minutes: int) -> pl.DataFrame:
    names = [n for n in ("request_id", "visitor_id", "user_id", "event_id") if n in frame.columns]
    times = [n for n in ("served_at", "received_at") if n in frame.columns]
    moved = [pl.col(n) + f".{minutes}" for n in names] + [pl.col(n) + timedelta(minutes=minutes) for n in times]
    return frame.with_columns(moved)


def late(visits: int = 600, **canary: Any) -> Logs:
    """After a long good time, so many visits in 20 s, of which the canary answers its third otherwise."""
    bad, clicks = Rows(), canary.pop("clicks", ["a"])
    for i in range(visits):
        visitor, at = f"b{i}", LATE + 20 * i / visits
        if i % 3 == 0:
            bad.ask(visitor, "canary", at, clicks=clicks, **canary)
        else:
            bad.ask(visitor, "stable", at, clicks=["a"])
    both = zip(vars(long_day()).values(), vars(bad.logs()).values(), strict=True)
    return Logs(*(pl.concat([good, worse]) for good, worse in both))


@pytest.mark.parametrize(
    ("check", "questions", "harm"),
    [
        (ERRORS, gateway_verdicts, {"status": 500}),
        (LATENCY, gateway_verdicts, {"ms": 300.0}),
        (DEGRADED, full_verdicts, {"rung": "popular"}),
        (QUALITY, full_verdicts, {"clicks": []}),
    ],
)
def test_a_breach_after_a_long_good_time_is_seen_by_its_own_half_minute(
    check: str, questions: Callable[..., tuple[Verdict, ...]], harm: dict[str, Any]
) -> None:
    found = [v for v in questions(late(**harm), scope(LATE + 24)) if v.outcome is Outcome.FAIL]
    assert {v.check for v in found} == {check}
    # Not so by all of the canary's rows; but no failure at all, and then these, is many times as often, however long.
    assert check == ERRORS or all(v.reason.startswith("since ") for v in found)
    assert breached(late(), LATE + 24, questions) == set()


@pytest.mark.parametrize(("visits", "enough"), [(240, False), (600, True)])
def test_a_few_visitors_of_one_half_minute_are_not_enough_for_quality(visits: int, enough: bool) -> None:
    found = [v for v in full_verdicts(late(visits, clicks=[]), scope(LATE + 24)) if v.outcome is Outcome.FAIL]
    own = f"since {later(LATE).isoformat(timespec='seconds')}"
    assert any(v.reason.startswith(own) for v in found) is enough


def test_at_full_weight_errors_are_held_against_what_stable_did_before() -> None:
    rows = Rows()
    for i in range(2_000):
        rows.ask(f"g{i}", "canary" if i % 2 else "stable", 3 + i / 100)
    for i in range(9_000):
        rows.ask(f"h{i}", "canary", 40 + i / 100)
    for i in range(120):
        rows.ask(f"b{i}", "canary", 132 + i / 30, status=500 if i % 2 else 200)
    weights = [(0.0, 5_000), (35.0, 10_000)]
    assert breached(rows.logs(), 138, gateway_verdicts, weights=weights) == {ERRORS}
    assert breached(rows.logs(), 130, gateway_verdicts, weights=weights) == set()


def test_epochs_begin_with_the_second_and_spend_a_twentieth_of_alpha_however_long_it_takes() -> None:
    assert epochs(scope(0, weights=[(0, 0)])) == []
    assert epochs(scope(EPOCH_SECONDS - 1)) == []
    spent = {e.weights[0].since: e.plan.alpha for n in range(1, 400) for e in epochs(scope(n * EPOCH_SECONDS))}
    assert sorted(spent) == [later(n * EPOCH_SECONDS) for n in range(1, 400)]
    assert 0.9 < sum(spent.values()) / (scope().plan.alpha / 20) < 1


def test_an_epoch_keeps_the_weights_in_force_and_forgets_what_was_before() -> None:
    of = scope(95, weights=[(0, 1_000), (50, 2_500), (80, 5_000)], history_seconds=600)
    before, now = epochs(of)
    assert [(w.since, w.weight_bp) for w in before.weights] == [(later(60), 2_500), (later(80), 5_000)]
    assert [(w.since, w.weight_bp) for w in now.weights] == [(later(90), 5_000)]
    assert before.plan.history_seconds == 0


def test_rows_of_an_earlier_release_are_not_looked_at() -> None:
    bad = crowd(900, share=0.5, canary_clicks=0.0, status=lambda i: 500 if i % 3 == 0 else 200)
    good = crowd(900, share=0.5)
    for row in (*good.gateway, *good.exposures):
        row["served_at"] += timedelta(seconds=100)
        row["request_id"] = "n" + row["request_id"]
    for row in good.feedback:
        row["received_at"] += timedelta(seconds=100)
        row["request_id"] = "n" + row["request_id"]
        row["event_id"] = "n" + row["event_id"]
    both = Rows(bad.gateway + good.gateway, bad.exposures + good.exposures, bad.feedback + good.feedback).logs()
    for questions in (gateway_verdicts, full_verdicts):
        assert breached(both, 164, questions, weights=[(90.0, 5_000)]) == set()
        assert breached(both, 164, questions) != set()


def test_answers_of_another_version_are_not_this_canarys_quality() -> None:
    logs = crowd(1_200, canary_clicks=0.0, version="9").logs()
    assert logs.gateway is not None
    assert breached(logs, 70, full_verdicts) == set()
    assert breached(crowd(1_200, canary_clicks=0.0).logs(), 70, full_verdicts) == {QUALITY}


def test_counting_that_is_broken_is_not_judged_by_the_guard() -> None:
    names = {v.check for q in (gateway_verdicts, full_verdicts) for v in q(crowd(300).logs(), scope())}
    assert names == {*GUARDRAILS, STABLE}
    assert COUNTED not in names
