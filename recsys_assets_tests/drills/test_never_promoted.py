"""A drill's model never gets everybody, whatever the verdicts; and what it did says nothing of its files.

Here: phases.decide and the denied digests where `drill` is set. Not here: drills as such (the other files of the room).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.denials import denied_at
from recsys_assets.rollout.evidence import ERRORS
from recsys_assets.rollout.ledger import Event
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.world import World
from recsys_assets_tests.rollout.build import T0, all_pass, later, model, route, world
from recsys_assets_tests.rollout.test_phases import moments, worlds

LAST = 2


def drilled(state: RouteState, drill: str | None = "slow") -> RouteState:
    release = state.release.model_copy(update={"model": state.release.model.model_copy(update={"drill": drill})})
    return replace(state, release=release)


@pytest.mark.parametrize(
    ("phase", "step", "then"),
    [
        (Phase.GATED, 0, Phase.SHADOW),
        (Phase.SHADOW, 0, Phase.CANARY),
        (Phase.CANARY, 0, Phase.CANARY),
        (Phase.CANARY, LAST, Phase.ROLLED_BACK),
        (Phase.BAKING, LAST, Phase.ROLLED_BACK),
    ],
)
def test_a_drill_that_passes_everything_goes_as_far_as_any_model_but_not_to_everybody(
    phase: Phase, step: int, then: Phase
) -> None:
    decision = decide(world(drilled(route(phase, step))), later(11))
    assert decision.phase is then
    if then is Phase.ROLLED_BACK:
        assert decision.reason == "the drill slow passed every check; a drill is never promoted"
        assert decision.split.canary_weight_bp == 0


def test_a_drill_that_fails_ends_by_what_it_failed() -> None:
    decision = decide(world(drilled(route(Phase.CANARY, LAST)), verdicts=all_pass(**{ERRORS: Outcome.FAIL})), later(1))
    assert (decision.phase, ERRORS in decision.reason) == (Phase.ROLLED_BACK, True)


def test_a_drill_without_verdicts_waits_as_any_model_does() -> None:
    assert decide(world(drilled(route(Phase.CANARY, LAST)), verdicts=()), later(1)).action == "hold"


def test_a_first_release_that_is_a_drill_reaches_nobody() -> None:
    decision = decide(world(drilled(route(Phase.GATED, champion=None))), later(1))
    assert (decision.action, decision.phase) == ("reject", Phase.HELD)


def test_nobody_is_asked_to_approve_a_drill() -> None:
    asked = decide(world(route(Phase.CANARY, LAST, needs_approval=True)), later(1))
    assert asked.reason == "waits for a person's approval"
    drill = decide(world(drilled(route(Phase.CANARY, LAST, needs_approval=True))), later(1))
    assert drill.phase is Phase.ROLLED_BACK


@given(worlds, moments)
def test_in_no_world_does_a_drill_bake_or_become_champion(any_world: World, now: float) -> None:
    before = replace(any_world, route=drilled(any_world.route))
    decision = decide(before, later(now))
    assert decision.action != "promote"
    assert decision.phase is not Phase.BAKING or before.route.phase is Phase.BAKING


@pytest.mark.parametrize(("drill", "denied"), [(None, {"d": "r1"}), ("slow", {})])
def test_what_a_drill_did_denies_no_digest(drill: str | None, denied: dict[str, str]) -> None:
    assert denied_at([ended("r1", drill)], T0 + timedelta(hours=1)) == denied


def test_a_drill_of_the_same_files_does_not_end_a_denial() -> None:
    assert denied_at([ended("r1", None), ended("r2", "slow")], T0 + timedelta(hours=1)) == {"d": "r1"}


def ended(release_id: str, drill: str | None) -> Event:
    body: dict[str, Any] = {"digest": "d", "model": model("2", "d").model_copy(update={"drill": drill}).model_dump()}
    return Event(1, T0, release_id, Phase.ROLLED_BACK.value, "guard", release_id, body)
