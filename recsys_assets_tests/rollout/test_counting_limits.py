"""Counting and evidence at their limits: who arrives, what is lost or only declared, and how old news may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recsys_assets.records import Outcome, Verdict
from recsys_assets.rollout.counting import SAMPLE_RATIO_ALPHA, counted, sample_ratio
from recsys_assets.rollout.evidence import BURN_IN, STALE_SECONDS, unreadable
from recsys_assets.rollout.outcomes import gateway_requests
from recsys_assets_tests.rollout.build import Rows, crowd, later, scope


def ratio(rows: Rows, **changes: Any) -> Verdict:
    return sample_ratio(rows.logs(), scope(**changes))


def counting(rows: Rows, **changes: Any) -> Verdict:
    of = scope(**changes)
    return counted(rows.logs(), of, gateway_requests(rows.logs(), of))


def arrived(found: Verdict) -> int:
    return next(m.n for m in found.measurements if m.name == "sample_ratio_log_evidence")


# Do visitors arrive as planned


@pytest.mark.parametrize(("n", "outcome"), [(BURN_IN - 1, Outcome.INCONCLUSIVE), (BURN_IN, Outcome.PASS)])
def test_a_split_is_not_judged_before_the_burn_in(n: int, outcome: Outcome) -> None:
    assert ratio(crowd(n)).outcome is outcome


def test_a_visitor_counts_once_however_often_they_ask_and_whatever_comes_of_it() -> None:
    rows = Rows()
    for visitor, variant in (("anna", "canary"), ("bert", "stable")):
        for at in (5, 6, 45):
            rows.ask(visitor, variant, at, status=503)
    assert arrived(ratio(rows)) == 2


def test_visitors_in_the_moment_of_a_new_weight_and_outside_the_split_are_not_counted() -> None:
    rows = Rows()
    for at in (1.9, 2.0, 21.9, 22.0, 42.5):
        rows.ask(f"at {at}", "canary", at)
    rows.ask("copied", "stable", 10)
    rows.gateway[-1]["variant"] = "shadow"
    rows.ask("stable now", "stable", 65)
    found = ratio(rows, weights=[(0, 1_000), (20, 5_000), (40, 10_000)])
    assert arrived(found) == 2


def test_a_mismatch_is_called_where_its_evidence_reaches_the_limit() -> None:
    found = {share: ratio(crowd(1_200, share=share)) for share in (0.5, 0.52, 0.6)}
    assert [found[share].outcome for share in (0.5, 0.52, 0.6)] == [Outcome.PASS, Outcome.PASS, Outcome.INCONCLUSIVE]
    number = found[0.6].measurements[0]
    assert number.high is not None
    assert number.value is not None
    assert number.high == pytest.approx(5.298, abs=0.001)  # log(1 / 0.005)
    assert number.value > number.high
    assert SAMPLE_RATIO_ALPHA == 0.005


# Is every answer counted


@pytest.mark.parametrize(("missing", "outcome"), [(10, Outcome.PASS), (11, Outcome.INCONCLUSIVE)])
@pytest.mark.parametrize("side", ["exposures", "gateway"])
def test_one_in_a_hundred_may_be_lost_or_only_declared(side: str, missing: int, outcome: Outcome) -> None:
    rows = crowd(1_000 + (missing if side == "gateway" else 0))
    del getattr(rows, side)[100 : 100 + missing]
    assert counting(rows).outcome is outcome


def test_failed_requests_have_no_exposure_and_lose_nothing() -> None:
    assert counting(crowd(1_000, status=lambda i: 503 if i % 4 == 0 else 200)).outcome is Outcome.PASS


def test_answers_of_before_the_canary_and_of_this_very_moment_are_not_asked_for() -> None:
    rows = crowd(1_000)
    for at in (-5.0, 69.5):  # one log has them, the other not yet
        for i in range(40):
            rows.ask(f"edge {at} {i}", "stable", at)
            rows.gateway.pop()
            rows.ask(f"other edge {at} {i}", "stable", at)
            rows.exposures.pop()
    assert counting(rows).outcome is Outcome.PASS


def test_an_answer_that_the_gateway_saw_fail_was_not_served() -> None:
    rows = crowd(1_000)
    for row in rows.gateway[:40]:
        row["status"] = 503
    assert counting(rows).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("side", ["exposures", "gateway"])
def test_one_log_with_nothing_of_this_time_proves_nothing(side: str) -> None:
    rows = crowd(1_000)
    for row in getattr(rows, side):
        row["variant"] = "shadow" if side == "exposures" else row["variant"]
        row["status"] = 503
    for row in rows.exposures:
        row.pop("status", None)
    assert counting(rows).outcome is Outcome.INCONCLUSIVE


# Can the sources carry a verdict


@pytest.mark.parametrize(("age", "stale"), [(STALE_SECONDS, False), (STALE_SECONDS + 0.5, True)])
def test_news_older_than_the_limit_are_stale(age: float, stale: bool) -> None:
    rows = Rows()
    rows.ask("anna", "canary", 10)
    rows.ask("bert", "stable", 10)
    assert bool(unreadable(rows.logs(), scope(now=10 + age))) is stale


def test_a_longer_lease_allows_older_news() -> None:
    rows = Rows()
    rows.ask("anna", "canary", 10)
    rows.ask("bert", "stable", 10)
    assert not unreadable(rows.logs(), scope(now=100, lease_seconds=90))
    assert unreadable(rows.logs(), scope(now=101, lease_seconds=90))


@pytest.mark.parametrize("silent", ["canary", "stable"])
def test_an_arm_that_fell_silent_is_told_by_name(silent: str) -> None:
    rows = Rows()
    rows.ask("anna", "canary", 10 if silent == "canary" else 60)
    rows.ask("bert", "stable", 10 if silent == "stable" else 60)
    assert f"newest {silent} request" in unreadable(rows.logs(), scope(now=70))


@pytest.mark.parametrize("missing", ["canary", "stable"])
def test_an_arm_without_any_request_is_told_by_name(missing: str) -> None:
    rows = Rows()
    rows.ask("anna", "stable" if missing == "canary" else "canary", 60)
    assert f"no {missing} request" in unreadable(rows.logs(), scope(now=70))


def test_at_full_weight_nobody_asks_stable_and_a_new_weight_starts_the_clock_again() -> None:
    rows = Rows()
    rows.ask("anna", "canary", 10)
    baking = [(0, 5_000), (45, 10_000)]
    assert not unreadable(rows.logs(), scope(now=70, weights=baking))
    assert unreadable(rows.logs(), scope(now=76, weights=baking))


@pytest.mark.parametrize("source", ["exposures", "feedback"])
def test_a_source_is_asked_for_only_where_it_is_needed(source: Any) -> None:
    logs = crowd(10).logs()
    broken, empty = replace(logs, **{source: None}), replace(logs, **{source: getattr(logs, source).clear()})
    assert f"{source} log cannot be read" in unreadable(broken, scope(), source)
    assert f"{source} log is empty" in unreadable(empty, scope(), source)
    assert not unreadable(broken, scope())
    assert not unreadable(empty, scope())


def test_before_the_first_weight_there_is_nothing_to_read() -> None:
    assert "no user" in unreadable(crowd(10).logs(), scope(weights=()))
    assert "no user" in unreadable(crowd(10).logs(), replace(scope(), weights=(), now=later(5)))
