"""From when on the gateway really gives the canary its latest share: planned is not yet done.

Here: asking the platform, and keeping the answer in the route. Not here: which visitors count (outcomes.py).
Between the write of a weight and the gateway's taking it up, users are still split as before. On a busy machine, or in
a large mesh, that takes seconds; weighed as if split as planned, those users make any canary look bad.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from recsys_assets.platform.interface import VIRTUAL_SERVICE, NotFound, Platform
from recsys_assets.rollout.act import rewrite
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.route import RouteState

Standing = Literal["in force", "awaited", "unknown"]


def latest_share(platform: Platform, state: RouteState) -> Standing:
    """Whether the gateway gives the latest share. Unknown: nobody has ever said anything of this route."""
    try:
        status = platform.status(VIRTUAL_SERVICE, state.release.model.name)
    except NotFound:
        return "unknown"
    if status.observed_generation == 0:
        return "unknown"
    given = status.weights.get(state.release.model.service_name, state.weights[-1].weight_bp)
    current = status.observed_generation >= state.generation
    return "in force" if current and given == state.weights[-1].weight_bp else "awaited"


def as_seen(
    platform: Platform, state: RouteState, now: datetime, *, first_seen: Callable[[datetime], datetime] = lambda at: at
) -> tuple[WeightSince, ...]:
    """The shares for a look at `now`. Until the latest is in force, nobody who came since it was planned counts.

    `first_seen` remembers when a looker first saw it in force, for as long as the route does not say.
    """
    if not state.weights or state.weights[-1].in_force is not None:
        return state.weights
    standing = latest_share(platform, state)
    if standing == "unknown":
        return state.weights
    return _with(state, now if standing == "awaited" else first_seen(now))


def noted(platform: Platform, state: RouteState, now: datetime) -> RouteState:
    """The state as it stands after the route was told that its latest share is in force, where it is and was not yet.

    Raises Conflict when somebody else changed the route since it was read.
    """
    if state.phase.is_end or not state.weights or state.weights[-1].in_force is not None:
        return state
    if latest_share(platform, state) != "in force":
        return state
    return rewrite(platform, state, weights=_with(state, now))


def _with(state: RouteState, at: datetime) -> tuple[WeightSince, ...]:
    return (*state.weights[:-1], replace(state.weights[-1], in_force=at))
