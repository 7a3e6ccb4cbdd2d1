"""Acting on a decision: the route by compare-and-swap first, then the ledger; both may be done again.

Here: what the tick and the guard share. Not here: decisions, logs, the registry. Imports neither Dagster nor MLflow.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from recsys_assets.platform.interface import VIRTUAL_SERVICE, Platform
from recsys_assets.records import Decision, Phase, Release
from recsys_assets.rollout.clocks import ClockMark
from recsys_assets.rollout.ledger import OPENED, Ledger
from recsys_assets.rollout.pauses import record_pauses
from recsys_assets.rollout.route import RouteState, lease_is_over, moved, read_route, renewed, virtual_service
from recsys_assets.rollout.trail import Move


def read_state(platform: Platform, model_name: str) -> RouteState | None:
    """The release as the route object tells it, or None where there is no route."""
    manifest = platform.get(VIRTUAL_SERVICE, model_name)
    return None if manifest is None else read_route(manifest)


def move(
    platform: Platform,
    ledger: Ledger,
    state: RouteState,
    decision: Decision,
    *,
    actor: str,
    now: datetime,
    clock: ClockMark | None = None,
) -> RouteState:
    """Change phase, step and traffic; raises Conflict when somebody else changed the route since it was read.

    A crash after the route is written leaves a route that knows its reason: whoever looks next writes the row.
    """
    planned = moved(state, decision, actor=actor, now=now, clock=clock)
    written = platform.apply(virtual_service(planned), expected=state.resource_version)
    after = read_route(written)
    record(ledger, after, verdicts=[v.model_dump(mode="json") for v in decision.verdicts])
    return after


def record(ledger: Ledger, state: RouteState, *, verdicts: list[dict[str, Any]] | None = None) -> bool:
    """Write the row of each of the release's moves unless it stands there; True when the latest was missing.

    Whoever made an earlier move may have died between route and ledger. `verdicts` belong to the latest move.
    """
    release = state.release
    written = {event.key for event in ledger.events(release.release_id)}
    new = False
    for move_made in (*_opening(state), *state.trail, state.latest):
        key = f"{release.release_id}/{move_made.transition}"
        if key in written:
            continue
        told = (verdicts or []) if move_made.transition == state.transition else []
        new = ledger.append(
            OPENED if move_made.transition == 0 else move_made.phase.value,
            release_id=release.release_id,
            actor=move_made.actor,
            at=move_made.at,
            key=key,
            body=_body(release, move_made) | {"verdicts": told} | _promise(release, move_made),
        )
    record_pauses(ledger, release.release_id, state.pauses, weight_bp=state.split.canary_weight_bp)
    return new


def _opening(state: RouteState) -> tuple[Move, ...]:
    """The opening of a release whose route was written before routes kept a trail, or was put there by hand."""
    if state.transition == 0 or (state.trail and state.trail[0].transition == 0):
        return ()
    at = state.release.opened_at
    changes = {"transition": 0, "phase": Phase.GATED, "weight_bp": 0, "at": at, "reason": "recorded afterwards"}
    return (state.latest.model_copy(update=changes),)


def _promise(release: Release, made: Move) -> dict[str, Any]:
    """The row of the opening keeps the plan, which outlives the route."""
    return {"plan": release.plan.model_dump(mode="json")} if made.transition == 0 else {}


def _body(release: Release, made: Move) -> dict[str, Any]:
    return {
        "version": release.model.version,
        "model": release.model.model_dump(mode="json"),
        "digest": release.model.bundle_digest,
        "champion": release.champion,
        "phase": made.phase.value,
        "step": made.step,
        "weight_bp": made.weight_bp,
        "action": made.action,
        "reason": made.reason,
        **({} if made.episode is None else {"episode": made.episode.model_dump(mode="json")}),
    }


def renew(platform: Platform, state: RouteState, *, now: datetime, clock: ClockMark | None = None) -> RouteState:
    """Say that somebody looked. Only when a third of the lease is gone: each write makes the gateway look, too.

    Nothing but the lease is changed, so that an edit by hand stays as it is, and seen.
    """
    left = (state.lease - now).total_seconds()
    fresh = left > state.release.plan.lease_seconds * 2 / 3 and not lease_is_over(state, now)
    if fresh or state.phase.is_end:
        return state
    after = renewed(state, now=now, clock=clock)
    return read_route(platform.apply(virtual_service(after), expected=state.resource_version))


def rewrite(platform: Platform, state: RouteState, **changes: Any) -> RouteState:
    """Change these fields of the state and nothing else; raises Conflict as `move` does."""
    return read_route(platform.apply(virtual_service(replace(state, **changes)), expected=state.resource_version))
