"""The route object carries a release there and back, and says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.platform.validation import check_manifest
from recsys_assets.records import Decision, Phase, TrafficSplit
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.route import (
    RouteBroken,
    destination_rule,
    moved,
    planned_split,
    read_route,
    renewed,
    stable_service,
    virtual_service,
)
from recsys_assets_tests.rollout.build import all_pass, later, model, release, route

PREFIX = "recsys-assets.dev/"


@given(st.sampled_from(list(Phase)), st.integers(0, 2), st.sampled_from(["1", None]))
def test_what_is_written_is_read_back(phase: Phase, step: int, champion: str | None) -> None:
    state = route(phase, step, champion=champion)
    manifest = virtual_service(state)
    check_manifest(manifest)
    assert read_route(manifest) == state


def test_the_canary_stands_first_and_the_weights_sum_to_ten_thousand() -> None:
    arms = virtual_service(route(Phase.CANARY, 1))["spec"]["http"][0]["route"]
    assert [(a["destination"]["host"], a["weight"]) for a in arms] == [
        ("recommender-v2", 2_500),
        ("recommender-v1", 7_500),
    ]


def test_the_shadow_gets_copies_of_everything_and_answers_nobody() -> None:
    rule = virtual_service(route(Phase.SHADOW))["spec"]["http"][0]
    assert rule["mirror"] == {"host": "recommender-v2"}
    assert [a["destination"]["host"] for a in rule["route"]] == ["recommender-v1"]


def test_the_rule_of_a_service_is_a_valid_manifest() -> None:
    assert check_manifest(destination_rule(model())) == ("DestinationRule", "recommender-v2")


def test_a_rule_names_its_release_where_it_has_one() -> None:
    assert destination_rule(model(), release_id="rel-2")["metadata"]["annotations"] == {PREFIX + "release-id": "rel-2"}
    assert "annotations" not in destination_rule(model())["metadata"]


@pytest.mark.parametrize(
    "name", ["release", "phase", "step", "deadline", "lease", "weights", "transition", "pauses", "trail"]
)
def test_an_annotation_that_is_missing_is_named(name: str) -> None:
    manifest = virtual_service(route(Phase.CANARY))
    del manifest["metadata"]["annotations"][PREFIX + name]
    with pytest.raises(RouteBroken, match=f"{PREFIX}{name} is missing"):
        read_route(manifest)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("phase", "canry"),
        ("step", "x"),
        ("step", "7"),
        ("step", "+1"),
        ("transition", " 1"),
        ("deadline", "soon"),
        ("lease", "2026-01-01T00:00:00"),
        ("release", "{}"),
        ("weights", "[1]"),
        ("weights", "{}"),
        ("weights", f'[["2500", "{later(1).isoformat()}"]]'),
        ("weights", f'[[true, "{later(1).isoformat()}"]]'),
        ("weights", f'[[-1, "{later(1).isoformat()}"]]'),
        ("weights", f'[[10001, "{later(1).isoformat()}"]]'),
    ],
)
def test_an_annotation_that_cannot_be_read_is_named(name: str, text: str) -> None:
    manifest = virtual_service(route(Phase.CANARY))
    manifest["metadata"]["annotations"][PREFIX + name] = text
    with pytest.raises(RouteBroken, match=PREFIX + name):
        read_route(manifest)


def test_an_annotation_that_is_no_text_is_named() -> None:
    manifest = virtual_service(route(Phase.CANARY))
    manifest["metadata"]["annotations"][PREFIX + "action"] = 5
    with pytest.raises(RouteBroken, match=f"{PREFIX}action cannot be read: it is no text"):
        read_route(manifest)


def test_the_users_belong_to_the_champion_and_without_one_to_the_new_service() -> None:
    assert stable_service(release(champion="1")) == "recommender-v1"
    assert stable_service(release(champion=None)) == "recommender-v2"


def test_while_it_bakes_everybody_gets_the_new_service_and_the_old_one_stands_by() -> None:
    assert planned_split(release(), Phase.BAKING, 2) == TrafficSplit(
        stable="recommender-v1", canary="recommender-v2", canary_weight_bp=10_000
    )


def test_weights_that_nobody_planned_are_seen_and_named() -> None:
    manifest = virtual_service(route(Phase.CANARY))
    arms = manifest["spec"]["http"][0]["route"]
    arms[0]["weight"], arms[1]["weight"] = 9_000, 1_000
    state = read_route(manifest)
    assert state.split.canary_weight_bp == 9_000
    assert state.manual_edit == "edited by hand: canary_weight_bp is 9000, planned 1000"


def test_another_service_put_in_by_hand_is_seen_and_named() -> None:
    manifest = virtual_service(route(Phase.SHADOW))
    manifest["spec"]["http"][0]["mirror"]["host"] = "recommender-v9"
    assert "recommender-v9" in str(read_route(manifest).manual_edit)


def test_moving_keeps_the_history_of_weights_and_counts_the_transition() -> None:
    before = route(Phase.CANARY, 0)
    split = planned_split(before.release, Phase.CANARY, 1)
    decision = Decision(release_id="rel-2", action="advance", phase=Phase.CANARY, step=1, split=split, reason="go")
    after = moved(before, decision, actor="me", now=later(50))
    assert after.weights == (WeightSince(later(50), 2_500),)
    assert (after.transition, after.lease, after.deadline) == (1, later(80), before.deadline)


def test_weight_that_was_taken_stands_in_the_history_once() -> None:
    before = replace(route(Phase.CANARY, 1), weights=(WeightSince(later(50), 2_500),))
    split = planned_split(before.release, Phase.ROLLED_BACK, 1)
    taken = Decision(
        release_id="rel-2", action="roll_back", phase=Phase.ROLLED_BACK, step=1, split=split, reason="harm"
    )
    assert moved(before, taken, actor="me", now=later(60)).weights == (*before.weights, WeightSince(later(60), 0))
    stays = Decision(release_id="rel-2", action="advance", phase=Phase.CANARY, step=1, split=before.split, reason="go")
    assert moved(before, stays, actor="me", now=later(60)).weights == before.weights


def test_baking_gets_a_deadline_of_its_own() -> None:
    before = route(Phase.CANARY, 2)
    split = planned_split(before.release, Phase.BAKING, 2)
    decision = Decision(release_id="rel-2", action="advance", phase=Phase.BAKING, step=2, split=split, reason="go")
    decision = decision.model_copy(update={"verdicts": all_pass()})
    assert moved(before, decision, actor="me", now=later(590)).deadline == later(590 + 10 + 600)


def test_renewing_changes_the_lease_and_nothing_else() -> None:
    state = route(Phase.CANARY)
    new = renewed(state, now=later(20))
    assert new.lease == later(50)
    assert virtual_service(new)["spec"] == virtual_service(state)["spec"]
