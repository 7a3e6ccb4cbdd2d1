"""The ratio that promotes: its arithmetic by hand, its boundaries, Wald's published figures, and its error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys_assets.rollout.noninferiority import (
    Boundaries,
    Evidence,
    boundaries,
    evidence_path,
    fixed_information,
    standing,
)
from recsys_assets.rollout.sequential import Scores, contrast_scores

LIMITS = Boundaries(upper=3.0, lower=1.5, futile_from=2.0)


def evidence(*ratios: float, information: float = 5.0) -> Evidence:
    return Evidence(np.array(ratios), np.full(len(ratios), information))


def where(found: Evidence, limits: Boundaries = LIMITS, *, seen: bool = True) -> str:
    return standing(found, np.full(len(found.log_ratio), seen), limits)


def test_the_ratio_is_the_one_worked_out_by_hand() -> None:
    # Scores 1, 0, 1 at weight 1/4 and a stable mean of 2: T = 3/4, S = 2, estimate 8/3,
    # variance = sum (score - 2/3)^2 / T = (1/9 + 4/9 + 1/9) / (3/4) = 8/9; effect = 0.1 * 2.
    counts = np.array([2, 2, 2])
    scores = Scores(np.array([1.0, 0.0, 1.0]), np.full(3, 0.25), np.full(3, 2.0), counts, counts)
    found = evidence_path(scores, margin=0.1)
    assert found.log_ratio[-1] == pytest.approx(0.2 * 2 / (8 / 9))
    assert found.information[-1] == pytest.approx(0.04 * 0.75 / (8 / 9))


@pytest.mark.parametrize(("canary", "stable"), [(1, 2), (2, 1)])
def test_with_one_visitor_in_an_arm_there_is_no_evidence(canary: int, stable: int) -> None:
    scores = Scores(np.array([1.0, 0.0]), np.full(2, 0.25), np.ones(2), np.full(2, canary), np.full(2, stable))
    assert evidence_path(scores, margin=0.1).log_ratio[-1] == 0.0
    assert evidence_path(scores, margin=0.1).information[-1] == 0.0


def test_outcomes_that_never_vary_are_no_evidence() -> None:
    scores = Scores(np.zeros(3), np.full(3, 0.25), np.ones(3), np.full(3, 2), np.full(3, 2))
    assert evidence_path(scores, margin=0.1).log_ratio.tolist() == [0.0, 0.0, 0.0]


def test_the_boundaries_are_villes_for_alpha_and_walds_for_three_quarters_of_the_misses() -> None:
    found = boundaries(0.05, 0.8)
    assert found.upper == pytest.approx(math.log(1 / 0.05))
    assert found.lower == pytest.approx(math.log((1 - 0.85 * 0.05) / 0.15))
    assert found.futile_from == pytest.approx(0.2 * fixed_information(0.05, 0.8))


def test_without_a_power_nothing_is_ever_futile() -> None:
    found = boundaries(0.05, None)
    assert found.lower is None
    assert where(evidence(-1_000.0), found) == "open"


def test_a_fixed_sample_needs_the_information_of_the_text_books() -> None:
    # z(.95) = 1.645 and z(.80) = 0.842, as in every table of the normal distribution: (1.645 + 0.842)^2 = 6.18.
    assert fixed_information(0.05, 0.8) == pytest.approx(6.18, abs=0.005)


@pytest.mark.parametrize(
    ("ratios", "then"),
    [
        ((0.0, 2.99), "open"),
        ((0.0, 3.0), "pass"),
        ((3.0, 0.0), "pass"),  # what was crossed stands while the data do not speak for the margin
        ((3.0, -0.01), "open"),
        ((3.0, -1.5), "futile"),
        ((0.0, -1.49), "open"),
        ((0.0, -1.5), "futile"),
        ((-1.5, 3.0), "futile"),  # the first crossing is what a look then would have seen
        ((-1.5, 0.0), "futile"),
        ((3.0, -1.5, 0.5), "pass"),
    ],
)
def test_the_boundary_that_was_crossed_first_decides(ratios: tuple[float, ...], then: str) -> None:
    assert where(evidence(*ratios)) == then


def test_nothing_is_crossed_before_enough_visitors_came() -> None:
    assert where(evidence(9.0), seen=False) == "open"
    assert where(evidence(-9.0), seen=False) == "open"


@pytest.mark.parametrize(("information", "then"), [(1.99, "open"), (2.0, "futile")])
def test_nothing_is_futile_before_its_share_of_the_fixed_samples_information(information: float, then: str) -> None:
    assert where(evidence(-9.0, information=information)) == then


def test_no_visitors_are_open() -> None:
    assert where(evidence()) == "open"


def _stopped(drift: float, upper: float, lower: float, runs: int = 2_000) -> tuple[float, float]:
    """Share that passes, and mean stopping time, of the log ratio's Brownian limit; time 1 is the fixed sample."""
    need, steps = fixed_information(0.05, 0.8), 1_500
    dt = need * 3 / steps
    rng = np.random.default_rng(7)
    path = np.cumsum(rng.normal(drift * dt, math.sqrt(dt), (runs, steps)), axis=1)
    crossed = (path >= upper) | (path <= -lower)
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), steps - 1)
    return float((path[np.arange(runs), first] >= upper).mean()), float((first + 1).mean()) * dt / need


def test_walds_published_saving_is_found_again() -> None:
    # Wald 1945: at alpha .05, power .8 the test needs .62 of the fixed sample where the alternative is true, .43 where
    # the null is, with boundaries log((1 - beta) / alpha) and log(beta / (1 - alpha)).
    upper, lower = math.log(0.8 / 0.05), -math.log(0.2 / 0.95)
    power, sample = _stopped(+0.5, upper, lower)
    assert power == pytest.approx(0.8, abs=0.04)
    assert sample == pytest.approx(0.62, abs=0.05)
    assert _stopped(-0.5, upper, lower)[1] == pytest.approx(0.43, abs=0.05)


def test_our_boundaries_promote_rarely_at_the_margin_and_mostly_at_no_loss() -> None:
    found = boundaries(0.05, 0.8)
    assert found.lower is not None
    power, sample = _stopped(+0.5, found.upper, found.lower)
    assert power >= 0.8
    assert sample <= 0.8
    assert _stopped(-0.5, found.upper, found.lower)[0] <= 0.05


def _releases(loss: float, runs: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    ends = []
    for _ in range(runs):
        n = 9_000
        share = np.repeat([0.1, 0.25, 0.5], [600, 400, n - 1_000])
        canary = rng.random(n) < share
        outcome = np.minimum(rng.poisson(rng.gamma(1.0, 1.0, n)), 10)
        outcome = np.where(canary, rng.binomial(outcome, 1 - loss), outcome).astype(float)
        scores = contrast_scores(outcome, canary, share, factor=0.95)
        seen = np.minimum(scores.canary, scores.stable) >= 100
        ends.append(standing(evidence_path(scores, margin=0.1), seen, boundaries(0.05, 0.8)))
    return ends


def test_a_loss_of_the_margin_rarely_passes_whenever_anybody_looks() -> None:
    # `standing` asks for the first crossing after any visitor, so this is peeking at every visitor.
    ends = _releases(0.1, 400, seed=11)
    assert ends.count("pass") / 400 <= 0.05 + 0.01
    assert ends.count("futile") / 400 >= 0.9


def test_no_loss_mostly_passes() -> None:
    assert _releases(0.0, 200, seed=12).count("pass") / 200 >= 0.74
