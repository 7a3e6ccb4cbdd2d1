"""The guard takes weight at a breach and at an expired lease, and does nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from recsys_assets.platform.interface import ANY, Manifest
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.guard import Post, run, watch
from recsys_assets.rollout.guarding import STALE_SECONDS, Beat, is_guarded
from recsys_assets.rollout.outcomes import Logs, WeightSince
from recsys_assets.rollout.route import virtual_service
from recsys_assets.rollout.tick import look, tick
from recsys_assets_tests.rollout.build import Clock, FixedMetrics, Rows, crowd, desk, later, route, service
from recsys_assets_tests.waiting import eventually


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
    "degraded": crowd(900, share=0.1, rung="popular"),
    "worse": crowd(1_200, share=0.1, canary_clicks=0.0),
}


@pytest.mark.parametrize("how", BREACHES)
def test_a_breach_takes_the_weight_and_is_recorded(tmp_path: Path, how: str) -> None:
    post, _ = posted(tmp_path, BREACHES[how].logs())
    watch(post)
    # A minute is two half minutes, and no evidence beyond two episodes: what denies a digest is in test_taking.py.
    assert standing(post) == (Phase.HELD, 0)
    assert [(e.kind, e.actor) for e in post.ledger.events("rel-2")][-1] == ("held", "guard")


@pytest.mark.parametrize(("how", "seen"), [("failing", True), ("slow", True), ("degraded", False), ("worse", False)])
def test_a_look_that_is_not_full_sees_what_the_gateway_tells(tmp_path: Path, how: str, seen: bool) -> None:
    post, _ = posted(tmp_path, BREACHES[how].logs())
    assert (watch(post, full=False) is not None) is seen


def test_a_breach_that_the_gateway_tells_waits_for_no_other_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, _ = posted(tmp_path, BREACHES["failing"].logs())

    def not_asked(_since: datetime) -> Logs:
        raise AssertionError("all logs were read")

    monkeypatch.setattr(post.metrics, "logs", not_asked)
    watch(post)
    assert standing(post) == (Phase.HELD, 0)


def test_a_worse_canary_is_not_taken_back_to_a_stable_that_fails_itself(tmp_path: Path) -> None:
    rows = crowd(1_200, share=0.5, canary_clicks=0.1)
    for i in range(300):
        rows.ask(f"x{i}", "stable", 40 + i / 15, status=500)
    post, _ = posted(tmp_path, rows.logs())
    decision = watch(post)
    assert decision is not None
    assert decision.action == "pause"
    assert standing(post) == (Phase.CANARY, 1_000)


def test_a_move_that_somebody_made_first_stands(tmp_path: Path) -> None:
    post, _ = posted(tmp_path, BREACHES["failing"].logs())

    class Overtaken(FixedMetrics):
        def gateway_only(self, since: datetime) -> Logs:
            state = read_state(post.platform, "recommender")
            assert state is not None
            post.platform.apply(virtual_service(replace(state, lease=later(999))), expected=ANY)
            return super().gateway_only(since)

    assert watch(replace(post, metrics=Overtaken(BREACHES["failing"].logs()))) is None
    assert standing(post) == (Phase.CANARY, 1_000)
    assert post.ledger.events("rel-2") == []


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


def test_with_stable_broken_too_it_freezes_and_calls_a_person_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    post, clock = posted(tmp_path, BREACHES["failing"].logs())
    service(post.platform, "1", ready=False)
    assert watch(post) is None  # it answered a second ago: it may only stall
    clock.at = 75
    for _ in range(2):
        decision = watch(post)
        assert decision is not None
        assert decision.action == "pause"
    assert standing(post) == (Phase.CANARY, 1_000)
    assert [e.kind for e in post.ledger.events("rel-2")] == ["frozen"]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW, Phase.CHAMPION, Phase.ROLLED_BACK])
def test_outside_of_canary_and_bake_it_does_nothing(tmp_path: Path, phase: Phase) -> None:
    post, clock = posted(tmp_path, BREACHES["failing"].logs(), phase)
    clock.at = 10_000
    assert watch(post) is None


def test_it_works_without_dagster_and_mlflow() -> None:
    code = "import sys, recsys_assets.rollout.guard; print(sorted({'dagster', 'mlflow'} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@contextmanager
def guarding(post: Post, lock: Path) -> Iterator[None]:
    """The loop in a thread, for as long as the block."""
    stop = threading.Event()
    loop = threading.Thread(target=run, args=(post, Beat(lock)), kwargs={"interval_seconds": 0.01, "stop": stop})
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join()


def test_a_guard_that_looks_is_seen_and_one_that_cannot_see_is_none(tmp_path: Path) -> None:
    post, _ = posted(tmp_path, crowd(300).logs())
    lock, route_of = tmp_path / "platform" / "guarding.lock", read_state(post.platform, "recommender")
    assert not is_guarded(lock)
    with guarding(post, lock):
        eventually(lambda: is_guarded(lock))
        assert route_of is not None
        broken = virtual_service(route_of)
        broken["metadata"]["annotations"][_lease_key(broken)] = "never"
        post.platform.apply(broken, expected=ANY)
        eventually(lambda: not is_guarded(lock))
        post.platform.apply(virtual_service(route_of), expected=ANY)
        eventually(lambda: is_guarded(lock))


def _lease_key(manifest: Manifest) -> str:
    return next(key for key in manifest["metadata"]["annotations"] if key.endswith("lease"))


def test_a_guard_that_hangs_is_none_though_it_holds_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "guarding.lock"
    beat = Beat(lock)
    beat.looked()
    seen = lock.stat().st_mtime
    assert is_guarded(lock, now=lambda: seen + STALE_SECONDS - 1)
    assert not is_guarded(lock, now=lambda: seen + STALE_SECONDS + 1)
    assert not is_guarded(lock, now=lambda: seen - STALE_SECONDS - 1)
    beat.blind()
    assert not is_guarded(lock, now=lambda: seen)


def test_each_look_says_when_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "guarding.lock"
    beat = Beat(lock)
    beat.looked()
    os.utime(lock, (0, 0))
    assert not is_guarded(lock)
    beat.looked()
    assert is_guarded(lock)


def test_who_waits_for_the_lock_keeps_no_files_open(tmp_path: Path) -> None:
    lock = tmp_path / "guarding.lock"
    first, second = Beat(lock), Beat(lock)
    first.looked()

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = files()
    for _ in range(20):
        second.looked()
    assert files() < before + 10


def test_of_two_guards_the_second_takes_over_at_its_next_look(tmp_path: Path) -> None:
    lock = tmp_path / "guarding.lock"
    first, second = Beat(lock), Beat(lock)
    first.looked()
    second.looked()
    first.blind()
    assert not is_guarded(lock)
    second.looked()
    assert is_guarded(lock)
    second.blind()


def test_the_lock_falls_with_a_killed_guard(tmp_path: Path) -> None:
    lock = tmp_path / "guarding.lock"
    code = (
        "import sys, time; from pathlib import Path; from recsys_assets.rollout.guarding import Beat\n"
        "beat = Beat(Path(sys.argv[1])); beat.looked(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held\n"
        assert is_guarded(lock)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert not is_guarded(lock)


def test_a_tick_asks_its_desk_for_the_guard_and_holds_without_one(tmp_path: Path) -> None:
    at, clock = desk(tmp_path, crowd(900).logs(), guarded=lambda: False)
    clock.at = 64
    at.platform.apply(virtual_service(route(Phase.GATED)), expected=ANY)
    world = look(at)
    assert world is not None
    assert world.guarded is False
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.action == "hold"
    assert "no living guard" in decision.reason
