"""A run that stays with a release ends only after the follow-ups of its end are done, whoever ended it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_assets.platform.interface import ANY
from recsys_assets.records import Decision, Phase
from recsys_assets.rollout.act import move, read_state, record
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.route import RouteState, planned_split, virtual_service
from recsys_assets.rollout.settle import is_settled
from recsys_assets.rollout.waiting import tick_while
from recsys_assets_tests.rollout.build import Rows, desk, later, route

UNTIL_THE_END = {phase for phase in Phase if not phase.is_end}


def canary_under_way(at: Desk) -> RouteState:
    state = replace(route(Phase.CANARY), transition=2, weights=(WeightSince(later(1), 1_000),))
    at.platform.apply(virtual_service(state), expected=ANY)
    found = read_state(at.platform, at.model_name)
    assert found is not None
    record(at.ledger, found)
    return found


def guard_ends_it(at: Desk, phase: Phase = Phase.ROLLED_BACK) -> Callable[[Decision], None]:
    """Heard after a tick and before the loop looks at the route: the guard is faster than the next tick."""

    def heard(_: Decision) -> None:
        state = read_state(at.platform, at.model_name)
        if state is None or state.phase.is_end:
            return
        split = planned_split(state.release, phase, state.step)
        decision = Decision(
            release_id=state.release.release_id,
            action="roll_back",
            phase=phase,
            step=state.step,
            split=split,
            reason="7 of 19 failed",
        )
        move(at.platform, at.ledger, state, decision, actor="guard", now=at.clock())

    return heard


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.HELD])
def test_a_release_that_the_guard_ends_between_two_ticks_has_its_visitors_counted_when_the_run_ends(
    phase: Phase, tmp_path: Path
) -> None:
    rows = Rows()
    rows.ask("ann", "canary", 3)
    rows.ask("bob", "stable", 3)
    at, clock = desk(tmp_path, rows.logs())
    clock.at = 5
    canary_under_way(at)
    pauses: list[float] = []
    tick_while(at, UNTIL_THE_END, actor="run", tick_seconds=1.0, tell=guard_ends_it(at, phase), sleep=pauses.append)
    state = read_state(at.platform, at.model_name)
    assert state is not None
    assert is_settled(at.ledger, state)
    assert [(a.variant, a.visitors) for a in at.ledger.audience("rel-2")] == [("canary", 1), ("stable", 1)]
    assert pauses == [1.0]


def test_a_run_that_waits_for_the_shadow_only_leaves_when_users_see_the_canary(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    canary_under_way(at)
    tick_while(at, {Phase.GATED, Phase.SHADOW}, actor="run", tick_seconds=1.0, tell=lambda _: None, sleep=never)


def test_a_run_does_not_wait_for_the_follow_ups_of_another_release(tmp_path: Path) -> None:
    """The release ended and another one opened and ended before this run looked again: that one is not its business."""
    at, _ = desk(tmp_path)
    first = canary_under_way(at)
    looks: list[Decision] = []

    def replaced(decision: Decision) -> None:
        looks.append(decision)
        if len(looks) == 2:
            other = first.release.model_copy(update={"release_id": "rel-3"})
            ended = replace(first, release=other, phase=Phase.ROLLED_BACK, transition=9)
            at.platform.apply(virtual_service(ended), expected=ANY)

    tick_while(at, UNTIL_THE_END, actor="run", tick_seconds=1.0, tell=replaced, sleep=lambda _: None)
    assert len(looks) == 2


def never(_: float) -> None:
    raise AssertionError("it must not wait")
