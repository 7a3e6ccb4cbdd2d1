"""The guard takes weight at a breach and at an expired lease, and does nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_assets.platform.interface import ANY
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.outcomes import Logs, WeightSince
from recsys_assets.rollout.route import virtual_service
from recsys_assets_tests.rollout.build import Clock, FixedMetrics, Rows, crowd, desk, later, route, service


def posted(tmp_path: Path, logs: Logs, phase: Phase = Phase.CANARY, *, lease: float = 1_000) -> tuple[Post, Clock]:
    at, clock = desk(tmp_path, logs)
    clock.at = 64
    state = route(phase, 0)
    weights = (WeightSince(later(0), state.split.canary_weight_bp),)
    at.platform.apply(virtual_service(replace(state, weights=weights, lease=later(lease), transition=2)), expected=ANY)
    return Post("recommender", at.platform, at.ledger, FixedMetrics(logs), 10, clock), clock


def standing(post: Post) -> tuple[Phase, int]:
    state = read_state(post.platform, "recommender")
    assert state is not None
    return state.phase, state.split.canary_weight_bp


BREACHES = {
    "failing": crowd(900, share=0.1, status=lambda i: 500 if i % 3 == 0 else 200),
    "slow": crowd(900, share=0.1, ms=300.0),
}


@pytest.mark.parametrize("how", BREACHES)
def test_a_breach_takes_the_weight_and_is_recorded(tmp_path: Path, how: str) -> None:
    post, _ = posted(tmp_path, BREACHES[how].logs())
    watch(post)
    assert standing(post) == (Phase.ROLLED_BACK, 0)
    assert [(e.kind, e.actor) for e in post.ledger.events("rel-2")][-1] == ("rolled_back", "guard")


def test_an_expired_lease_takes_the_weight_but_blames_nobody(tmp_path: Path) -> None:
    post, clock = posted(tmp_path, Rows().logs(), lease=100)
    assert watch(post) is None
    clock.at = 100
    watch(post)
    assert standing(post) == (Phase.HELD, 0)
    assert post.ledger.denied(later(1_000)) == {}


def test_a_healthy_canary_is_left_alone(tmp_path: Path) -> None:
    post, _ = posted(tmp_path, crowd(900, share=0.1).logs())
    assert watch(post) is None
    assert standing(post) == (Phase.CANARY, 1_000)


def test_logs_that_cannot_be_read_are_no_breach(tmp_path: Path) -> None:
    post, _ = posted(tmp_path, Logs(None, None, None))
    assert watch(post) is None


def test_with_stable_broken_too_it_freezes_and_calls_a_person_once(tmp_path: Path) -> None:
    post, _ = posted(tmp_path, BREACHES["failing"].logs())
    service(post.platform, "1", ready=False)
    for _ in range(2):
        decision = watch(post)
        assert decision is not None
        assert decision.action == "pause"
    assert standing(post) == (Phase.CANARY, 1_000)
    assert [e.kind for e in post.ledger.events("rel-2")] == ["frozen"]


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW, Phase.CHAMPION, Phase.ROLLED_BACK])
def test_outside_of_canary_and_bake_it_does_nothing(tmp_path: Path, phase: Phase) -> None:
    post, clock = posted(tmp_path, BREACHES["failing"].logs(), phase)
    clock.at = 10_000
    assert watch(post) is None


def test_it_works_without_dagster_and_mlflow() -> None:
    code = "import sys, recsys_assets.rollout.guard; print(sorted({'dagster', 'mlflow'} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
