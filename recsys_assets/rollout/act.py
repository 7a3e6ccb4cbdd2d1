"""Acting on a decision: the route by compare-and-swap first, then the ledger; both may be done again.

Here: what the tick and the guard share. Not here: decisions, logs, the registry. Imports neither Dagster nor MLflow.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from recsys_assets.platform.interface import VIRTUAL_SERVICE, Platform
from recsys_assets.records import Decision, Phase
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.pauses import record_pauses
from recsys_assets.rollout.route import RouteState, moved, read_route, renewed, virtual_service


def read_state(platform: Platform, model_name: str) -> RouteState | None:
    """The release as the route object tells it, or None where there is no route."""
    manifest = platform.get(VIRTUAL_SERVICE, model_name)
    return None if manifest is None else read_route(manifest)


def move(
    platform: Platform, ledger: Ledger, state: RouteState, decision: Decision, *, actor: str, now: datetime
) -> RouteState:
    """Change phase, step and traffic; raises Conflict when somebody else changed the route since it was read.

    A crash after the first line leaves a route that knows its reason: `record` writes the row on the next tick.
    """
    written = platform.apply(
        virtual_service(moved(state, decision, actor=actor, now=now)), expected=state.resource_version
    )
    after = read_route(written)
    record(ledger, after, verdicts=[v.model_dump(mode="json") for v in decision.verdicts])
    return after


def record(ledger: Ledger, state: RouteState, *, verdicts: list[dict[str, Any]] | None = None) -> bool:
    """Write the row of the route's latest transition unless it stands there; True when it was missing."""
    release = state.release
    key = f"{release.release_id}/{state.transition}"
    body = {
        "version": release.model.version,
        "model": release.model.model_dump(mode="json"),
        "digest": release.model.bundle_digest,
        "champion": release.champion,
        "phase": state.phase.value,
        "step": state.step,
        "weight_bp": state.split.canary_weight_bp,
        "action": state.action,
        "reason": state.reason,
        "verdicts": verdicts or [],
    }
    first = state.transition == 0
    kind = "opened" if first else state.phase.value
    if not first and not ledger.has(f"{release.release_id}/0"):
        opening = body | {"phase": Phase.GATED.value, "reason": "recorded afterwards", "verdicts": [], "weight_bp": 0}
        ledger.append(
            "opened",
            release_id=release.release_id,
            actor=state.actor,
            at=release.opened_at,
            key=f"{release.release_id}/0",
            body=opening,
        )
    new = ledger.append(kind, release_id=release.release_id, actor=state.actor, at=state.entered_at, key=key, body=body)
    record_pauses(ledger, release.release_id, state.pauses, weight_bp=state.split.canary_weight_bp)
    return new


def renew(platform: Platform, state: RouteState, *, now: datetime) -> RouteState:
    """Say that somebody looked. Only when a third of the lease is gone: each write makes the gateway look, too."""
    left = (state.lease - now).total_seconds()
    if left > state.release.plan.lease_seconds * 2 / 3 or state.phase.is_end:
        return state
    return _write_lease(platform, state, now=now)


def _write_lease(platform: Platform, state: RouteState, *, now: datetime) -> RouteState:
    """Change nothing but the lease, so that an edit by hand stays as it is, and seen."""
    return read_route(platform.apply(virtual_service(renewed(state, now=now)), expected=state.resource_version))
