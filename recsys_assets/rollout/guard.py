"""The guard: a loop outside Dagster that takes the weight from a canary that breached or that nobody looks after.

Here: `python -m recsys_assets.rollout.guard`. It can do this one thing only, works without Dagster, MLflow and the
webserver, and reads nothing but the route object and the gateway's rows. Not here: any step forward.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from recsys_assets.platform.interface import (
    INFERENCE_SERVICE,
    Conflict,
    NotFound,
    Platform,
    PlatformError,
)
from recsys_assets.records import Decision, Outcome, Phase, Verdict
from recsys_assets.rollout.act import move, read_state
from recsys_assets.rollout.evidence import STABLE
from recsys_assets.rollout.guardrails import guard_verdicts, stable_health
from recsys_assets.rollout.ledger import FROZEN, Ledger
from recsys_assets.rollout.metrics import LogMetrics, MetricsSource
from recsys_assets.rollout.outcomes import Scope, gateway_requests
from recsys_assets.rollout.route import RouteBroken, RouteState, planned_split, stable_service

ACTOR: Final = "guard"
log = logging.getLogger("recsys_assets.guard")


@dataclass(frozen=True)
class Post:
    """Everything the guard works with."""

    model_name: str
    platform: Platform
    ledger: Ledger
    metrics: MetricsSource
    top_k: int
    clock: Callable[[], datetime]


def watch(post: Post) -> Decision | None:
    """Look once. The decision when weight was taken, or could not be because stable is broken too; else None."""
    state = read_state(post.platform, post.model_name)
    if state is None or state.phase not in {Phase.CANARY, Phase.BAKING}:
        return None
    now = post.clock()
    verdicts = _verdicts(post, state, now)
    decision = judge_breach(state, verdicts, stable_ready=_ready(post, state), now=now)
    if decision is None:
        return None
    if decision.action == "pause":
        _call_a_person(post, state, decision, now)
        return decision
    try:
        move(post.platform, post.ledger, state, decision, actor=ACTOR, now=now)
    except Conflict:
        return None  # somebody moved the route since; look again at what stands there now
    log.warning("took the weight from %s: %s", state.release.release_id, decision.reason)
    return decision


def judge_breach(
    state: RouteState, verdicts: tuple[Verdict, ...], *, stable_ready: bool, now: datetime
) -> Decision | None:
    """Pure. Roll back at a breach; hold at an expired lease, which is nobody's verdict on the model; else nothing.

    No data is no breach: the lease takes the weight when nobody can judge any more.
    """
    failed = [v for v in verdicts if v.outcome is Outcome.FAIL and v.check != STABLE]
    stable_broken = not stable_ready or any(v.check == STABLE and v.outcome is Outcome.FAIL for v in verdicts)
    if not failed and now < state.lease:
        return None
    why = "; ".join(f"{v.check} FAIL: {v.reason}" for v in failed) or (
        f"nobody looked after it since the lease ran out at {state.lease.isoformat(timespec='seconds')}"
    )
    if stable_broken:
        return _decision(state, "pause", state.phase, f"frozen, call a person: stable is broken too; {why}", verdicts)
    if failed:
        return _decision(state, "roll_back", Phase.ROLLED_BACK, why, verdicts)
    return _decision(state, "roll_back", Phase.HELD, why, verdicts)


def _decision(state: RouteState, action: str, phase: Phase, reason: str, verdicts: tuple[Verdict, ...]) -> Decision:
    moves = phase is not state.phase
    return Decision(
        release_id=state.release.release_id,
        action="roll_back" if action == "roll_back" else "pause",
        phase=phase,
        step=state.step,
        split=planned_split(state.release, phase, state.step) if moves else state.split,
        reason=reason,
        verdicts=verdicts,
    )


def _verdicts(post: Post, state: RouteState, now: datetime) -> tuple[Verdict, ...]:
    scope = Scope(
        model_version=state.version,
        stable_version=state.release.champion or "",
        plan=state.release.plan,
        weights=state.weights,
        top_k=post.top_k,
        now=now,
    )
    if scope.start is None:
        return ()
    logs = post.metrics.gateway_only(scope.start)
    requests = gateway_requests(logs, scope)
    return (*guard_verdicts(logs, scope, requests), stable_health(logs, scope, requests))


def _ready(post: Post, state: RouteState) -> bool:
    try:
        return post.platform.status(INFERENCE_SERVICE, stable_service(state.release)).ready
    except NotFound:
        return False


def _call_a_person(post: Post, state: RouteState, decision: Decision, now: datetime) -> None:
    release_id = state.release.release_id
    new = post.ledger.append(
        FROZEN,
        release_id=release_id,
        actor=ACTOR,
        at=now,
        key=f"{release_id}/{state.transition}/{FROZEN}/{ACTOR}",
        body={"reason": decision.reason, "weight_bp": state.split.canary_weight_bp, "phase": state.phase.value},
    )
    if new:
        log.critical("%s: %s", release_id, decision.reason)


def run(post: Post, *, interval_seconds: float, stop: threading.Event) -> None:
    """Look until stopped. What does not answer or cannot be read is told once and looked at again."""
    told = ""
    while not stop.wait(interval_seconds):
        try:
            watch(post)
            told = ""
        except (PlatformError, RouteBroken, OSError, sqlite3.Error) as broken:
            if str(broken) != told:
                log.error("cannot look: %s", broken)
                told = str(broken)


def main(argv: list[str] | None = None) -> None:
    from recsys_assets.platform.local.store import open_store
    from recsys_assets.settings import load_settings

    parser = argparse.ArgumentParser(prog="python -m recsys_assets.rollout.guard", description=__doc__)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = load_settings(home=given.home)
    post = Post(
        model_name=settings.model_name,
        platform=open_store(settings),
        ledger=Ledger(settings.path("ledger.db")),
        metrics=LogMetrics(settings.home),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("guarding %s below %s", settings.model_name, settings.home)
    run(post, interval_seconds=settings.rollout.guard_interval_seconds, stop=stop)


if __name__ == "__main__":
    main()
