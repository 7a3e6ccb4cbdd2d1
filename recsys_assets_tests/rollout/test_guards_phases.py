"""Each guard of the decision, alone: a world in which it, and nothing else, keeps a release where it is.

Here: what mutation testing found untold (benchmarks/mutation_testing.py). Not here: the table of phases.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recsys_assets.records import Decision, Outcome, Phase
from recsys_assets.rollout.evidence import ERRORS, GUARDRAILS, STABLE
from recsys_assets.rollout.pauses import Pause
from recsys_assets.rollout.phases import clock_was_set, decide
from recsys_assets.rollout.route import RouteState
from recsys_assets_tests.rollout.build import DOWN, READY, all_pass, later, route, verdict, world

LAST = 2
LONG = later(100_000)
PAUSE = Pause(who="anna", why="looks at it", since=later(0))
STABLE_DOWN = {"recommender-v1": DOWN, "recommender-v2": READY}


def decided(state: RouteState, now: float = 1, **changes: Any) -> Decision:
    return decide(world(state, **changes), later(now))


def drilled(state: RouteState) -> RouteState:
    of = state.release.model.model_copy(update={"drill": "slow"})
    return replace(state, release=state.release.model_copy(update={"model": of}))


def test_a_failure_under_a_name_that_is_no_guardrail_ends_nothing() -> None:
    found = (*all_pass(), verdict("a_sketch_of_a_check", Outcome.FAIL))
    assert decided(route(Phase.CANARY), verdicts=found).action == "advance"


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW])
@pytest.mark.parametrize("check", [*GUARDRAILS, STABLE])
def test_before_any_user_sees_it_verdicts_about_users_do_not_count(phase: Phase, check: str) -> None:
    assert decided(route(phase), verdicts=all_pass(**{check: Outcome.FAIL})).action == "advance"


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW])
def test_a_broken_stable_is_not_blamed_on_a_release_that_no_user_sees(phase: Phase) -> None:
    assert decided(route(phase), services=STABLE_DOWN, gate=None, shadow=None).action == "hold"


@pytest.mark.parametrize(("fails", "said"), [(True, "the canary fails too"), (False, "the canary shows no failure")])
def test_a_person_who_is_called_is_told_how_the_canary_does(fails: bool, said: str) -> None:
    changed = {ERRORS: Outcome.FAIL} if fails else {}
    decision = decided(route(Phase.CANARY), services=STABLE_DOWN, verdicts=all_pass(**changed))
    assert decision.action == "pause"
    assert said in decision.reason


@pytest.mark.parametrize("which", ["gate", "shadow"])
@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, 0), (Phase.BAKING, LAST)])
def test_what_users_have_seen_is_never_called_rejected(which: str, phase: Phase, step: int) -> None:
    decision = decided(route(phase, step), **{which: verdict("late", Outcome.FAIL)})
    assert decision.phase is not Phase.REJECTED


@pytest.mark.parametrize("other", [verdict("shadow"), verdict("shadow", Outcome.INCONCLUSIVE), None])
def test_a_rejection_names_what_failed_and_nothing_else(other: Any) -> None:
    decision = decided(route(Phase.SHADOW), gate=verdict("bundle", Outcome.FAIL), shadow=other)
    assert decision.phase is Phase.REJECTED
    assert decision.reason == "bundle FAIL: bundle is FAIL"


@pytest.mark.parametrize(("now", "ended"), [(599.9, False), (600.0, True)])
def test_the_deadline_is_over_at_its_own_instant(now: float, ended: bool) -> None:
    assert decided(route(Phase.SHADOW), now, shadow=None).phase.is_end is ended


@pytest.mark.parametrize(("now", "ended"), [(649.9, False), (650.0, True)])
def test_the_time_a_person_was_waited_for_is_added_to_the_deadline(now: float, ended: bool) -> None:
    assert decided(route(Phase.SHADOW), now, shadow=None, waited=timedelta(seconds=50)).phase.is_end is ended


@pytest.mark.parametrize(("phase", "step"), [(Phase.SHADOW, 0), (Phase.CANARY, 0), (Phase.BAKING, LAST)])
def test_a_paused_release_is_not_ended_by_its_deadline_and_goes_nowhere(phase: Phase, step: int) -> None:
    paused = replace(route(phase, step), pauses=(PAUSE,), lease=LONG)
    for now in (11.0, 10_000.0):
        decision = decided(paused, now)
        assert (decision.action, decision.phase) == ("hold", phase)
        assert "paused by anna" in decision.reason


@pytest.mark.parametrize(
    ("phase", "step", "asks"), [(Phase.CANARY, 1, True), (Phase.CANARY, LAST, False), (Phase.BAKING, LAST, True)]
)
def test_only_a_last_step_that_needs_a_person_outlives_the_deadline(phase: Phase, step: int, asks: bool) -> None:
    assert decided(replace(route(phase, step, needs_approval=asks), lease=LONG), 700).phase is Phase.HELD


def test_an_unproven_last_step_does_not_wait_for_a_person() -> None:
    state = replace(route(Phase.CANARY, LAST, needs_approval=True), lease=LONG)
    undecided = all_pass(**{ERRORS: Outcome.INCONCLUSIVE})
    assert decided(state, 700, verdicts=undecided).phase is Phase.HELD


def test_what_was_missing_at_the_deadline_is_named() -> None:
    assert decided(route(Phase.SHADOW), 700, shadow=None).reason.endswith("shadow: no verdict for this version")
    assert decided(route(Phase.SHADOW), 700).reason.endswith("nobody looked in time")


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW])
def test_before_any_user_sees_it_a_lease_holds_nothing_back(phase: Phase) -> None:
    assert decided(route(phase), 31).action == "advance"


def test_a_lease_is_over_at_its_own_instant() -> None:
    assert decided(route(Phase.CANARY), 30).action == "hold"
    assert decided(route(Phase.CANARY), 29.9).action == "advance"


@pytest.mark.parametrize("services", [{"recommender-v1": READY}, {"recommender-v1": READY, "recommender-v2": DOWN}])
def test_a_service_that_is_absent_or_down_is_named_with_its_reason(services: dict[str, Any]) -> None:
    decision = decided(route(Phase.SHADOW), services=services)
    why = "crash loop" if "recommender-v2" in services else "absent"
    assert (decision.action, decision.reason) == ("hold", f"recommender-v2 is not ready: {why}")


@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, None])
def test_in_the_shadow_a_bundle_that_was_asked_again_must_pass_if_it_was_asked(outcome: Outcome | None) -> None:
    asked = verdict("bundle", outcome) if outcome else None
    assert decided(route(Phase.SHADOW), gate=asked).action == ("hold" if outcome else "advance")


@pytest.mark.parametrize(("now", "action"), [(9.5, "hold"), (10.0, "promote")])
def test_a_bake_is_done_at_its_own_instant(now: float, action: str) -> None:
    assert decided(route(Phase.BAKING, LAST), now).action == action


def test_an_early_step_waits_until_stable_is_known_to_be_healthy() -> None:
    decision = decided(route(Phase.CANARY), verdicts=all_pass(**{STABLE: Outcome.INCONCLUSIVE}))
    assert (decision.action, decision.reason) == ("hold", f"{STABLE}: {STABLE} is INCONCLUSIVE")


@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, LAST), (Phase.BAKING, LAST)])
def test_a_drill_that_passes_everything_is_ended_and_asks_nobody(phase: Phase, step: int) -> None:
    decision = decided(drilled(route(phase, step, needs_approval=True)), 11)
    assert (decision.phase, decision.asks_approval) == (Phase.ROLLED_BACK, False)
    assert "never promoted" in decision.reason


@pytest.mark.parametrize(("phase", "step"), [(Phase.GATED, 0), (Phase.SHADOW, 0), (Phase.CANARY, 0)])
def test_a_drill_goes_on_until_everybody_would_get_it(phase: Phase, step: int) -> None:
    assert decided(drilled(route(phase, step))).action == "advance"


def test_a_drill_of_a_single_step_goes_to_its_canary() -> None:
    for phase in (Phase.GATED, Phase.SHADOW):
        assert decided(drilled(route(phase, steps_bp=(5_000,)))).action == "advance"


def test_a_drill_is_no_first_release() -> None:
    assert decided(drilled(route(Phase.GATED, champion=None))).phase is Phase.HELD


def test_the_one_thing_that_is_missing_asks_for_approval() -> None:
    waiting = replace(route(Phase.CANARY, LAST, needs_approval=True), lease=LONG)
    assert decided(waiting).asks_approval
    assert not decided(waiting, visitors=(9, 9)).asks_approval
    assert not decided(replace(route(Phase.CANARY, 0, needs_approval=True), lease=LONG), visitors=(9, 9)).asks_approval


def test_without_a_shadow_the_canary_follows_the_gate_at_its_first_step() -> None:
    decision = decided(route(Phase.GATED, 1, shadow_requests=0))
    assert (decision.phase, decision.step, decision.split.canary_weight_bp) == (Phase.CANARY, 0, 1_000)
    decision = decided(route(Phase.SHADOW, 1))
    assert (decision.phase, decision.step, decision.split.canary_weight_bp) == (Phase.CANARY, 0, 1_000)


def after_a_jump(state: RouteState, now: float = 1, **changes: Any) -> Decision:
    seen = world(state, **changes)
    return clock_was_set(seen, decide(seen, later(now)), 60.0)


@pytest.mark.parametrize(
    ("phase", "action"), [(Phase.GATED, "reject"), (Phase.SHADOW, "reject"), (Phase.CANARY, "roll_back")]
)
def test_when_the_clock_was_set_a_step_forward_becomes_an_end_that_blames_nobody(phase: Phase, action: str) -> None:
    decision = after_a_jump(route(phase))
    assert (decision.action, decision.phase, decision.split.canary_weight_bp) == (action, Phase.HELD, 0)


def test_when_the_clock_was_set_a_bake_is_taken_back() -> None:
    decision = after_a_jump(route(Phase.BAKING, LAST), 11)
    assert (decision.action, decision.phase) == ("roll_back", Phase.HELD)


def test_when_the_clock_was_set_harm_that_is_shown_takes_the_weight_and_denies_nothing() -> None:
    # A machine that was paused comes back with a clock that jumps: one episode may look like two.
    decision = after_a_jump(route(Phase.CANARY), verdicts=all_pass(**{ERRORS: Outcome.FAIL}))
    assert (decision.action, decision.phase) == ("roll_back", Phase.HELD)
    assert "digest not denied" in decision.reason
    assert f"{ERRORS} FAIL" in decision.reason


def test_when_the_clock_was_set_a_deadline_that_seems_over_is_no_roll_back() -> None:
    assert after_a_jump(route(Phase.CANARY), 10_000).phase is Phase.HELD


def test_when_the_clock_was_set_a_step_forward_beside_a_failure_of_no_guardrail_is_no_roll_back() -> None:
    found = (*all_pass(), verdict("a_sketch_of_a_check", Outcome.FAIL))
    assert after_a_jump(route(Phase.CANARY), verdicts=found).phase is Phase.HELD


def test_when_the_clock_was_set_the_gate_is_believed_and_the_shadow_which_has_times_is_not() -> None:
    assert after_a_jump(route(Phase.GATED), gate=verdict("g", Outcome.FAIL)).phase is Phase.REJECTED
    assert after_a_jump(route(Phase.SHADOW), shadow=verdict("s", Outcome.FAIL)).phase is Phase.HELD


@pytest.mark.parametrize("phase", [p for p in Phase if p.is_end])
def test_when_the_clock_was_set_an_end_stays_the_end_it_was(phase: Phase) -> None:
    decision = after_a_jump(route(phase))
    assert (decision.action, decision.phase) == ("hold", phase)


def test_when_the_clock_was_set_a_person_is_still_called() -> None:
    decision = after_a_jump(route(Phase.CANARY), services=STABLE_DOWN)
    assert (decision.action, decision.phase) == ("pause", Phase.CANARY)
