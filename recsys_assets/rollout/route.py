"""The route object: a release and its traffic as a VirtualService with annotations, and read back from it.

Here: the one place that knows the annotations, and what split each phase plans. Not here: storing, or deciding.
The route object is the truth of a release; whoever changes it names the resourceVersion that was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from recsys_assets import visitor_id
from recsys_assets.errors import UserFacingError
from recsys_assets.platform.interface import (
    ANNOTATION_PREFIX,
    DESTINATION_RULE,
    PHASE_ANNOTATION,
    RELEASE_ANNOTATION,
    STICKY_HEADER_ANNOTATION,
    VIRTUAL_SERVICE,
    Manifest,
)
from recsys_assets.records import AS_STORED, Decision, Episode, ModelVersion, Phase, Release, TrafficSplit
from recsys_assets.rollout.clocks import JUMP_SECONDS, ClockMark, read_mark
from recsys_assets.rollout.found_split import SplitBroken, found_split
from recsys_assets.rollout.outcomes import ALL_BP, WeightSince
from recsys_assets.rollout.pauses import Pause, read_pauses, written
from recsys_assets.rollout.shares import beyond_comparison
from recsys_assets.rollout.trail import Move, read_moves, written_moves

API_VERSION: Final = "networking.istio.io/v1"
_T = TypeVar("_T")


class RouteBroken(UserFacingError, ValueError):  # noqa: N818
    """The route object cannot be read as a release; the message names the annotation or the field."""


class MoveRefused(ValueError):  # noqa: N818
    """Nobody may write this move; nothing was written."""


@dataclass(frozen=True)
class RouteState:
    """A release as the route object tells it.

    `transition` counts the changes of phase or step; `action`, `actor` and `reason` are of the latest, so that a ledger
    row that was lost to a crash can be written again; `episode` is what the latest rests on, where that is one.
    `weights` lists every share the canary had, and from when on the gateway gave it (in_force.py). `split` is what the
    spec says: `manual_edit` names how it differs from the plan of this phase and step, if it does. `clock` is of the
    latest writer that had one; `trail` lists the moves before the latest.
    """

    release: Release
    phase: Phase
    step: int
    split: TrafficSplit
    transition: int
    entered_at: datetime
    deadline: datetime
    lease: datetime
    weights: tuple[WeightSince, ...]
    action: str
    actor: str
    reason: str
    episode: Episode | None = None
    pauses: tuple[Pause, ...] = ()
    clock: ClockMark | None = None
    trail: tuple[Move, ...] = ()
    resource_version: str | None = None
    generation: int = 0
    manual_edit: str | None = None

    @property
    def version(self) -> str:
        return self.release.model.version

    @property
    def latest(self) -> Move:
        """The move that brought it here."""
        return Move(
            transition=self.transition,
            phase=self.phase,
            step=self.step,
            weight_bp=self.split.canary_weight_bp,
            at=self.entered_at,
            action=self.action,
            actor=self.actor,
            reason=self.reason,
            episode=self.episode,
        )

    @property
    def paused(self) -> Pause | None:
        """The pause that nobody has ended yet."""
        return self.pauses[-1] if self.pauses and self.pauses[-1].until is None else None


def stable_service(release: Release) -> str:
    """The service that had the users when the release opened; the new one itself where there was none."""
    return release.model.service_name if release.champion is None else f"{release.model.name}-v{release.champion}"


def champion_of(state: RouteState) -> str | None:
    """The version that the route gives the users to, whatever the registry says; None before there was one."""
    return state.version if state.phase is Phase.CHAMPION else state.release.champion


def kept_service(state: RouteState) -> str | None:
    """The one service that is left when a release has ended; None after a first one that did not become champion."""
    return None if champion_of(state) is None else planned_split(state.release, state.phase, state.step).stable


def lease_is_over(state: RouteState, now: datetime) -> bool:
    """Ran out; or the clock was set back since it was written, and it would not run out in its time."""
    set_back = state.clock is not None and now < state.clock.at - timedelta(seconds=JUMP_SECONDS)
    return now >= state.lease or set_back


def planned_split(release: Release, phase: Phase, step: int) -> TrafficSplit:
    """The only splits a release may have: by phase, and in the canary phase by step (from 0).

    All users come in two phases only, baking and champion; `moved` writes neither without every verdict.
    """
    new, stable = release.model.service_name, stable_service(release)
    if phase is Phase.CHAMPION or release.champion is None:
        return TrafficSplit(stable=new)
    if phase is Phase.SHADOW:
        return TrafficSplit(stable=stable, shadow=new)
    if phase is Phase.CANARY:
        return TrafficSplit(stable=stable, canary=new, canary_weight_bp=release.plan.share_bp(step))
    if phase is Phase.BAKING:
        return TrafficSplit(stable=stable, canary=new, canary_weight_bp=ALL_BP)
    return TrafficSplit(stable=stable)


def opened(release: Release, *, actor: str, clock: ClockMark | None = None) -> RouteState:
    """The first state of a release: nothing moved yet."""
    plan, at = release.plan, release.opened_at
    return RouteState(
        release=release,
        phase=Phase.GATED,
        step=0,
        split=planned_split(release, Phase.GATED, 0),
        transition=0,
        entered_at=at,
        deadline=at + timedelta(seconds=plan.deadline_seconds),
        lease=at + timedelta(seconds=plan.lease_seconds),
        weights=(),
        action="open",
        actor=actor,
        reason=f"version {release.model.version} asks to follow {release.champion or 'nobody'}",
        clock=clock,
    )


def moved(
    state: RouteState, decision: Decision, *, actor: str, now: datetime, clock: ClockMark | None = None
) -> RouteState:
    """The state after a decision that changes phase or step. Baking gets a deadline of its own: a verdict is there.

    Raises MoveRefused: an end is an end, a decision is about one release, only planned weights are ever written, and
    none beyond the last step's without every verdict.
    """
    _refuse_move(state, decision)
    plan = state.release.plan
    bake_deadline = now + timedelta(seconds=plan.bake_seconds + plan.deadline_seconds)
    weight = decision.split.canary_weight_bp
    before = state.weights[-1].weight_bp if state.weights else 0
    return replace(
        state,
        phase=decision.phase,
        step=decision.step,
        split=decision.split,
        transition=state.transition + 1,
        entered_at=now,
        deadline=bake_deadline if decision.phase is Phase.BAKING else state.deadline,
        lease=now + timedelta(seconds=plan.lease_seconds),
        weights=state.weights if weight == before else (*state.weights, WeightSince(now, weight)),
        action=decision.action,
        actor=actor,
        reason=decision.reason,
        episode=decision.episode,
        clock=clock or state.clock,
        trail=(*state.trail, state.latest),
        manual_edit=None,
    )


def _refuse_move(state: RouteState, decision: Decision) -> None:
    release_id = state.release.release_id
    if decision.release_id != release_id:
        raise MoveRefused(f"a decision about {decision.release_id} cannot move {release_id}")
    if state.phase.is_end:
        raise MoveRefused(f"{release_id} has ended already: {state.phase.value}")
    if decision.split != (planned := planned_split(state.release, decision.phase, decision.step)):
        raise MoveRefused(f"{release_id}: {decision.split} is not the planned {planned}")
    if unproven := beyond_comparison(state.release, decision):
        raise MoveRefused(f"{release_id}: {unproven}")


def renewed(state: RouteState, *, now: datetime, clock: ClockMark | None = None) -> RouteState:
    """The same state, looked after for another `lease_seconds`."""
    lease = now + timedelta(seconds=state.release.plan.lease_seconds)
    return replace(state, lease=lease, clock=clock or state.clock)


def virtual_service(state: RouteState) -> Manifest:
    """The manifest of a state. Weights are basis points, which Istio takes as proportions; the canary stands first."""
    split = state.split
    arms = [(split.canary, split.canary_weight_bp)] if split.canary else []
    arms.append((split.stable, ALL_BP - split.canary_weight_bp))
    rule: dict[str, Any] = {"route": [{"destination": {"host": host}, "weight": weight} for host, weight in arms]}
    if split.shadow:
        rule |= {"mirror": {"host": split.shadow}, "mirrorPercentage": {"value": 100.0}}
    name = state.release.model.name
    return {
        "apiVersion": API_VERSION,
        "kind": VIRTUAL_SERVICE,
        "metadata": {"name": name, "annotations": _annotations(state)},
        "spec": {"hosts": [name], "http": [rule]},
    }


def destination_rule(model: ModelVersion, *, release_id: str = "") -> Manifest:
    """How the gateway treats a version's servers: one that fails in a row is left alone for a moment.

    It names its release, so that a late writer of an earlier release of the same version finds another object.
    """
    outliers = {"consecutiveGatewayErrors": 5, "interval": "1s", "baseEjectionTime": "5s", "maxEjectionPercent": 100}
    return {
        "apiVersion": API_VERSION,
        "kind": DESTINATION_RULE,
        "metadata": {"name": model.service_name, "labels": model.labels(), **_owner(release_id)},
        "spec": {"host": model.service_name, "trafficPolicy": {"outlierDetection": outliers}},
    }


def _owner(release_id: str) -> dict[str, dict[str, str]]:
    return {"annotations": {RELEASE_ANNOTATION: release_id}} if release_id else {}


def _annotations(state: RouteState) -> dict[str, str]:
    values = {
        "release": state.release.model_dump_json(),
        "step": str(state.step),
        "transition": str(state.transition),
        "entered": state.entered_at.isoformat(),
        "deadline": state.deadline.isoformat(),
        "lease": state.lease.isoformat(),
        "weights": json.dumps([_written_weight(w) for w in state.weights]),
        "action": state.action,
        "actor": state.actor,
        "reason": state.reason,
        "pauses": written(state.pauses),
        "trail": written_moves(state.trail),
    }
    if state.clock is not None:
        values["clock"] = state.clock.written()
    if state.episode is not None:
        values["episode"] = state.episode.model_dump_json()
    return {
        RELEASE_ANNOTATION: state.release.release_id,
        STICKY_HEADER_ANNOTATION: visitor_id.HEADER,
        PHASE_ANNOTATION: state.phase.value,
        **{ANNOTATION_PREFIX + key: value for key, value in values.items()},
    }


def read_route(manifest: Manifest) -> RouteState:
    """Read a state back. Raises RouteBroken naming what cannot be read; a manual edit is named, not refused."""
    name = manifest["metadata"]["name"]
    annotations: Mapping[str, object] = manifest["metadata"].get("annotations") or {}

    def read(key: str, convert: Callable[[str], _T]) -> _T:
        place = f"{VIRTUAL_SERVICE}/{name}: annotation {ANNOTATION_PREFIX}{key}"
        if ANNOTATION_PREFIX + key not in annotations:
            raise RouteBroken(f"{place} is missing")
        text = annotations[ANNOTATION_PREFIX + key]
        if not isinstance(text, str):
            raise RouteBroken(f"{place} cannot be read: it is no text")
        try:
            return convert(text)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ValidationError) as broken:
            raise RouteBroken(f"{place} cannot be read: {text[:60]!r} ({broken.__class__.__name__})") from broken

    release = read("release", lambda text: Release.model_validate_json(text, context=AS_STORED))
    phase, step = read("phase", Phase), read("step", _whole)
    if step >= len(release.plan.steps_bp):
        raise RouteBroken(f"{VIRTUAL_SERVICE}/{name}: annotation {ANNOTATION_PREFIX}step has no planned weight: {step}")
    split, surplus = _found(manifest, release)
    return RouteState(
        release=release,
        phase=phase,
        step=step,
        split=split,
        transition=read("transition", _whole),
        entered_at=read("entered", _time),
        deadline=read("deadline", _time),
        lease=read("lease", _time),
        weights=read("weights", _weights),
        action=read("action", str),
        actor=read("actor", str),
        reason=read("reason", str),
        pauses=read("pauses", read_pauses),
        trail=read("trail", read_moves),
        episode=read("episode", Episode.model_validate_json) if ANNOTATION_PREFIX + "episode" in annotations else None,
        clock=read("clock", read_mark) if ANNOTATION_PREFIX + "clock" in annotations else None,
        resource_version=manifest["metadata"].get("resourceVersion"),
        generation=int(manifest["metadata"].get("generation", 0)),
        manual_edit=_difference(split, planned_split(release, phase, step), surplus),
    )


def _found(manifest: Manifest, release: Release) -> tuple[TrafficSplit, list[str]]:
    try:
        return found_split(manifest, release.model.service_name)
    except SplitBroken as broken:
        raise RouteBroken(str(broken)) from broken


def _difference(found: TrafficSplit, planned: TrafficSplit, surplus: list[str]) -> str | None:
    names = [n for n in TrafficSplit.model_fields if getattr(found, n) != getattr(planned, n)]
    told = [f"{n} is {getattr(found, n)!r}, planned {getattr(planned, n)!r}" for n in names] + surplus
    return f"edited by hand: {'; '.join(told)}" if told else None


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no time zone")
    return at


def _whole(text: str) -> int:
    """A count in the one way in which it is written: `int` would take blanks, signs and other scripts' digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("not a whole number")
    return int(text)


def _weights(text: str) -> tuple[WeightSince, ...]:
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("not a list")
    return tuple(_weight(*each) for each in found)


def _weight(weight: object, since: str, in_force: str | None = None) -> WeightSince:
    return WeightSince(_time(since), _share(weight), None if in_force is None else _time(in_force))


def _written_weight(weight: WeightSince) -> list[Any]:
    known = [] if weight.in_force is None else [weight.in_force.isoformat()]
    return [weight.weight_bp, weight.since.isoformat(), *known]


def _share(weight: object) -> int:
    if type(weight) is not int or not 0 <= weight <= ALL_BP:
        raise ValueError("not basis points")
    return weight
