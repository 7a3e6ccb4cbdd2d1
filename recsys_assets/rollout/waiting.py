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
from recsys_assets.rollout.settle import is_settled
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

    The guard or a person may end the release between two ticks. What follows an end (visitor counts, aliases,
    services) is then still to do, and whoever reads the ledger after this run expects it there: so the loop ends only
    when that is done, or when the route has moved on to another release. Returns the last decision; `tell` gets each.
    """
    release = None
    while True:
        decision = one_tick(desk, actor=actor)
        tell(decision)
        state = read_state(desk.platform, desk.model_name)
        if state is None or (state.phase not in phases and not _owes_follow_ups(desk, state, release)):
            return decision
        release = state.release.release_id
        sleep(tick_seconds)


def _owes_follow_ups(desk: Desk, state: RouteState, release: str | None) -> bool:
    """Whether the release that is waited for has ended and its follow-ups are not all done."""
    ours = release in {None, state.release.release_id}
    return ours and state.phase.is_end and not is_settled(desk.ledger, state)


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
