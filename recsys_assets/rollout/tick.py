"""One tick of a release: read the world, decide, act.

Here: the order of things, idempotent at every line. Not here: what a person may do (people.py), Dagster, MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from recsys_assets.platform.interface import INFERENCE_SERVICE, Conflict, NotFound, Platform, ServiceStatus
from recsys_assets.records import Decision, Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import move, read_state, record, renew
from recsys_assets.rollout.agree import agree
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.approval import ask
from recsys_assets.rollout.clocks import jumped_seconds
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.in_force import as_seen, noted
from recsys_assets.rollout.outcomes import Scope, seen_in_step
from recsys_assets.rollout.phases import clock_was_set, decide
from recsys_assets.rollout.route import RouteState, stable_service
from recsys_assets.rollout.settle import settle
from recsys_assets.rollout.shadow import compare_shadow
from recsys_assets.rollout.start import open_release as open_release
from recsys_assets.rollout.world import World
from recsys_assets.stalls import Stall

# Rows of a request that began before the release may be written after it opened.
LOOK_BACK_SECONDS = 5.0


def look(desk: Desk) -> World | None:
    """The world as it stands, or None where there is no release."""
    state = read_state(desk.platform, desk.model_name)
    return None if state is None else _world(desk, state, desk.clock())


def preview(desk: Desk) -> Decision | None:
    """What a tick would decide now; nothing is changed."""
    state = read_state(desk.platform, desk.model_name)
    return None if state is None else decide_on(desk, state)


def decide_on(desk: Desk, state: RouteState) -> Decision:
    """What a tick would decide now about this state; nothing is changed."""
    now = desk.clock()
    return _decide(desk, _world(desk, state, now), now)


def _world(desk: Desk, state: RouteState, now: datetime) -> World:
    release = state.release
    names = {release.model.service_name, stable_service(release)}
    services = {name: status for name in names if (status := _status(desk.platform, name)) is not None}
    world = World(
        route=state,
        services=services,
        approved=desk.ledger.approved(release.release_id),
        guarded=desk.guarded(),
        # What was allowed when it opened stays so: an override that expires, or that it spent, ends no release.
        denied=frozenset(desk.ledger.denied(release.opened_at, for_release=release.release_id)),
        episodes=tuple(desk.ledger.episodes(release.model.bundle_digest)),
    )
    if state.phase.is_end:
        return world
    if state.phase is Phase.GATED:
        return replace(world, gate=desk.gate(release.model))
    look_back = max(LOOK_BACK_SECONDS, release.plan.history_seconds)
    logs = desk.metrics.logs(release.opened_at - timedelta(seconds=look_back))
    stalls = desk.metrics.stalls(release.opened_at)
    if state.phase is Phase.SHADOW:
        bundle = desk.bundle(release.model) if desk.bundle else None
        return replace(world, shadow=compare_shadow(logs, state, now=now, stalls=stalls), gate=bundle)
    shares = replace(state, weights=as_seen(desk.platform, state, now))
    scope = scope_of(shares, top_k=desk.top_k, now=now, stalls=stalls)
    # Baking has a deadline of its own, which begins after the approval.
    wait = desk.ledger.waited_for_approval(release.release_id, now) if state.phase is Phase.CANARY else timedelta(0)
    return replace(world, verdicts=judge(logs, scope), visitors=seen_in_step(logs, scope), waited=wait)


def scope_of(state: RouteState, *, top_k: int, now: datetime, stalls: Sequence[Stall] = ()) -> Scope:
    """What the analysis looks at, by the route object."""
    release = state.release
    return Scope(
        model_version=release.model.version,
        stable_version=release.champion or "",
        plan=release.plan,
        weights=state.weights,
        top_k=top_k,
        now=now,
        stalls=stalls,
    )


def tick(desk: Desk, *, actor: str) -> Decision | None:
    """Read, decide, act once. None where there is no release. Losing a race to another writer is a hold."""
    state = read_state(desk.platform, desk.model_name)
    if state is None:
        return None
    record(desk.ledger, state)
    now = desk.clock()
    decision = decide_on(desk, state)
    if state.phase.is_end:
        settle(desk, state)
    elif decision.action in {"hold", "pause"}:
        decision = look_after(desk, state, decision, actor=actor)
    else:
        decision = _act(desk, state, decision, actor=actor, now=now)
    agree(desk)
    return decision


def _decide(desk: Desk, world: World, now: datetime) -> Decision:
    """With a clock that was set, times say nothing: neither that a canary baked, nor that it had its time."""
    decision = decide(world, now)
    jump = jumped_seconds(world.route.clock, desk.mark())
    return clock_was_set(world, decision, jump) if jump else decision


def _act(desk: Desk, state: RouteState, decision: Decision, *, actor: str, now: datetime) -> Decision:
    try:
        after = move(desk.platform, desk.ledger, state, decision, actor=actor, now=now, clock=desk.mark())
    except Conflict as lost:
        return _stale(state, decision, lost)
    settle(desk, after)
    return decision


def look_after(desk: Desk, state: RouteState, decision: Decision, *, actor: str) -> Decision:
    """What a look does that moves nothing: write why, once, and since when the share is in force; renew the lease; ask
    for what only a person can give. Until the route tells since when, no visitor counts."""
    now = desk.clock()
    _note(desk, state, decision, actor=actor, now=now)
    try:
        state = noted(desk.platform, state, now)
        renew(desk.platform, state, now=now, clock=desk.mark())
    except Conflict as lost:
        return _stale(state, decision, lost)
    ask(desk, state, decision, actor=actor, now=now)
    return decision


def _stale(state: RouteState, decision: Decision, lost: Conflict) -> Decision:
    """What another writer did stands; the next tick reads it and decides afresh."""
    unmoved = {"action": "hold", "phase": state.phase, "step": state.step, "split": state.split}
    return decision.model_copy(update=unmoved | {"reason": f"stale: {lost}"})


def _note(desk: Desk, state: RouteState, decision: Decision, *, actor: str, now: datetime) -> None:
    """Write why it waits, once for each kind of reason, so that the ledger says it without growing at every tick."""
    kind = rows.FROZEN if decision.action == "pause" else rows.WAITING
    outcomes = ",".join(f"{v.check}={v.outcome.value}" for v in decision.verdicts)
    release_id = state.release.release_id
    desk.ledger.append(
        kind,
        release_id=release_id,
        actor=actor,
        at=now,
        key=f"{release_id}/{state.transition}/{kind}/{outcomes}{_kind_of(state, decision)}",
        body={"reason": decision.reason, "weight_bp": state.split.canary_weight_bp, "phase": state.phase.value},
    )


def _kind_of(state: RouteState, decision: Decision) -> str:
    """Before the shadow the row is all that a command line has: it cannot ask the offline gate, which Dagster keeps."""
    if state.phase is not Phase.GATED:
        return ""
    return "/" + sha256(re.sub(r"\d+", "", decision.reason).encode()).hexdigest()[:12]


def _status(platform: Platform, name: str) -> ServiceStatus | None:
    try:
        return platform.status(INFERENCE_SERVICE, name)
    except NotFound:
        return None
