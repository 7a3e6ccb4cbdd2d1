"""What was known before the release: only older rows, only earlier visitors, less noise and no bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys_assets.records import MetricPlan
from recsys_assets.rollout.analysis import with_history
from recsys_assets.rollout.covariates import MIN_HISTORY, expected_from, known_before
from recsys_assets.rollout.outcomes import Logs, visitor_outcomes
from recsys_assets.rollout.sequential import contrast_path, contrast_scores
from recsys_assets_tests.rollout.build import Rows, scope

ENGAGEMENT = MetricPlan(name="engagement", margin=0.1)
OPENED = 100.0


def before(rows: Rows, **changes: object) -> dict[str, float]:
    of = scope(now=200, weights=[(OPENED, 5_000)], **({"history_seconds": 60.0} | changes))
    return dict(known_before(rows.logs(), of, ENGAGEMENT).iter_rows())


def test_a_visitors_rate_is_held_against_the_average_and_shrunk() -> None:
    rows = Rows()
    rows.ask("busy", "stable", 50, clicks=["a", "b"])
    rows.ask("busy", "stable", 60, clicks=["a"])
    rows.ask("idle", "stable", 70)
    # Three clicks on three answers: average 1. busy (3 - 2) / (2 + 1), idle (0 - 1) / (1 + 1).
    assert before(rows) == {"busy": pytest.approx(1 / 3), "idle": pytest.approx(-1 / 2)}


def test_only_answers_within_the_history_and_before_the_canary_count() -> None:
    rows = Rows()
    rows.ask("too old", "stable", OPENED - 60.1, clicks=["a"])
    rows.ask("oldest", "stable", OPENED - 60)
    rows.ask("newest", "stable", OPENED - 0.1, click_after=0.05, clicks=["a"])
    rows.ask("too new", "stable", OPENED, clicks=["a"])
    assert set(before(rows)) == {"oldest", "newest"}


def test_a_click_that_came_in_after_the_canary_began_does_not_count() -> None:
    rows = Rows()
    rows.ask("late", "stable", OPENED - 1, clicks=["a"], click_after=1.0)
    rows.ask("in time", "stable", OPENED - 1, clicks=["a"], click_after=0.9)
    found = before(rows)
    assert found["in time"] > found["late"]


def test_copies_in_the_shadow_and_clicks_on_what_was_not_shown_do_not_count() -> None:
    rows = Rows()
    rows.ask("anna", "stable", 50, clicks=["never shown"])
    rows.ask("bert", "stable", 50, clicks=["a", "a"])
    rows.exposures.append(rows.exposures[-1] | {"variant": "shadow", "visitor_id": "copied", "request_id": "copy"})
    # One click on two answers: average 1/2.
    assert before(rows) == {"anna": pytest.approx(-1 / 4), "bert": pytest.approx(1 / 4)}


def test_without_a_history_in_the_plan_or_rows_nothing_is_known() -> None:
    rows = Rows()
    rows.ask("anna", "stable", 50, clicks=["a"])
    assert before(rows, history_seconds=0.0) == {}
    assert before(Rows()) == {}
    of = scope(now=200, weights=[(OPENED, 5_000)], history_seconds=60.0)
    logs = rows.logs()
    for broken in (replace(logs, exposures=None), replace(logs, feedback=None), Logs(None, None, None)):
        assert known_before(broken, of, ENGAGEMENT).is_empty()
    assert known_before(logs, replace(of, weights=()), ENGAGEMENT).is_empty()


def test_the_analysis_keeps_every_visitor_and_their_order() -> None:
    rows = Rows()
    rows.ask("zoe", "stable", 50, clicks=["a"])
    for at, visitor in enumerate(("zoe", "new", "zoe2")):
        rows.ask(visitor, "canary", OPENED + 10 + at)
    of = scope(now=200, weights=[(OPENED, 5_000)], history_seconds=60.0)
    outcomes = visitor_outcomes(rows.logs(), of)
    found = with_history(rows.logs(), of, ENGAGEMENT, outcomes).visitors
    assert found["visitor_id"].to_list() == ["zoe", "new", "zoe2"]
    assert found["before"].is_null().to_list() == [False, True, True]
    assert with_history(rows.logs(), scope(), ENGAGEMENT, outcomes) is outcomes


def _people(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known = (rng.random(n) < 0.6).astype(float)
    trait = rng.normal(0, 1, n)
    return known * trait, known, 3 + trait + rng.normal(0, 1, n)


def test_a_prediction_never_changes_with_what_comes_later() -> None:
    covariate, known, outcome = _people(400, 1)
    whole = expected_from(covariate, known, outcome)
    for upto in (1, 60, 300):
        part = expected_from(covariate[:upto], known[:upto], outcome[:upto])
        assert part == pytest.approx(whole[:upto])


def test_a_visitors_own_outcome_does_not_enter_the_own_prediction() -> None:
    covariate, known, outcome = _people(200, 2)
    changed = outcome.copy()
    changed[150] += 100
    assert expected_from(covariate, known, changed)[:151] == pytest.approx(
        expected_from(covariate, known, outcome)[:151]
    )


def test_visitors_without_history_are_expected_to_be_average() -> None:
    covariate, known, outcome = _people(300, 3)
    assert (expected_from(covariate, known, outcome)[known == 0] == 0).all()


def test_nothing_is_predicted_from_a_handful() -> None:
    covariate, _, outcome = _people(200, 4)
    found = expected_from(covariate, np.ones(200), outcome)
    assert (found[:MIN_HISTORY] == 0).all()
    assert found[MIN_HISTORY] != 0


def test_a_covariate_that_never_varies_predicts_nothing() -> None:
    assert (expected_from(np.zeros(100), np.ones(100), np.arange(100.0)) == 0).all()


def test_the_slope_is_that_of_the_least_squares() -> None:
    covariate, _, _ = _people(2_000, 5)
    found = expected_from(covariate, np.ones(2_000), 2.0 * covariate)
    assert found[-1] == pytest.approx(2.0 * (covariate[-1] - covariate[:-1].mean()), rel=0.02)


def test_history_narrows_the_bounds_and_moves_no_estimate_far() -> None:
    covariate, known, outcome = _people(4_000, 6)
    canary = np.random.default_rng(7).random(4_000) < 0.5
    share, expected = np.full(4_000, 0.5), expected_from(covariate, known, outcome)
    with_it, without = (
        contrast_path(contrast_scores(outcome, canary, share, factor=1.0, expected=e), alpha=0.05, planned=500)
        for e in (expected, None)
    )
    width = [float(p.high[-1] - p.low[-1]) for p in (with_it, without)]
    assert width[0] < 0.9 * width[1]
    assert abs(float(with_it.estimate[-1])) < width[0]
