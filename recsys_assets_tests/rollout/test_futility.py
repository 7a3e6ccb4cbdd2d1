"""A pass that became improbable: weight taken, nobody accused, and only where the numbers can be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recsys_assets.records import Decision, Outcome, Phase
from recsys_assets.rollout.evidence import COUNTED, DEGRADED, ERRORS, LATENCY, QUALITY, RATIO, STABLE
from recsys_assets.rollout.pauses import Pause
from recsys_assets.rollout.phases import decide
from recsys_assets_tests.rollout.build import all_pass, later, route, verdict, world

LAST = 2


def futile_and(outcome: Outcome = Outcome.INCONCLUSIVE, **changed: Outcome):
    found = [v for v in all_pass(**changed) if v.check != QUALITY]
    return (*found, verdict(QUALITY, outcome).model_copy(update={"futile": True}))


def decided(phase: Phase, verdicts, *, step: int = 0, now: float = 1, **changes) -> Decision:
    return decide(world(replace(route(phase, step), **changes), verdicts=verdicts), later(now))


@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, 0), (Phase.CANARY, LAST), (Phase.BAKING, LAST)])
def test_a_futile_release_is_held_without_weight_and_its_digest_is_not_denied(phase: Phase, step: int) -> None:
    decision = decided(phase, futile_and(), step=step)
    assert (decision.action, decision.phase) == ("roll_back", Phase.HELD)
    assert decision.split.canary_weight_bp == 0
    assert decision.split.canary is None
    assert QUALITY in decision.reason


@pytest.mark.parametrize("check", [RATIO, COUNTED, ERRORS])
def test_futility_waits_for_routing_counting_and_errors(check: str) -> None:
    assert decided(Phase.CANARY, futile_and(**{check: Outcome.INCONCLUSIVE})).phase is Phase.CANARY


@pytest.mark.parametrize("check", [LATENCY, DEGRADED])
def test_futility_does_not_wait_for_the_rest(check: str) -> None:
    assert decided(Phase.CANARY, futile_and(**{check: Outcome.INCONCLUSIVE})).phase is Phase.HELD


@pytest.mark.parametrize("check", [ERRORS, LATENCY, DEGRADED])
def test_harm_outranks_futility(check: str) -> None:
    decision = decided(Phase.CANARY, futile_and(**{check: Outcome.FAIL}))
    assert decision.phase is Phase.ROLLED_BACK
    assert check in decision.reason


def test_a_failed_quality_is_harm_whatever_else_it_says() -> None:
    assert decided(Phase.CANARY, futile_and(Outcome.FAIL)).phase is Phase.ROLLED_BACK


def test_a_passed_quality_is_not_futile() -> None:
    assert decided(Phase.CANARY, futile_and(Outcome.PASS)).phase is not Phase.HELD


def test_an_open_quality_is_not_futile_by_itself() -> None:
    assert decided(Phase.CANARY, all_pass(**{QUALITY: Outcome.INCONCLUSIVE}), step=LAST).action == "hold"


def test_futility_of_another_version_and_of_two_verdicts_is_none() -> None:
    other = verdict(QUALITY, Outcome.INCONCLUSIVE, version="1").model_copy(update={"futile": True})
    rest = tuple(v for v in all_pass() if v.check != QUALITY)
    assert decided(Phase.CANARY, (*rest, other)).phase is Phase.CANARY
    assert decided(Phase.CANARY, (*futile_and(), verdict(QUALITY, Outcome.INCONCLUSIVE))).phase is Phase.CANARY


def test_a_futile_word_on_another_check_ends_nothing() -> None:
    latency = verdict(LATENCY, Outcome.INCONCLUSIVE).model_copy(update={"futile": True})
    rest = tuple(v for v in all_pass() if v.check != LATENCY)
    assert decided(Phase.CANARY, (*rest, latency), step=LAST).action == "hold"


def test_a_broken_stable_freezes_a_futile_release() -> None:
    decision = decided(Phase.CANARY, futile_and(**{STABLE: Outcome.FAIL}))
    assert (decision.action, decision.phase) == ("pause", Phase.CANARY)


def test_a_paused_release_is_not_ended_for_futility() -> None:
    pause = Pause(who="anna", why="looks at it", since=later(0))
    assert decided(Phase.CANARY, futile_and(), pauses=(pause,)).phase is Phase.CANARY


def test_the_deadline_has_its_own_reason_before_futility() -> None:
    decision = decided(Phase.CANARY, futile_and(), now=10_000)
    assert decision.phase is Phase.HELD
    assert "deadline" in decision.reason


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW])
def test_before_any_user_there_is_nothing_to_take_away(phase: Phase) -> None:
    assert decided(phase, futile_and()).action == "advance"
