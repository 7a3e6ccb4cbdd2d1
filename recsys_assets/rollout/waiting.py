"""Waiting for a release: a tick, a pause, again, until the phases that are waited for are over.

Here: the loop of a run that stays. Not here: what a tick does. A run that dies loses nothing: the route holds it all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from recsys_assets.records import Decision, Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.tick import tick

# From the start of a guard's process to its first look, on a busy machine.
GUARD_START_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05


class ReleaseGone(LookupError):  # noqa: N818
    """The route object is not there any more: there is nothing to wait for."""


def tick_while(
    desk: Desk,
    phases: Collection[Phase],
    *,
    actor: str,
    tick_seconds: float,
    tell: Callable[[Decision], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Decision:
    """Tick until the release has left `phases`; ends by itself, since every release has a deadline.

    The last decision is returned; `tell` hears each one.
    """
    while True:
        decision = one_tick(desk, actor=actor)
        tell(decision)
        state = read_state(desk.platform, desk.model_name)
        if state is None or state.phase not in phases:
            return decision
        sleep(tick_seconds)


def await_guard(
    desk: Desk, *, seconds: float = GUARD_START_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Wait until a guard that was just started has looked; False where none did, and the tick says what follows."""
    for _ in range(round(seconds / _POLL_SECONDS)):
        if desk.guarded():
            return True
        sleep(_POLL_SECONDS)
    return desk.guarded()


def one_tick(desk: Desk, *, actor: str) -> Decision:
    """Exactly one tick; ReleaseGone where there is no release."""
    decision = tick(desk, actor=actor)
    if decision is None:
        raise ReleaseGone(f"there is no route {desk.model_name}")
    return decision


def standing(desk: Desk) -> RouteState:
    """The release on the route; ReleaseGone where there is none."""
    state = read_state(desk.platform, desk.model_name)
    if state is None:
        raise ReleaseGone(f"there is no route {desk.model_name}")
    return state
