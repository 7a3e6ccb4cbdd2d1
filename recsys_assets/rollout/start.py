"""How a release is opened: the last one settled, the service claimed, then the route by compare-and-swap.

Here: `open_release`, safe to do again, and with two at once one wins. Not here: what a release does later (tick.py).
"""

from __future__ import annotations

from recsys_assets.platform.interface import INFERENCE_SERVICE, RELEASE_ANNOTATION, Conflict
from recsys_assets.records import MAX_COMPARED_BP, AnalysisPlan, ModelVersion, Phase, Release
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.agree import agree_rules
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.route import RouteState, champion_of, opened, read_route, virtual_service
from recsys_assets.rollout.settle import settle

# Each lost race is another writer's progress; so many in a row are a fight that a person should see.
ATTEMPTS = 5


def open_release(desk: Desk, model: ModelVersion, plan: AnalysisPlan, *, actor: str) -> RouteState:
    """Open a release of this version, or return the one of it that is under way. Raises ReleaseRefused."""
    for _ in range(ATTEMPTS):
        try:
            return _open(desk, model, plan, actor=actor)
        except Conflict:
            continue  # somebody wrote since it was read: read again, and decide again
    raise ReleaseRefused(
        f"the route of {desk.model_name} changed {ATTEMPTS} times while version {model.version} opened"
    )


def _open(desk: Desk, model: ModelVersion, plan: AnalysisPlan, *, actor: str) -> RouteState:
    state = read_state(desk.platform, desk.model_name)
    if state is not None:
        record(desk.ledger, state)
        if not state.phase.is_end and state.release.model == model:
            agree_rules(desk, state)
            return state
        _refuse_if_busy(state, model)
    _refuse_if_denied(desk, model)
    _refuse_beyond_comparison(plan)
    if state is not None:
        # The service of this version may be on the list of the last release's follow-ups: now it is wanted again.
        settle(desk, state, spare=frozenset({model.service_name}))
        state = read_state(desk.platform, desk.model_name)
    if state is not None:
        _refuse_if_busy(state, model)
    now = desk.clock()
    release = Release(
        release_id=_unused_id(desk.ledger, f"{model.service_name}-{now:%Y%m%dt%H%M%S}"),
        model=model,
        champion=_serving(desk, model) if state is None else champion_of(state),
        plan=plan,
        opened_at=now,
    )
    _claim(desk, release)
    manifest = virtual_service(opened(release, actor=actor, clock=desk.mark()))
    after = read_route(desk.platform.apply(manifest, expected=None if state is None else state.resource_version))
    record(desk.ledger, after)
    agree_rules(desk, after)
    return after


def _serving(desk: Desk, model: ModelVersion) -> str | None:
    """The champion whose service is still there though no route leads to it: somebody removed the route.

    The registry names it, or where its aliases were lost, too, the ledger. Only where nobody is left to compare with is
    a release a first one, which gets all users by the offline gate alone.
    """
    named = desk.registry.champion()
    last = [row.version for row in desk.ledger.releases() if row.phase is Phase.CHAMPION][-1:]
    for version in ([named.version] if named else []) + last:
        service = f"{model.name}-v{version}"
        if version != model.version and desk.platform.get(INFERENCE_SERVICE, service) is not None:
            return version
    return None


def _refuse_beyond_comparison(plan: AnalysisPlan) -> None:
    """A plan that was copied or read past its own validation."""
    if plan.steps_bp[-1] > MAX_COMPARED_BP:
        raise ReleaseRefused(
            f"the plan's last step is {plan.steps_bp[-1]} bp, at most {MAX_COMPARED_BP} is allowed: "
            "beyond half of the users stable has too few left to compare with"
        )


def _refuse_if_busy(state: RouteState, model: ModelVersion) -> None:
    if not state.phase.is_end:
        raise ReleaseRefused(f"{state.release.release_id} is under way ({state.phase.value}): one at a time")
    if champion_of(state) == model.version:
        raise ReleaseRefused(f"version {model.version} is the champion already")
    if state.manual_edit:
        raise ReleaseRefused(f"the route was {state.manual_edit}; restore it first")


def _refuse_if_denied(desk: Desk, model: ModelVersion) -> None:
    denied = desk.ledger.denied(desk.clock())
    if model.bundle_digest in denied:
        raise ReleaseRefused(
            f"version {model.version} has the digest {model.bundle_digest[:16]} that "
            f"{denied[model.bundle_digest]} rolled back; "
            "a person may override it, with a reason"
        )


def _unused_id(ledger: Ledger, wanted: str) -> str:
    """Two releases may open within one second, or twice at one time when a clock is set back: they share no row."""
    taken = {event.release_id for event in ledger.events()}
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _claim(desk: Desk, release: Release) -> None:
    """Write the release onto the service: from here on no late writer's delete can fit it (settle.is_ours)."""
    name = release.model.service_name
    standing = desk.platform.get(INFERENCE_SERVICE, name)
    if standing is None:
        raise ReleaseRefused(f"{INFERENCE_SERVICE}/{name} is not there: it is deployed and asked before it is released")
    metadata = standing["metadata"]
    claimed = {**(metadata.get("annotations") or {}), RELEASE_ANNOTATION: release.release_id}
    manifest = {k: v for k, v in standing.items() if k != "status"} | {"metadata": metadata | {"annotations": claimed}}
    desk.platform.apply(manifest, expected=metadata["resourceVersion"])
