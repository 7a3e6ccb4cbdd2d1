"""Whatever a plan says and whoever comes: without every verdict nobody's model has more than its last compared share.

Here: generated plans (old, unsafe ones too) and crowds, played through the product's own tick, decision, verdicts and
route. Not here: the guards one by one (test_shares.py).
"""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.release_simulation.crowd import Crowd, Traffic, Truth, draw
from benchmarks.release_simulation.figures import TAKEN
from benchmarks.release_simulation.release import PLAN, Ended, run
from recsys_assets.records import AS_STORED, MAX_COMPARED_BP, AnalysisPlan, Decision
from recsys_assets.rollout.outcomes import ALL_BP
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.shares import share_of_new, unproven

# Visitors who click often and alike, so that a few hundred of them decide.
TRAFFIC = Traffic(
    seconds=2_400.0,
    visitors_per_second=1.5,
    requests_per_visit=1.3,
    returns=0.1,
    clicks=4.0,
    lasting_shape=20.0,
    mood_shape=20.0,
    window_seconds=60.0,
    history_share=0.0,
)
QUICK = PLAN.model_dump() | {
    "attribution_seconds": 60.0,
    "min_visitors_per_arm": 50,
    "bake_seconds": 60.0,
    "deadline_seconds": 2_100.0,
    "max_error_rate_increase": 0.1,
    "history_seconds": 0.0,
    "power": None,
}
BETTER, EQUAL, WORSE, USELESS = Truth(loss=-0.2), Truth(), Truth(loss=0.2), Truth(loss=0.95)


def plans(largest: int, smallest: int = 1) -> st.SearchStrategy[AnalysisPlan]:
    """Any steps that ascend up to `largest`, as they may stand on a route that was written long ago."""
    steps = st.sets(st.integers(smallest, largest), min_size=1, max_size=3).map(sorted)
    return steps.map(lambda bp: AnalysisPlan.model_validate(QUICK | {"steps_bp": bp}, context=AS_STORED))


crowds = st.integers(0, 2**32 - 1).map(lambda seed: draw(TRAFFIC, np.random.default_rng(seed)))
# What is drawn is people, whose verdicts may err by design (alpha): the same ones each time.
played = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def play(plan: AnalysisPlan, crowd: Crowd, truth: Truth) -> tuple[Ended, list[int]]:
    """How it ended, and every share that the model had without a pass of every check."""
    unjudged: list[int] = []

    def seen(decision: Decision, state: RouteState) -> None:
        if unproven(decision.verdicts, state.version):
            unjudged.append(share_of_new(state.release, state.split))

    return run(crowd, truth, tick_seconds=60.0, plan=plan, seen=seen), unjudged


@played
@given(plans(ALL_BP), crowds, st.sampled_from([BETTER, EQUAL, WORSE, USELESS]))
def test_no_plan_and_no_crowd_give_a_model_more_than_its_last_compared_share_without_every_verdict(
    plan: AnalysisPlan, crowd: Crowd, truth: Truth
) -> None:
    _, unjudged = play(plan, crowd, truth)
    assert max(unjudged) <= min(plan.steps_bp[-1], MAX_COMPARED_BP)


@played
@given(plans(ALL_BP), crowds)
def test_a_model_that_is_a_fifth_worse_never_gets_all_users(plan: AnalysisPlan, crowd: Crowd) -> None:
    ended, _ = play(plan, crowd, WORSE)
    assert ended.ending != "champion"
    assert max(share for _, share in ended.weights) < 1.0


@played
@given(plans(MAX_COMPARED_BP, smallest=1_500), crowds)
def test_a_model_that_is_a_fifth_better_is_promoted_by_every_plan_that_is_accepted(
    plan: AnalysisPlan, crowd: Crowd
) -> None:
    AnalysisPlan.model_validate(plan.model_dump())  # accepted
    ended, _ = play(plan, crowd, BETTER)
    assert ended.ending == "champion", ended.why


def test_the_plan_that_was_reported_shows_a_worse_model_to_half_of_the_users_at_most_and_promotes_a_better_one() -> (
    None
):
    reported = AnalysisPlan.model_validate(QUICK | {"steps_bp": [1_000, 10_000]}, context=AS_STORED)
    crowd = draw(TRAFFIC, np.random.default_rng(7))
    worse, _ = play(reported, crowd, WORSE)
    better, _ = play(reported, crowd, BETTER)
    assert (worse.ending in TAKEN, max(share for _, share in worse.weights)) == (True, 0.5)
    assert better.ending == "champion"
