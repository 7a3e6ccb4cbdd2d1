"""What a release does next: the table of phases, each gate, and the laws that hold in every world."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.records import Outcome, Phase, Verdict
from recsys_assets.rollout.evidence import ALL_CHECKS, COUNTED, ERRORS, GUARDRAILS, QUALITY, RATIO, STABLE
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import moved, planned_split
from recsys_assets.rollout.shares import share_of_new, unproven
from recsys_assets_tests.rollout.build import DOWN, READY, all_pass, later, route, verdict, world

LAST = 2


@pytest.mark.parametrize(
    ("phase", "step", "now", "action", "then", "then_step", "weight_bp"),
    [
        (Phase.GATED, 0, 1, "advance", Phase.SHADOW, 0, 0),
        (Phase.SHADOW, 0, 1, "advance", Phase.CANARY, 0, 1_000),
        (Phase.CANARY, 0, 1, "advance", Phase.CANARY, 1, 2_500),
        (Phase.CANARY, 1, 1, "advance", Phase.CANARY, 2, 5_000),
        (Phase.CANARY, 2, 1, "advance", Phase.BAKING, 2, 10_000),
        (Phase.BAKING, 2, 1, "hold", Phase.BAKING, 2, 10_000),
        (Phase.BAKING, 2, 11, "promote", Phase.CHAMPION, 2, 0),
    ],
)
def test_a_release_that_passes_everything_goes_step_by_step(
    phase: Phase, step: int, now: float, action: str, then: Phase, then_step: int, weight_bp: int
) -> None:
    decision = decide(world(route(phase, step)), later(now))
    assert (decision.action, decision.phase, decision.step) == (action, then, then_step)
    assert decision.split.canary_weight_bp == weight_bp


def test_the_champion_takes_the_route_over_without_a_new_service() -> None:
    decision = decide(world(route(Phase.BAKING, LAST)), later(11))
    assert decision.split.stable == "recommender-v2"
    assert decision.split.canary is None


def test_a_first_release_goes_straight_to_everybody() -> None:
    decision = decide(world(route(Phase.GATED, champion=None)), later(1))
    assert (decision.action, decision.phase) == ("promote", Phase.CHAMPION)


def test_a_first_release_that_is_not_ready_waits() -> None:
    state = route(Phase.GATED, champion=None)
    decision = decide(world(state, services={"recommender-v2": DOWN}), later(1))
    assert decision.action == "hold"


@pytest.mark.parametrize("check", GUARDRAILS)
@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, 0), (Phase.CANARY, LAST), (Phase.BAKING, LAST)])
def test_each_guardrail_that_fails_rolls_back_to_weight_zero(check: str, phase: Phase, step: int) -> None:
    decision = decide(world(route(phase, step), verdicts=all_pass(**{check: Outcome.FAIL})), later(11))
    assert (decision.action, decision.phase) == ("roll_back", Phase.ROLLED_BACK)
    assert decision.split == planned_split(route(phase).release, Phase.ROLLED_BACK, 0)
    assert decision.split.stable == "recommender-v1"
    assert check in decision.reason


@pytest.mark.parametrize("check", [c for c in ALL_CHECKS if c != STABLE])
@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, LAST), (Phase.BAKING, LAST)])
def test_nobody_gets_everything_while_one_verdict_is_open(check: str, phase: Phase, step: int) -> None:
    decision = decide(world(route(phase, step), verdicts=all_pass(**{check: Outcome.INCONCLUSIVE})), later(11))
    turned = phase is Phase.BAKING and check == QUALITY
    assert decision.phase is (Phase.HELD if turned else phase)
    assert check in decision.reason


@pytest.mark.parametrize("basis", ["enough", "too_little"])
def test_evidence_that_turns_while_everybody_has_the_model_takes_it_back_and_blames_nobody(basis: str) -> None:
    turned = verdict(QUALITY, Outcome.INCONCLUSIVE).model_copy(update={"basis": basis})
    others = tuple(v for v in all_pass() if v.check != QUALITY)
    decision = decide(world(route(Phase.BAKING, LAST), verdicts=(turned, *others)), later(1))
    assert (decision.action, decision.phase, decision.split.canary_weight_bp) == ("roll_back", Phase.HELD, 0)
    assert "the evidence turned" in decision.reason


def test_a_bake_waits_where_nothing_can_be_read_and_where_nobody_judged() -> None:
    unread = verdict(QUALITY, Outcome.INCONCLUSIVE).model_copy(update={"basis": "none"})
    others = tuple(v for v in all_pass() if v.check != QUALITY)
    for found in ((unread, *others), others):
        assert decide(world(route(Phase.BAKING, LAST), verdicts=found), later(11)).action == "hold"


@pytest.mark.parametrize("basis", ["too_little", "none"])
@pytest.mark.parametrize("step", [0, 1])
def test_an_early_step_waits_until_harm_was_looked_for_in_enough_data(step: int, basis: str) -> None:
    unlooked = verdict(QUALITY, Outcome.INCONCLUSIVE).model_copy(update={"basis": basis})
    others = tuple(v for v in all_pass() if v.check != QUALITY)
    decision = decide(world(route(Phase.CANARY, step), verdicts=(unlooked, *others)), later(1))
    assert (decision.action, decision.reason) == ("hold", f"{QUALITY}: {QUALITY} is INCONCLUSIVE")


@pytest.mark.parametrize("found", [(), (verdict(QUALITY, version="1"),), (verdict(QUALITY), verdict(QUALITY))])
def test_an_early_step_waits_for_one_verdict_on_quality_about_this_version(found: tuple[Verdict, ...]) -> None:
    others = tuple(v for v in all_pass() if v.check != QUALITY)
    assert decide(world(route(Phase.CANARY), verdicts=(*found, *others)), later(1)).action == "hold"


@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, 0), (Phase.CANARY, LAST), (Phase.BAKING, LAST)])
def test_no_verdicts_at_all_never_move_a_release_on(phase: Phase, step: int) -> None:
    assert decide(world(route(phase, step), verdicts=()), later(11)).action == "hold"


def test_an_early_step_goes_on_while_quality_is_still_open() -> None:
    verdicts = all_pass(**{QUALITY: Outcome.INCONCLUSIVE, ERRORS: Outcome.INCONCLUSIVE})
    assert decide(world(route(Phase.CANARY), verdicts=verdicts), later(1)).step == 1


@pytest.mark.parametrize("check", [RATIO, COUNTED])
def test_an_early_step_waits_for_routing_and_counting(check: str) -> None:
    verdicts = all_pass(**{check: Outcome.INCONCLUSIVE})
    assert decide(world(route(Phase.CANARY), verdicts=verdicts), later(1)).action == "hold"


@pytest.mark.parametrize("step", [0, 1, LAST])
@pytest.mark.parametrize("visitors", [(99, 900), (900, 99)])
def test_each_step_waits_for_its_visitors_in_both_arms_whatever_passed_before(
    step: int, visitors: tuple[int, int]
) -> None:
    decision = decide(world(route(Phase.CANARY, step), visitors=visitors), later(1))
    assert decision.action == "hold"
    assert "99 of 100" in decision.reason


def test_a_last_step_that_few_have_seen_by_the_deadline_does_not_wait_for_a_person() -> None:
    state = replace(route(Phase.CANARY, LAST, needs_approval=True), lease=later(100_000))
    decision = decide(world(state, visitors=(99, 900)), later(10_000))
    assert (decision.action, decision.phase) == ("roll_back", Phase.HELD)


def test_verdicts_about_another_version_are_no_verdicts() -> None:
    others = tuple(verdict(check, Outcome.PASS, version="1") for check in ALL_CHECKS)
    assert decide(world(route(Phase.CANARY, LAST), verdicts=others), later(1)).action == "hold"
    failing = (verdict(ERRORS, Outcome.FAIL, version="1"), *all_pass())
    assert decide(world(route(Phase.CANARY), verdicts=failing), later(1)).action != "roll_back"


@pytest.mark.parametrize(
    ("phase", "changed", "action", "then"),
    [
        (Phase.GATED, {"gate": verdict("g", Outcome.FAIL)}, "reject", Phase.REJECTED),
        (Phase.GATED, {"gate": verdict("g", Outcome.INCONCLUSIVE)}, "hold", Phase.GATED),
        (Phase.GATED, {"gate": None}, "hold", Phase.GATED),
        (Phase.SHADOW, {"shadow": verdict("s", Outcome.FAIL)}, "reject", Phase.REJECTED),
        (Phase.SHADOW, {"shadow": verdict("s", Outcome.INCONCLUSIVE)}, "hold", Phase.SHADOW),
        (Phase.SHADOW, {"shadow": None}, "hold", Phase.SHADOW),
    ],
)
def test_before_users_the_gate_and_the_shadow_decide(phase: Phase, changed: dict, action: str, then: Phase) -> None:
    decision = decide(world(route(phase), **changed), later(1))
    assert (decision.action, decision.phase) == (action, then)


@pytest.mark.parametrize(
    ("phase", "action"), [(Phase.GATED, "reject"), (Phase.SHADOW, "reject"), (Phase.CANARY, "roll_back")]
)
def test_no_verdict_by_the_deadline_ends_the_release(phase: Phase, action: str) -> None:
    # Held, also where users saw it: no evidence is no harm, and the digest is not denied for it.
    undecided = world(route(phase), gate=None, shadow=None, verdicts=())
    decision = decide(undecided, later(600))
    assert (decision.action, decision.phase) == (action, Phase.HELD)
    assert decision.split.canary_weight_bp == 0
    assert "deadline" in decision.reason


def test_a_canary_that_is_not_ready_gets_no_further() -> None:
    services = {"recommender-v1": READY, "recommender-v2": DOWN}
    assert decide(world(route(Phase.CANARY), services=services), later(1)).action == "hold"
    assert decide(world(route(Phase.SHADOW), services=services), later(1)).action == "hold"


@pytest.mark.parametrize("how", ["not ready", "failing"])
@pytest.mark.parametrize("now", [1, 10_000])
def test_both_arms_bad_freezes_and_calls_a_person_even_after_the_deadline(how: str, now: float) -> None:
    verdicts = all_pass(**{ERRORS: Outcome.FAIL, STABLE: Outcome.FAIL if how == "failing" else Outcome.PASS})
    services = {"recommender-v2": READY, "recommender-v1": DOWN if how == "not ready" else READY}
    decision = decide(world(route(Phase.CANARY), verdicts=verdicts, services=services), later(now))
    assert decision.action == "pause"
    assert decision.split == route(Phase.CANARY).split
    assert "call a person" in decision.reason


def test_a_digest_that_was_rolled_back_goes_no_further() -> None:
    denied = frozenset({"2" * 64})
    assert decide(world(route(Phase.GATED), denied=denied), later(1)).phase is Phase.HELD
    assert decide(world(route(Phase.CANARY), denied=denied), later(1)).phase is Phase.ROLLED_BACK


def test_a_release_that_needs_approval_waits_for_it_and_only_for_it() -> None:
    state = route(Phase.CANARY, LAST, needs_approval=True)
    waiting = replace(state, lease=later(100_000))
    assert decide(world(waiting), later(1)).reason == "waits for a person's approval"
    assert decide(world(waiting), later(10_000)).action == "hold"
    assert decide(world(waiting, approved=True), later(1)).phase is Phase.BAKING
    harmed = world(waiting, approved=True, verdicts=all_pass(**{ERRORS: Outcome.FAIL}))
    assert decide(harmed, later(1)).action == "roll_back"


def test_an_expired_lease_is_renewed_before_anything_moves_on() -> None:
    decision = decide(world(route(Phase.CANARY)), later(31))
    assert decision.action == "hold"
    assert "lease" in decision.reason


@pytest.mark.parametrize(
    ("phase", "step"), [(Phase.GATED, 0), (Phase.SHADOW, 0), (Phase.CANARY, 0), (Phase.BAKING, LAST)]
)
def test_without_a_living_guard_nothing_moves_on(phase: Phase, step: int) -> None:
    decision = decide(world(route(phase, step), guarded=False), later(11))
    assert (decision.action, decision.phase, decision.step) == ("hold", phase, step)
    assert "no living guard" in decision.reason


def test_without_a_guard_harm_still_rolls_back_and_the_deadline_still_ends() -> None:
    harmed = world(route(Phase.CANARY), guarded=False, verdicts=all_pass(**{ERRORS: Outcome.FAIL}))
    assert decide(harmed, later(11)).phase is Phase.ROLLED_BACK
    assert decide(world(route(Phase.CANARY), guarded=False), later(600)).phase.is_end


def test_a_first_release_needs_no_guard_for_there_is_nothing_to_fall_back_to() -> None:
    decision = decide(world(route(Phase.GATED, champion=None), guarded=False), later(1))
    assert decision.phase is Phase.CHAMPION


def test_an_edit_by_hand_is_named_and_stops_the_steps() -> None:
    edited = replace(route(Phase.CANARY), manual_edit="edited by hand: canary_weight_bp is 9000, planned 1000")
    decision = decide(world(edited), later(1))
    assert decision.action == "hold"
    assert "9000" in decision.reason
    harmed = world(edited, verdicts=all_pass(**{ERRORS: Outcome.FAIL}))
    assert decide(harmed, later(1)).action == "roll_back"


def test_two_verdicts_of_one_name_do_not_pass_and_one_fail_among_them_counts() -> None:
    twice = (*all_pass(), verdict(QUALITY))
    assert decide(world(route(Phase.CANARY, LAST), verdicts=twice), later(1)).action == "hold"
    against = (*all_pass(), verdict(QUALITY, Outcome.FAIL))
    assert decide(world(route(Phase.CANARY, LAST), verdicts=against), later(1)).action == "roll_back"


ORDER = [Phase.GATED, Phase.SHADOW, Phase.CANARY, Phase.BAKING, Phase.CHAMPION]
outcomes = st.sampled_from(list(Outcome))
worlds = st.builds(
    lambda phase, step, gate, shadow, found, visitors, ready, approved, approval, denied, edit: world(
        replace(route(phase, step, needs_approval=approval), manual_edit=edit),
        gate=verdict("g", gate) if gate else None,
        shadow=verdict("s", shadow) if shadow else None,
        verdicts=tuple(verdict(check, outcome) for check, outcome in found.items()),
        visitors=visitors,
        services={
            name: READY if up else DOWN for name, up in zip(("recommender-v1", "recommender-v2"), ready, strict=True)
        },
        approved=approved,
        denied=frozenset({"2" * 64}) if denied else frozenset(),
    ),
    st.sampled_from(list(Phase)),
    st.integers(0, 2),
    st.none() | outcomes,
    st.none() | outcomes,
    st.dictionaries(st.sampled_from(ALL_CHECKS), outcomes),
    st.tuples(st.integers(0, 300), st.integers(0, 300)),
    st.tuples(st.booleans(), st.booleans()),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.just("edited by hand"),
)
moments = st.sampled_from([0.0, 1.0, 11.0, 29.0, 31.0, 599.0, 600.0, 10_000.0])


@given(worlds, moments)
def test_in_every_world_the_split_is_a_planned_one(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    assert decision.split == planned_split(any_world.route.release, decision.phase, decision.step)


@given(worlds, moments)
def test_in_every_world_an_end_stays_an_end(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    if any_world.route.phase.is_end:
        assert (decision.action, decision.phase) == ("hold", any_world.route.phase)


@given(worlds, moments)
def test_in_no_world_does_a_fail_lead_onwards(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    live = any_world.route.phase in {Phase.CANARY, Phase.BAKING}
    failed = any(v.outcome is Outcome.FAIL for v in any_world.verdicts if live)
    failed |= not live and any(v and v.outcome is Outcome.FAIL for v in (any_world.gate, any_world.shadow))
    if failed or any_world.denied:
        assert decision.action not in {"advance", "promote"}


@given(worlds, moments)
def test_in_every_world_a_release_moves_on_by_one_step_only(any_world, now: float) -> None:
    before, decision = any_world.route, decide(any_world, later(now))
    if decision.action == "advance":
        moved = ORDER.index(decision.phase) - ORDER.index(before.phase)
        assert (moved, decision.step - before.step) in {(1, 0), (0, 1)} or decision.step == 0
    if decision.action == "promote":
        assert before.phase is Phase.BAKING


@given(worlds, moments)
def test_in_every_world_everybody_only_gets_what_passed_every_check(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    if decision.action in {"advance", "promote"} and decision.phase in {Phase.BAKING, Phase.CHAMPION}:
        passed = {v.check for v in any_world.verdicts if v.outcome is Outcome.PASS}
        assert passed >= set(ALL_CHECKS)


@given(worlds, moments)
def test_in_every_world_a_step_is_left_onwards_only_when_it_was_seen(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    if any_world.route.phase is Phase.CANARY and decision.action == "advance":
        assert min(any_world.visitors) >= any_world.route.release.plan.min_visitors_per_arm


@given(worlds, moments)
def test_in_every_world_what_is_decided_may_be_written(any_world, now: float) -> None:
    decision = decide(any_world, later(now))
    if decision.action in {"advance", "promote", "roll_back", "reject"}:
        assert moved(any_world.route, decision, actor="tick", now=later(now)).phase is decision.phase


@given(worlds, st.integers(0, 10_000), moments)
def test_in_every_world_a_model_keeps_or_gets_no_more_than_its_last_compared_share_without_every_verdict(
    any_world, found: int, now: float
) -> None:
    state = any_world.route
    if state.split.canary is not None:
        split = state.split.model_copy(update={"canary_weight_bp": found})
        edited = None if split == state.split else "edited by hand"
        state = replace(state, split=split, manual_edit=state.manual_edit or edited)
    decision = decide(replace(any_world, route=state), later(now))
    proven = not unproven(any_world.verdicts, state.version)
    frozen = decision.action == "pause"  # stable is broken too: nobody could take the users
    if state.phase is Phase.CANARY and not proven and not frozen:
        assert share_of_new(state.release, decision.split) <= state.release.plan.last_share_bp
