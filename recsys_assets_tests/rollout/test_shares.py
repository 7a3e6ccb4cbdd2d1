"""Each way in which a model could get more users than it was compared with is closed, alone.

Here: plans, moves, routes that were written by an older product or by hand, the guard, the opening. Not here: whole
releases (test_unjudged_share.py).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import ANY, VIRTUAL_SERVICE, Manifest
from recsys_assets.platform.kubernetes.dress import dressed, undressed
from recsys_assets.records import AS_STORED, MAX_COMPARED_BP, AnalysisPlan, Decision, Outcome, Phase, TrafficSplit
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.desk import ReleaseRefused
from recsys_assets.rollout.evidence import ALL_CHECKS, ERRORS, STABLE
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import (
    MoveRefused,
    RouteState,
    moved,
    opened,
    planned_split,
    read_route,
    virtual_service,
)
from recsys_assets.rollout.shares import share_of_new
from recsys_assets.rollout.start import open_release
from recsys_assets_tests.rollout.build import (
    DOWN,
    READY,
    FixedMetrics,
    Rows,
    all_pass,
    desk,
    later,
    model,
    plan,
    release,
    route,
    service,
    verdict,
    world,
)

LAST = 2
EVERYBODY = TrafficSplit(stable="recommender-v1", canary="recommender-v2", canary_weight_bp=10_000)


def old_plan(*steps: int) -> AnalysisPlan:
    """As an older product took it."""
    return AnalysisPlan.model_validate(plan().model_dump() | {"steps_bp": steps}, context=AS_STORED)


def shown(state: RouteState, *arms: tuple[str, int]) -> Manifest:
    """The route of this state with its destinations as a hand wrote them."""
    manifest = virtual_service(state)
    rule = manifest["spec"]["http"][0]
    rule["route"] = [{"destination": {"host": host}, "weight": weight} for host, weight in arms]
    return manifest


@pytest.mark.parametrize("steps", [(5_000,), (1, 5_000), (1_000, 2_500, 4_999)])
def test_a_last_step_of_up_to_half_of_the_users_is_accepted(steps: tuple[int, ...]) -> None:
    assert plan(steps_bp=steps).last_share_bp == steps[-1]


@pytest.mark.parametrize("steps", [(5_001,), (1_000, 10_000), (100, 9_900), (10_000,)])
def test_a_step_beyond_half_of_the_users_is_refused_with_what_to_do(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=f"the last step is {steps[-1]}, at most 5000 is allowed.*End with 5000"):
        plan(steps_bp=steps)


@pytest.mark.parametrize("steps", [(), (0, 1_000), (1_000, 1_000), (2_500, 1_000), (-1,)])
def test_steps_that_do_not_ascend_from_above_zero_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        plan(steps_bp=steps)


@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=5).map(sorted))
def test_an_old_plan_is_read_back_as_it_was_and_never_gives_more_than_half(steps: list[int]) -> None:
    of = release().model_copy(update={"plan": old_plan(*steps)})
    state = replace(route(Phase.GATED), release=of)
    read = read_route(virtual_service(state))
    assert read.release.plan.steps_bp == tuple(steps)
    for step in range(len(steps)):
        assert planned_split(of, Phase.CANARY, step).canary_weight_bp == min(steps[step], MAX_COMPARED_BP)


def going(phase: Phase, *verdicts: Any) -> Decision:
    split = planned_split(release(), phase, LAST)
    return Decision(
        release_id="rel-2", action="advance", phase=phase, step=LAST, split=split, reason="go", verdicts=verdicts
    )


@pytest.mark.parametrize("phase", [Phase.BAKING, Phase.CHAMPION])
@pytest.mark.parametrize("check", ALL_CHECKS)
@pytest.mark.parametrize("how", ["absent", "open", "failed", "of another version", "said twice"])
def test_nobody_writes_all_users_without_one_pass_of_each_check_on_this_version(
    phase: Phase, check: str, how: str
) -> None:
    others = [v for v in all_pass() if v.check != check]
    found = {
        "absent": [],
        "open": [verdict(check, Outcome.INCONCLUSIVE)],
        "failed": [verdict(check, Outcome.FAIL)],
        "of another version": [verdict(check, version="1")],
        "said twice": [verdict(check), verdict(check)],
    }[how]
    before = route(Phase.CANARY, LAST)
    with pytest.raises(MoveRefused, match=f"need a pass of {check}; without it 5000 bp"):
        moved(before, going(phase, *others, *found), actor="somebody", now=later(1))
    assert moved(before, going(phase, *all_pass()), actor="tick", now=later(1)).phase is phase


def test_a_first_release_has_nobody_to_be_compared_with() -> None:
    before = route(Phase.GATED, champion=None)
    split = planned_split(before.release, Phase.CHAMPION, 0)
    first = Decision(release_id="rel-2", action="promote", phase=Phase.CHAMPION, step=0, split=split, reason="first")
    assert moved(before, first, actor="tick", now=later(1)).phase is Phase.CHAMPION


HANDS = {
    "all to the canary": [("recommender-v2", 10_000), ("recommender-v1", 0)],
    "the canary alone": [("recommender-v2", 10_000)],
    "the canary last": [("recommender-v1", 1_000), ("recommender-v2", 9_000)],
    "the canary twice": [("recommender-v2", 1_000), ("recommender-v2", 8_000), ("recommender-v1", 1_000)],
    "weights of another sum": [("recommender-v2", 30_000), ("recommender-v1", 10_000)],
    "weights of a small sum": [("recommender-v2", 2), ("recommender-v1", 1)],
    "no weight at all": [("recommender-v2", 0), ("recommender-v2", 0), ("recommender-v1", 0)],
    "by its long name": [
        ("recommender-v2-predictor.recsys.svc.cluster.local", 9_000),
        ("recommender-v1-predictor.recsys.svc.cluster.local", 1_000),
    ],
}


@pytest.mark.parametrize("how", HANDS)
@pytest.mark.parametrize(("phase", "step"), [(Phase.GATED, 0), (Phase.SHADOW, 0), (Phase.CANARY, 0)])
def test_a_route_that_a_hand_gave_to_a_model_under_comparison_is_taken_back(how: str, phase: Phase, step: int) -> None:
    state = read_route(shown(route(phase, step), *HANDS[how]))
    assert state.manual_edit
    decision = decide(world(state), later(1))
    assert (decision.phase, share_of_new(state.release, decision.split)) == (Phase.HELD, 0)
    assert "nobody has compared it at that share" in decision.reason


@pytest.mark.parametrize("share", [1_001, 5_000])
def test_an_edit_within_the_last_compared_share_is_named_and_waits_for_a_person(share: int) -> None:
    state = read_route(shown(route(Phase.CANARY), ("recommender-v2", share), ("recommender-v1", 10_000 - share)))
    decision = decide(world(state), later(1))
    assert (decision.action, decision.phase) == ("hold", Phase.CANARY)
    assert f"canary_weight_bp is {share}, planned 1000" in decision.reason


def test_a_rule_put_beside_ours_is_named_and_the_one_that_shows_the_model_most_counts() -> None:
    manifest = virtual_service(route(Phase.CANARY))
    beside = {"route": [{"destination": {"host": "recommender-v2"}}]}
    for rules in ([beside, *manifest["spec"]["http"]], [*manifest["spec"]["http"], beside]):
        state = read_route(manifest | {"spec": manifest["spec"] | {"http": rules}})
        assert "the route has 2 rules, planned 1" in str(state.manual_edit)
        assert share_of_new(state.release, state.split) == 10_000


def test_a_rule_of_an_http_route_that_is_not_ours_counts_as_well() -> None:
    manifest = virtual_service(route(Phase.CANARY))
    new, stable = {"name": "recommender-v2-predictor"}, {"name": "recommender-v1-predictor"}
    for backends, share in (([new], 10_000), ([new, stable], 5_000), ([new | {"weight": 3}, stable], 7_500)):
        rules = [*manifest["spec"]["http"], {"backendRefs": backends}]
        state = read_route(manifest | {"spec": manifest["spec"] | {"http": rules}})
        assert share_of_new(state.release, state.split) == share


@pytest.mark.parametrize("kind", ["istio", "gateway-api"])
def test_a_weight_that_was_edited_on_the_cluster_is_taken_back_whatever_kind_the_route_is_stored_as(kind: str) -> None:
    cluster = KubernetesSettings.model_validate({"route": kind})
    live = dressed(cluster, virtual_service(route(Phase.CANARY)))
    assert read_route(undressed(cluster, VIRTUAL_SERVICE, live)).manual_edit is None
    arms = next(
        rule.get("route") or rule["backendRefs"]
        for rule in live["spec"].get("http") or live["spec"]["rules"]
        if len(rule.get("route") or rule.get("backendRefs") or ()) == 2
    )
    arms[0]["weight"], arms[1]["weight"] = 9_000, 1_000
    state = read_route(undressed(cluster, VIRTUAL_SERVICE, live))
    assert share_of_new(state.release, state.split) == 9_000
    assert decide(world(state), later(1)).phase is Phase.HELD


def test_a_pause_and_a_lease_that_ran_out_keep_no_unjudged_model_up() -> None:
    state = replace(read_route(shown(route(Phase.CANARY), ("recommender-v2", 10_000))), lease=later(0))
    assert decide(world(state), later(1)).phase is Phase.HELD


def test_harm_keeps_its_name_and_a_broken_stable_gets_nobody_back() -> None:
    state = read_route(shown(route(Phase.CANARY), ("recommender-v2", 10_000)))
    harmed = decide(world(state, verdicts=all_pass(**{ERRORS: Outcome.FAIL})), later(1))
    assert harmed.phase is Phase.ROLLED_BACK
    broken = decide(world(state, verdicts=all_pass(**{STABLE: Outcome.FAIL})), later(1))
    assert (broken.action, broken.phase) == ("pause", Phase.CANARY)
    gone = decide(world(state, services={"recommender-v2": READY, "recommender-v1": DOWN}), later(1))
    assert (gone.action, gone.phase) == ("pause", Phase.CANARY)


@pytest.mark.parametrize(("phase", "step"), [(Phase.CANARY, 0), (Phase.CANARY, LAST)])
def test_when_stable_vanished_the_canary_grows_no_further(phase: Phase, step: int) -> None:
    decision = decide(world(route(phase, step), services={"recommender-v2": READY}), later(1))
    assert (decision.action, decision.split) == ("pause", route(phase, step).split)


def posted(tmp_path: Path, manifest: Manifest) -> Post:
    """A guard whose platform holds this route; nothing was logged, so no verdict can be reached."""
    at, clock = desk(tmp_path, Rows().logs())
    clock.at = 5
    at.platform.apply(manifest, expected=ANY)
    return Post("recommender", at.platform, at.ledger, FixedMetrics(Rows().logs()), 10, clock)


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.SHADOW, Phase.CANARY])
def test_the_guard_takes_back_what_nobody_compared_without_any_log(tmp_path: Path, phase: Phase) -> None:
    post = posted(tmp_path, shown(route(phase), ("recommender-v2", 9_000), ("recommender-v1", 1_000)))
    watch(post)
    state = read_state(post.platform, "recommender")
    assert state is not None
    assert (state.phase, share_of_new(state.release, state.split)) == (Phase.HELD, 0)
    assert post.ledger.denied(later(9)) == {}


def test_the_guard_calls_a_person_where_stable_could_not_take_the_users(tmp_path: Path) -> None:
    post = posted(tmp_path, shown(route(Phase.CANARY), ("recommender-v2", 9_000), ("recommender-v1", 1_000)))
    service(post.platform, "1", ready=False)  # type: ignore[arg-type]
    decision = watch(post)
    assert decision is not None
    assert (decision.action, decision.phase) == ("pause", Phase.CANARY)
    assert [e.kind for e in post.ledger.events("rel-2")] == ["frozen"]


def test_the_guard_leaves_a_share_that_was_compared(tmp_path: Path) -> None:
    post = posted(tmp_path, virtual_service(route(Phase.CANARY, LAST)))
    assert watch(post) is None


def test_an_old_route_that_shows_everybody_an_unjudged_model_is_taken_back(tmp_path: Path) -> None:
    of = release().model_copy(update={"plan": old_plan(1_000, 10_000)})
    state = replace(route(Phase.CANARY), release=of, step=1, split=EVERYBODY)
    post = posted(tmp_path, virtual_service(state))
    watch(post)
    after = read_state(post.platform, "recommender")
    assert after is not None
    assert (after.phase, after.split) == (Phase.HELD, planned_split(of, Phase.HELD, 0))


def test_a_plan_that_was_copied_past_its_validation_opens_no_release(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    with pytest.raises(ReleaseRefused, match="the plan's last step is 10000 bp, at most 5000 is allowed"):
        open_release(at, model("2"), plan().model_copy(update={"steps_bp": (1_000, 10_000)}), actor="test")
    assert read_state(at.platform, "recommender") is None


def test_where_the_route_was_removed_but_the_champion_still_serves_a_release_is_compared_with_it(
    tmp_path: Path,
) -> None:
    at, _ = desk(tmp_path)
    at.registry.set_alias("champion", "1")
    state = open_release(at, model("2"), plan(), actor="test")
    assert (state.release.champion, share_of_new(state.release, state.split)) == ("1", 0)


def test_where_the_registry_lost_its_champion_as_well_the_ledger_names_it(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion = release(champion=None).model_copy(update={"release_id": "rel-1", "model": model("1")})
    record(at.ledger, replace(opened(champion, actor="test"), phase=Phase.CHAMPION, transition=1))
    assert open_release(at, model("2"), plan(), actor="test").release.champion == "1"


@pytest.mark.parametrize("version", ["2", "3"])
def test_where_nothing_is_left_to_compare_with_a_release_is_a_first_one(tmp_path: Path, version: str) -> None:
    at, _ = desk(tmp_path)
    at.registry.set_alias("champion", version)  # itself, or one whose service is gone
    assert open_release(at, model("2"), plan(), actor="test").release.champion is None


def test_what_a_release_was_promised_stays_readable_in_the_ledger() -> None:
    kept = json.loads(old_plan(1_000, 10_000).model_dump_json())
    assert AnalysisPlan.model_validate(kept, context=AS_STORED).steps_bp == (1_000, 10_000)
    assert AnalysisPlan.model_validate(kept, context=AS_STORED).last_share_bp == MAX_COMPARED_BP
