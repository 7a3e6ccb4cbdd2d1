"""A few dozen simulated releases through the real state machine: the error rates hold, and the test can fail.

The full size is `python -m benchmarks.release_simulation`; this is the same code on smaller releases.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest

from benchmarks.release_simulation.crowd import Traffic, Truth, draw
from benchmarks.release_simulation.figures import TAKEN, exact
from benchmarks.release_simulation.judged_alike import see
from benchmarks.release_simulation.release import PLAN, Ended, run
from recsys_assets.records import AnalysisPlan
from recsys_assets.rollout import metric_quality
from recsys_assets.rollout.noninferiority import Boundaries

# A margin twice as wide needs a quarter of the visitors, and half of them from the start the shortest ramp.
SMALL = PLAN.model_copy(
    update={
        "steps_bp": (5_000,),
        "margin": 0.2,
        "deadline_seconds": 1_450.0,
        "bake_seconds": 130.0,
        "max_error_rate_increase": 0.05,
        "history_seconds": 0.0,
    }
)
TRAFFIC = Traffic(seconds=1_700.0, visitors_per_second=1.6, requests_per_visit=1.5, returns=0.1, history_share=0.0)
RELEASES = 16


@lru_cache
def releases(truth: Truth, plan: AnalysisPlan = SMALL, count: int = RELEASES) -> tuple[Ended, ...]:
    crowds = (draw(TRAFFIC, np.random.default_rng(seed)) for seed in range(count))
    return tuple(run(crowd, truth, tick_seconds=150.0, plan=plan) for crowd in crowds)


def share(ended: tuple[Ended, ...], ending: str) -> float:
    return sum(e.ending == ending for e in ended) / len(ended)


def test_a_canary_at_the_margin_is_rarely_promoted() -> None:
    assert share(releases(Truth(loss=0.2)), "champion") <= 0.1


def test_the_same_releases_are_promoted_far_too_often_when_the_boundary_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What this simulation is for: with a boundary that asks for next to nothing, the bound above does not hold.
    monkeypatch.setattr(metric_quality, "boundaries", lambda alpha, power: Boundaries(0.0, None, math.inf))
    assert share(releases.__wrapped__(Truth(loss=0.2)), "champion") > 0.1


def test_a_canary_that_is_as_good_as_stable_is_mostly_promoted_and_never_called_harmful() -> None:
    ended = releases(Truth(), count=10)
    assert share(ended, "champion") >= 0.6
    assert share(ended, "harm") == 0.0


def test_a_canary_that_loses_everything_loses_its_weight_for_quality() -> None:
    # After a few attribution windows: too early to tell two episodes from more.
    ended = releases(Truth(loss=0.95), count=3)
    assert {e.checks for e in ended} == {("canary_is_not_worse",)}
    assert {e.ending for e in ended} <= set(TAKEN)


def test_a_canary_that_fails_a_tenth_of_its_requests_loses_its_weight_for_errors() -> None:
    ended = releases(Truth(errors=20.0), count=3)
    assert {e.ending for e in ended} <= set(TAKEN)
    assert all("canary_has_no_more_errors" in e.checks for e in ended)


def test_the_simulated_loss_is_the_one_that_was_told() -> None:
    canary = stable = 0.0
    for seed in range(20):
        seen = see(draw(TRAFFIC, np.random.default_rng(seed)), Truth(loss=0.3))
        canary += float((seen.outcome * seen.canary / seen.share).sum())
        stable += float((seen.outcome * ~seen.canary / (1 - seen.share)).sum())
    assert canary / stable == pytest.approx(0.7, abs=0.03)


def test_exact_bounds_are_those_of_clopper_and_pearson() -> None:
    # Rule of three: nothing in n has the upper bound 1 - (alpha / 2)^(1 / n).
    assert exact(0, 100) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert exact(100, 100) == (pytest.approx(0.025 ** (1 / 100)), 1.0)
    low, high = exact(50, 100)
    assert (low, high) == (pytest.approx(0.3983, abs=1e-4), pytest.approx(0.6017, abs=1e-4))
