"""What follows the end of a release: who saw what, marks, aliases, and the service that nobody needs any more.

Here: each part safe to do again, in any process. Not here: the decision that ended it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from recsys_assets.platform.interface import ANY, DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE
from recsys_assets.records import Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.rollout.route import RouteState, planned_split, stable_service


def settle(desk: Desk, state: RouteState) -> None:
    """What follows an end, each part safe to do again: who saw what, marks, aliases, the service nobody needs."""
    release_id = state.release.release_id
    done = f"{release_id}/{state.transition}/{rows.SETTLED}"
    if not state.phase.is_end or desk.ledger.has(done):
        return
    _write_audience(desk, state)
    _set_aliases(desk, state)
    _remove_service(desk, state)
    desk.ledger.append(
        rows.SETTLED,
        release_id=release_id,
        actor=state.actor,
        at=desk.clock(),
        key=done,
        body={"phase": state.phase.value},
    )


def _write_audience(desk: Desk, state: RouteState) -> None:
    release, began = state.release, next((w.since for w in state.weights if w.weight_bp), None)
    if began is None:
        return
    logs = desk.metrics.gateway_only(began)

    def write(kind: str, body: dict[str, Any]) -> None:
        key = f"{release.release_id}/{kind}"
        desk.ledger.append(
            kind, release_id=release.release_id, actor=state.actor, at=state.entered_at, key=key, body=body
        )

    if state.phase is Phase.ROLLED_BACK:
        mark = {
            "model_version": release.model.version,
            "since": release.opened_at.isoformat(),
            "until": desk.clock().isoformat(),
        }
        write(rows.MARKED, mark)
    if logs.gateway is not None:
        write(rows.AUDIENCE, {"variants": audience(logs, since=began, until=desk.clock())})


def audience(logs: Logs, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Visitors and seconds of each variant, by what the gateway served."""
    if logs.gateway is None:
        return []
    served = logs.gateway.filter(
        pl.col("variant").is_in(["stable", "canary"]) & pl.col("served_at").is_between(since, until)
    )
    counts = served.group_by("variant").agg(
        visitors=pl.col("visitor_id").n_unique(),
        seconds=(pl.col("served_at").max() - pl.col("served_at").min()).dt.total_milliseconds() / 1_000,
    )
    return counts.sort("variant").to_dicts()


def _set_aliases(desk: Desk, state: RouteState) -> None:
    if state.phase is Phase.CHAMPION:
        desk.registry.set_alias("champion", state.version)
    challenger = desk.registry.challenger() if state.phase is not Phase.HELD else None
    if challenger is not None and challenger.version == state.version:
        desk.registry.drop_alias("challenger")


def _remove_service(desk: Desk, state: RouteState) -> None:
    """Of the two services one is left: the one that the route gives everything."""
    release = state.release
    nobody_left = state.phase is not Phase.CHAMPION and release.champion is None
    kept = "" if nobody_left else planned_split(release, state.phase, state.step).stable
    for name in {release.model.service_name, stable_service(release)} - {kept}:
        desk.platform.delete(INFERENCE_SERVICE, name)
        desk.platform.delete(DESTINATION_RULE, name)
    if nobody_left:
        desk.platform.delete(VIRTUAL_SERVICE, desk.model_name, expected=state.resource_version or ANY)
