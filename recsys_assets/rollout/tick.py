"""One tick of a release: read the world, decide, act; and how a release is opened.

Here: the order of things, idempotent at every line. Not here: what a person may do (people.py), Dagster, MLflow.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from recsys_assets.platform.interface import (
    ANY,
    INFERENCE_SERVICE,
    Conflict,
    NotFound,
    Platform,
    ServiceStatus,
)
from recsys_assets.records import AnalysisPlan, Decision, ModelVersion, Phase, Release
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import move, read_state, record, renew
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.outcomes import Scope, seen_in_step
from recsys_assets.rollout.phases import World, decide
from recsys_assets.rollout.route import (
    RouteState,
    destination_rule,
    opened,
    stable_service,
    virtual_service,
)
from recsys_assets.rollout.settle import settle
from recsys_assets.rollout.shadow import compare_shadow

# Rows of a request that began before the release may be written after it opened.
LOOK_BACK_SECONDS = 5.0


def look(desk: Desk) -> World | None:
    """The world as it stands, or None where there is no release."""
    state = read_state(desk.platform, desk.model_name)
    return None if state is None else _world(desk, state, desk.clock())


def preview(desk: Desk) -> Decision | None:
    """What a tick would decide now; nothing is changed."""
    world = look(desk)
    return None if world is None else decide(world, desk.clock())


def _world(desk: Desk, state: RouteState, now: datetime) -> World:
    release = state.release
    names = {release.model.service_name, stable_service(release)}
    services = {name: status for name in names if (status := _status(desk.platform, name)) is not None}
    world = World(
        route=state,
        services=services,
        approved=desk.ledger.approved(release.release_id),
        # What was allowed when it opened stays so: an override that expires meanwhile ends no release.
        denied=frozenset(desk.ledger.denied(state.release.opened_at)),
    )
    if state.phase.is_end:
        return world
    if state.phase is Phase.GATED:
        return replace(world, gate=desk.gate(release.model))
    logs = desk.metrics.logs(release.opened_at - timedelta(seconds=LOOK_BACK_SECONDS))
    if state.phase is Phase.SHADOW:
        return replace(world, shadow=compare_shadow(logs, state, now=now))
    scope = scope_of(state, top_k=desk.top_k, now=now)
    return replace(world, verdicts=judge(logs, scope), visitors=seen_in_step(logs, scope))


def scope_of(state: RouteState, *, top_k: int, now: datetime) -> Scope:
    """What the analysis looks at, by the route object."""
    release = state.release
    return Scope(
        model_version=release.model.version,
        stable_version=release.champion or "",
        plan=release.plan,
        weights=state.weights,
        top_k=top_k,
        now=now,
    )


def tick(desk: Desk, *, actor: str) -> Decision | None:
    """Read, decide, act once. None where there is no release. Losing a race to another writer is a hold."""
    state = read_state(desk.platform, desk.model_name)
    if state is None:
        return None
    record(desk.ledger, state)
    if state.phase.is_end:
        settle(desk, state)
        return decide(_world(desk, state, desk.clock()), desk.clock())
    now = desk.clock()
    decision = decide(_world(desk, state, now), now)
    if decision.action in {"hold", "pause"}:
        return look_after(desk, state, decision, actor=actor)
    try:
        settle(desk, move(desk.platform, desk.ledger, state, decision, actor=actor, now=now))
    except Conflict as lost:
        return _stale(state, decision, lost)
    return decision


def look_after(desk: Desk, state: RouteState, decision: Decision, *, actor: str) -> Decision:
    """What a tick does that moves nothing: write why, once, and renew the lease."""
    now = desk.clock()
    _note(desk, state, decision, actor=actor, now=now)
    try:
        renew(desk.platform, state, now=now)
    except Conflict as lost:
        return _stale(state, decision, lost)
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
        key=f"{release_id}/{state.transition}/{kind}/{outcomes}",
        body={"reason": decision.reason, "weight_bp": state.split.canary_weight_bp, "phase": state.phase.value},
    )


def open_release(desk: Desk, model: ModelVersion, plan: AnalysisPlan, *, actor: str) -> RouteState:
    """Open a release of this version, or return the one of it that is under way. Raises ReleaseRefused."""
    state = read_state(desk.platform, desk.model_name)
    if state is not None:
        record(desk.ledger, state)
        if not state.phase.is_end and state.release.model == model:
            return state
        _refuse_if_busy(state, model)
        settle(desk, state)
    now = desk.clock()
    denied = desk.ledger.denied(now)
    if model.bundle_digest in denied:
        raise ReleaseRefused(
            f"version {model.version} has the digest {model.bundle_digest[:16]} that "
            f"{denied[model.bundle_digest]} rolled back; "
            "a person may override it, with a reason"
        )
    release = Release(
        release_id=f"{model.service_name}-{now:%Y%m%dt%H%M%S}",
        model=model,
        champion=None if state is None else _champion(state),
        plan=plan,
        opened_at=now,
    )
    desk.platform.apply(destination_rule(model), expected=ANY)
    expected = None if state is None else state.resource_version
    desk.platform.apply(virtual_service(opened(release, actor=actor)), expected=expected)
    after = read_state(desk.platform, desk.model_name)
    assert after is not None
    record(desk.ledger, after)
    return after


def _refuse_if_busy(state: RouteState, model: ModelVersion) -> None:
    if not state.phase.is_end:
        raise ReleaseRefused(f"{state.release.release_id} is under way ({state.phase.value}): one at a time")
    if _champion(state) == model.version:
        raise ReleaseRefused(f"version {model.version} is the champion already")
    if state.manual_edit:
        raise ReleaseRefused(f"the route was {state.manual_edit}; restore it first")


def _champion(state: RouteState) -> str | None:
    return state.version if state.phase is Phase.CHAMPION else state.release.champion


def _status(platform: Platform, name: str) -> ServiceStatus | None:
    try:
        return platform.status(INFERENCE_SERVICE, name)
    except NotFound:
        return None
