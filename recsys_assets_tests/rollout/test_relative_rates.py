"""Ratios of error rates: arithmetic by hand, the unit is the user, and the error rate under peeking."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys_assets.rollout.relative_rates import ALTERNATIVES, design_effect, ratio_evidence

SHOWN = math.log(1 / 0.05)


def test_one_failure_of_the_canary_gives_the_mean_of_the_likelihood_ratios() -> None:
    # Equal requests and limit 2: the null odds are 2, those of the alternatives 2 t; one canary failure has likelihood
    # 2 t / (1 + 2 t) against 2 / 3.
    by_hand = np.mean([(2 * t / (1 + 2 * t)) / (2 / 3) for t in ALTERNATIVES])
    assert ratio_evidence([((1, 100), (0, 100))], limit=2.0) == pytest.approx(math.log(by_hand))


def test_one_failure_of_stable_is_evidence_for_the_canary() -> None:
    by_hand = np.mean([(1 / (1 + 2 * t)) / (1 / 3) for t in ALTERNATIVES])
    assert ratio_evidence([((0, 100), (1, 100))], limit=2.0) == pytest.approx(math.log(by_hand))
    assert ratio_evidence([((0, 100), (1, 100))], limit=2.0) < 0


def test_without_failures_there_is_no_evidence() -> None:
    assert ratio_evidence([((0, 100), (0, 100))], limit=1.5) == pytest.approx(0.0)
    assert ratio_evidence([], limit=1.5) == pytest.approx(0.0)


@pytest.mark.parametrize("step", [((3, 50), (0, 0)), ((0, 0), (3, 50))])
def test_a_step_with_one_arm_only_compares_nothing(step: tuple) -> None:
    assert ratio_evidence([step], limit=1.5) == pytest.approx(0.0)


def test_the_share_of_requests_is_taken_into_account() -> None:
    # Thirty failures of 300 and of 2,700: the same rate ten times over, and no evidence for more.
    assert ratio_evidence([((30, 300), (270, 2_700))], limit=1.25) < 0
    assert ratio_evidence([((90, 300), (270, 2_700))], limit=1.25) > SHOWN


def test_steps_add_up_and_an_outage_of_both_arms_is_no_evidence() -> None:
    calm, outage = ((5, 1_000), (45, 9_000)), ((250, 500), (250, 500))
    assert ratio_evidence([calm, outage], limit=1.25) < 0
    worse = ((15, 1_000), (45, 9_000))
    assert ratio_evidence([worse, worse], limit=1.25) > ratio_evidence([worse], limit=1.25) > 0


def test_clustered_failures_count_for_less() -> None:
    steps = [((60, 5_000), (20, 5_000))]
    alone, clustered = ratio_evidence(steps, limit=1.25), ratio_evidence(steps, limit=1.25, design=3.0)
    assert 0 < clustered < alone / 2


def test_independent_requests_have_a_design_effect_of_one_and_bursts_that_of_their_size() -> None:
    single = np.zeros(1_000)
    single[::100] = 1.0
    arm = np.arange(1_000) % 2 == 0
    assert design_effect(single, np.ones(1_000), arm) == 1.0
    # One user in a hundred fails all five requests: variance 25 p against 5 p (1 - p).
    assert design_effect(5 * single, np.full(1_000, 5.0), arm) == pytest.approx(5.0, rel=0.01)


def test_an_arm_that_always_fails_is_not_taken_for_one_cluster() -> None:
    requests = np.array([50.0, 40.0, 3.0])
    assert design_effect(requests, requests, np.ones(3, dtype=bool)) == 1.0


def test_users_of_one_arm_are_held_against_their_own_arms_rate() -> None:
    # Canary fails always and stable never: nothing within an arm differs, so nothing is clustered.
    failures, requests = np.array([4.0, 4.0, 0.0, 0.0]), np.full(4, 4.0)
    assert design_effect(failures, requests, np.array([True, True, False, False])) == 1.0


def test_an_arm_without_requests_leaves_the_others_clusters_standing() -> None:
    # Two of twenty users fail all five requests, as above; the other arm has none, so far.
    failures, requests = np.array([5.0] * 2 + [0.0] * 18), np.full(20, 5.0)
    assert design_effect(failures, requests, np.ones(20, dtype=bool)) == pytest.approx(5.0)
    assert design_effect(failures, requests, np.zeros(20, dtype=bool)) == pytest.approx(5.0)


def test_no_requests_have_a_design_effect_of_one() -> None:
    assert design_effect(np.array([]), np.array([]), np.array([], dtype=bool)) == 1.0


def _alarms(ratio: float, runs: int) -> float:
    """Share of runs in which the evidence ever reached alpha .05, looking 40 times; users fail in clusters."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(runs):
        users = 4_000
        requests = rng.geometric(1 / 5, users).astype(float)
        canary = rng.random(users) < 0.3
        rate = 0.01 * rng.gamma(0.3, 1 / 0.3, users) * np.where(canary, ratio, 1)
        failures = rng.binomial(requests.astype(int), np.minimum(rate, 1)).astype(float)
        for upto in range(100, users + 1, 100):
            arm, of = canary[:upto], slice(upto)
            design = design_effect(failures[of], requests[of], arm)
            counts = [(failures[of][side].sum(), requests[of][side].sum()) for side in (arm, ~arm)]
            if counts[0][0] >= 10 and ratio_evidence([(counts[0], counts[1])], limit=1.25, design=design) >= SHOWN:
                alarms += 1
                break
    return alarms / runs


def test_looking_forty_times_rarely_condemns_a_ratio_at_the_limit() -> None:
    assert _alarms(1.25, 200) <= 0.05 + 0.03


def test_three_times_the_failures_are_shown() -> None:
    assert _alarms(3.0, 40) >= 0.95
