"""The guard: a loop outside Dagster that takes the weight from a canary that breached or that nobody looks after.

Here: `python -m recsys_assets.rollout.guard`. It can do this one thing only, works without Dagster, MLflow and the
webserver, and reads nothing but the route object and the logs. Not here: what a breach is (breaches.py), any step
forward.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from recsys_assets.platform.interface import (
    INFERENCE_SERVICE,
    Conflict,
    NotFound,
    Platform,
    PlatformError,
    ServiceStatus,
)
from recsys_assets.program_log import start_logging
from recsys_assets.records import Decision, Episode, Phase, Verdict
from recsys_assets.rollout.act import move, read_state
from recsys_assets.rollout.breaches import full_verdicts, gateway_verdicts, judge_breach
from recsys_assets.rollout.guarding import Beat, guard_lock
from recsys_assets.rollout.in_force import as_seen
from recsys_assets.rollout.ledger import FROZEN, Ledger, LedgerUnavailable, open_ledger
from recsys_assets.rollout.metrics import LogMetrics, MetricsSource
from recsys_assets.rollout.outcomes import Scope
from recsys_assets.rollout.route import RouteBroken, RouteState, planned_split, stable_service
from recsys_assets.rollout.shares import overexposed
from recsys_assets.stalls import Beats, StallLog

__all__ = ["Post", "judge_breach", "main", "run", "watch"]

ACTOR: Final = "guard"
# The full look costs more the longer a release takes; it takes at most this share of the time.
FULL_SHARE: Final = 0.2
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
    # When each share, by release and number, was first seen in force: where no tick runs, the route does not tell.
    seen: dict[tuple[str, int], datetime] = field(default_factory=dict)


def watch(post: Post, *, full: bool = True) -> Decision | None:
    """Look once. The decision when weight was taken, or could not be because stable is broken too; else None.

    First whether the route gives the canary more than was compared, whatever its phase; then what the gateway alone
    tells; where that is no breach and a `full` look is due, quality and degraded answers.
    """
    state = read_state(post.platform, post.model_name)
    if state is None or state.phase.is_end:
        return None
    now = post.clock()
    if excess := overexposed(state.release, state.phase, state.split):
        return _act(post, state, _withdrawal(post, state, excess), now)
    if state.phase not in {Phase.CANARY, Phase.BAKING}:
        return None
    decision = _judged(post, state, _gateway(post, state, now), now)
    if decision is None and full:
        decision = _judged(post, state, _full(post, state, now), now)
    return None if decision is None else _act(post, state, decision, now)


def _withdrawal(post: Post, state: RouteState, excess: str) -> Decision:
    """Take the weight that nobody compared; that is no verdict on the model. Not where stable could not take it."""
    stable = _stable(post, state)
    takes = stable is not None and stable.ready
    phase = Phase.HELD if takes else state.phase
    return Decision(
        release_id=state.release.release_id,
        action="roll_back" if takes else "pause",
        phase=phase,
        step=state.step,
        split=planned_split(state.release, phase, state.step) if takes else state.split,
        reason=excess if takes else f"frozen, call a person: stable is not ready; {excess}",
    )


def _act(post: Post, state: RouteState, decision: Decision, now: datetime) -> Decision | None:
    if decision.action == "pause":
        _call_a_person(post, state, decision, now)
        return decision
    try:
        move(post.platform, post.ledger, state, decision, actor=ACTOR, now=now)
    except Conflict:
        return None  # somebody moved the route since; look again at what stands there now
    log.warning("took the weight from %s: %s", state.release.release_id, decision.reason)
    return decision


def _judged(post: Post, state: RouteState, verdicts: tuple[Verdict, ...], now: datetime) -> Decision | None:
    stable = _stable(post, state)
    ready, there = stable is not None and stable.ready, stable is not None
    decision = judge_breach(state, verdicts, stable_ready=ready, stable_there=there, now=now)
    if decision is None or decision.episode is None:
        return decision
    return judge_breach(state, verdicts, stable_ready=ready, now=now, earlier=_earlier_episodes(post, state))


def _earlier_episodes(post: Post, state: RouteState) -> Sequence[Episode]:
    """Those that ended earlier releases of this digest. A ledger that does not answer keeps no weight where it is: its
    own rows deny the digest later (denials.py)."""
    try:
        return post.ledger.episodes(state.release.model.bundle_digest)
    except LedgerUnavailable as broken:
        log.error("earlier episodes are not known: %s", broken)
        return ()


def _gateway(post: Post, state: RouteState, now: datetime) -> tuple[Verdict, ...]:
    scope = _scope(post, state, now)
    return () if scope.start is None else gateway_verdicts(post.metrics.gateway_only(_since(scope.start, state)), scope)


def _full(post: Post, state: RouteState, now: datetime) -> tuple[Verdict, ...]:
    scope = _scope(post, state, now)
    if scope.start is None:
        return ()
    logs = post.metrics.logs(_since(scope.start, state))
    # Whether stable is fit must be known here as well, before all users are given to it.
    return full_verdicts(logs, scope) + gateway_verdicts(logs, scope)


def _since(start: datetime, state: RouteState) -> datetime:
    return start - timedelta(seconds=state.release.plan.history_seconds)


def _scope(post: Post, state: RouteState, now: datetime) -> Scope:
    return Scope(
        model_version=state.version,
        stable_version=state.release.champion or "",
        plan=state.release.plan,
        weights=as_seen(post.platform, state, now, first_seen=partial(_first_seen, post, state)),
        top_k=post.top_k,
        now=now,
        stalls=() if not state.weights else post.metrics.stalls(state.weights[0].since),
    )


def _first_seen(post: Post, state: RouteState, now: datetime) -> datetime:
    return post.seen.setdefault((state.release.release_id, len(state.weights)), now)


def _stable(post: Post, state: RouteState) -> ServiceStatus | None:
    """How stable's service stands, or None where there is none."""
    try:
        return post.platform.status(INFERENCE_SERVICE, stable_service(state.release))
    except NotFound:
        return None


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


def run(post: Post, beat: Beat, *, interval_seconds: float, stop: threading.Event, beats: Beats | None = None) -> None:
    """Look until stopped. What does not answer or cannot be read is told once and looked at again.

    A look may take long; a rest that took longer than it should was a stall of this machine, and is noted.
    """
    told, full_from = "", 0.0
    beats = beats or Beats(StallLog(None, ACTOR))
    while not beats.rest(stop.wait, interval_seconds):
        began = time.monotonic()
        full = began >= full_from
        try:
            watch(post, full=full)
            beat.looked()
            told = ""
        except (PlatformError, RouteBroken, OSError) as broken:
            beat.blind()
            if str(broken) != told:
                log.error("cannot look: %s", broken)
                told = str(broken)
        if full:
            full_from = began + (time.monotonic() - began) / FULL_SHARE


def main(argv: list[str] | None = None) -> None:
    from recsys_assets.platform.build import open_platform
    from recsys_assets.settings import load_settings
    from recsys_assets.store_settings import LEDGER_ONLY

    parser = argparse.ArgumentParser(prog="python -m recsys_assets.rollout.guard", description=__doc__)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args(argv)
    start_logging()
    settings = load_settings(home=given.home, secrets=LEDGER_ONLY)
    post = Post(
        model_name=settings.model_name,
        platform=open_platform(settings),
        ledger=open_ledger(settings),
        metrics=LogMetrics(settings.home),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("guarding %s below %s", settings.model_name, settings.home)
    run(
        post,
        Beat(guard_lock(settings)),
        interval_seconds=settings.rollout.guard_interval_seconds,
        stop=stop,
        beats=Beats(StallLog(settings.home, ACTOR)),
    )


if __name__ == "__main__":
    main()
