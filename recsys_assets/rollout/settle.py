"""What follows the end of a release: who saw what, marks, aliases, and the service that nobody needs any more.

Here: each part safe to do again, in any process, and left alone by a process that is late. Not here: the decision that
ended it. Order, fences and what each crash leaves: docs/state.md.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Any

import polars as pl

from recsys_assets.platform.interface import DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE, Conflict
from recsys_assets.records import Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.agree import agree_champion, drop_challenger
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.rollout.route import RouteState, kept_service, stable_service


def settle(desk: Desk, state: RouteState, *, spare: Set[str] = frozenset()) -> bool:
    """Do what follows this end; True when all of it is done. `spare` names services that are about to be used again.

    False where the route has moved on, or somebody else has settled it meanwhile: then it is no longer ours to do.
    """
    if not state.phase.is_end:
        return False
    if not desk.ledger.has(settled_key(state)):
        _write_audience(desk, state)
        if not (_agree_aliases(desk, state) and _remove_services(desk, state, spare)):
            return False
        _write(desk, state, rows.SETTLED, {"phase": state.phase.value}, key=settled_key(state))
    return kept_service(state) is not None or _remove_route(desk, state)


def settled_key(state: RouteState) -> str:
    """The key of the row that says that all of this end's follow-ups are done."""
    return f"{state.release.release_id}/{state.transition}/{rows.SETTLED}"


def is_settled(ledger: Ledger, state: RouteState) -> bool:
    """Whether nothing is left to do. A route that leads nowhere is not settled while it stands."""
    return state.phase.is_end and kept_service(state) is not None and ledger.has(settled_key(state))


def is_ours(desk: Desk, state: RouteState) -> bool:
    """The fence: the route still tells this transition of this release, and nobody has settled it.

    Asked right before each effect. What a process still does that is stopped after asking cannot hurt: a delete names
    the resourceVersion read before, which every later release changes, and each tick brings the aliases to the route.
    """
    now = read_state(desk.platform, desk.model_name)
    same = now is not None and (now.release.release_id, now.transition) == (state.release.release_id, state.transition)
    return same and not desk.ledger.has(settled_key(state))


def _write(desk: Desk, state: RouteState, kind: str, body: dict[str, Any], *, key: str) -> None:
    at = desk.clock() if kind == rows.SETTLED else state.entered_at
    desk.ledger.append(kind, release_id=state.release.release_id, actor=state.actor, at=at, key=key, body=body)


def _write_audience(desk: Desk, state: RouteState) -> None:
    release, began = state.release, next((w.since for w in state.weights if w.weight_bp), None)
    if began is None:
        return
    if state.phase is Phase.ROLLED_BACK or release.model.drill:
        mark = {
            "model_version": release.model.version,
            "since": _marked_since(desk, state).isoformat(),
            "until": desk.clock().isoformat(),
        }
        _write(desk, state, rows.MARKED, mark, key=f"{release.release_id}/{rows.MARKED}")
    logs = desk.metrics.gateway_only(began)
    if logs.gateway is not None:
        body = {"variants": audience(logs, since=began, until=desk.clock())}
        _write(desk, state, rows.AUDIENCE, body, key=f"{release.release_id}/{rows.AUDIENCE}")


def _marked_since(desk: Desk, state: RouteState) -> datetime:
    """The opening; where this was the last of several episodes, the first of them: none was marked yet."""
    opened = state.release.opened_at
    if state.episode is None or state.release.model.drill:
        return opened
    earlier = desk.ledger.episodes(state.release.model.bundle_digest)
    return min((opened, *(episode.began for episode in earlier)))


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


def _agree_aliases(desk: Desk, state: RouteState) -> bool:
    if not is_ours(desk, state):
        return False
    agree_champion(desk, state)
    if state.phase is not Phase.HELD:
        if not is_ours(desk, state):
            return False
        drop_challenger(desk, state.version)
    return True


def _remove_services(desk: Desk, state: RouteState, spare: Set[str]) -> bool:
    """Of the two services one is left: the one that the route gives everything.

    What stands is read before the fence: one that is put to use again afterwards has another resourceVersion.
    """
    names = {state.release.model.service_name, stable_service(state.release)} - {kept_service(state)} - spare
    for kind, name in ((kind, name) for name in sorted(names) for kind in (INFERENCE_SERVICE, DESTINATION_RULE)):
        standing = desk.platform.get(kind, name)
        if not is_ours(desk, state):
            return False
        if standing is None:
            continue
        try:
            desk.platform.delete(kind, name, expected=standing["metadata"]["resourceVersion"])
        except Conflict:
            return False
    return True


def _remove_route(desk: Desk, state: RouteState) -> bool:
    """After a first release that did not become champion there is nothing that a route could lead to."""
    if state.resource_version is None:
        return False
    try:
        desk.platform.delete(VIRTUAL_SERVICE, desk.model_name, expected=state.resource_version)
    except Conflict:
        return False
    return True
