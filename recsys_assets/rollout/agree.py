"""The registry's aliases and the gateway's rules, brought to what the route says.

Here: level-triggered: any tick may do it again, and a late writer's alias or rule does not stay. Not here: the route,
which is the truth, or the services (settle.py).
"""

from __future__ import annotations

from recsys_assets.platform.interface import ANY, DESTINATION_RULE, Conflict, Manifest
from recsys_assets.records import Release
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.route import RouteState, champion_of, destination_rule, kept_service, stable_service


def agree(desk: Desk) -> None:
    """Bring aliases and rules to the route as it stands now. Nothing where there is no route."""
    state = read_state(desk.platform, desk.model_name)
    if state is not None:
        agree_champion(desk, state)
        agree_rules(desk, state)


def agree_champion(desk: Desk, state: RouteState) -> None:
    """The alias `champion` names whom the route gives the users to, once there is one."""
    wanted, now = champion_of(state), desk.registry.champion()
    if wanted is not None and (now is None or now.version != wanted):
        desk.registry.set_alias("champion", wanted)


def drop_challenger(desk: Desk, version: str) -> None:
    """This version asks for nothing any more. The registry knows no compare-and-swap: a version that began to ask
    between the look and the drop is named again."""
    challenger = desk.registry.challenger()
    if challenger is None or challenger.version != version:
        return
    desk.registry.drop_alias("challenger")
    newest = max((v.version for v in desk.registry.versions()), key=int, default=version)
    if newest not in {r.version for r in desk.ledger.releases()}:
        desk.registry.set_alias("challenger", newest)


def agree_rules(desk: Desk, state: RouteState) -> None:
    """The new version has its rule while the route may name it, and no rule is left of versions that it cannot name."""
    release = state.release
    named = {kept_service(state)} if state.phase.is_end else {release.model.service_name, stable_service(release)}
    try:
        if release.model.service_name in named:
            _ensure_rule(desk, release)
        for rule in desk.platform.list(DESTINATION_RULE):
            metadata = rule["metadata"]
            ours = (metadata.get("labels") or {}).get("model") == release.model.name
            if ours and metadata["name"] not in named and _stands(desk, state):
                desk.platform.delete(DESTINATION_RULE, metadata["name"], expected=metadata["resourceVersion"])
    except Conflict:
        return  # it is put to use again: the next tick looks again


def _ensure_rule(desk: Desk, release: Release) -> None:
    wanted = destination_rule(release.model, release_id=release.release_id)
    standing = desk.platform.get(DESTINATION_RULE, release.model.service_name)
    if standing is None or _owned(standing) != _owned(wanted):
        desk.platform.apply(wanted, expected=ANY)


def _owned(rule: Manifest) -> tuple[object, object]:
    """What we write of a rule. It names its release: a late delete of an earlier one does not fit it any more."""
    return rule["spec"], rule["metadata"].get("annotations")


def _stands(desk: Desk, state: RouteState) -> bool:
    now = read_state(desk.platform, desk.model_name)
    return now is not None and now.release.release_id == state.release.release_id
