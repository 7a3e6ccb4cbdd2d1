"""Each guard of opening, moving and settling, alone: what is written or taken away when only this one is in its way.

Here: what mutation testing found untold (benchmarks/mutation_testing.py). Not here: the protocols (test_act.py, ...).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, VIRTUAL_SERVICE, NotFound
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state, record, renew
from recsys_assets.rollout.clocks import ClockMark
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.outcomes import Logs, WeightSince
from recsys_assets.rollout.route import RouteState, lease_is_over, virtual_service
from recsys_assets.rollout.settle import audience, is_settled, settle, settled_key
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.trail import Move
from recsys_assets_tests.rollout.build import FixedMetrics, Rows, crowd, desk, later, model, plan, release, route

ENDED = {"transition": 3, "weights": (WeightSince(later(1), 1_000), WeightSince(later(9), 0))}


def put(at: Desk, state: RouteState) -> RouteState:
    at.platform.apply(virtual_service(state), expected=ANY)
    found = read_state(at.platform, at.model_name)
    assert found is not None
    return found


def ended(at: Desk, phase: Phase = Phase.ROLLED_BACK, **changes: Any) -> RouteState:
    return put(at, replace(route(phase), **{**ENDED, **changes}))


def drilled(state: RouteState) -> RouteState:
    of = state.release.model.model_copy(update={"drill": "slow"})
    return replace(state, release=state.release.model_copy(update={"model": of}))


def services(at: Desk) -> list[str]:
    return [m["metadata"]["name"] for m in at.platform.list(INFERENCE_SERVICE)]


def kinds(at: Desk) -> list[str]:
    return [e.kind for e in at.ledger.events("rel-2")]


# The rows of moves, and the lease


def test_an_opening_is_recorded_once_in_its_own_words_with_its_plan(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.GATED))
    assert record(at.ledger, state)
    assert not record(at.ledger, state)
    (row,) = at.ledger.events("rel-2")
    assert row.body["reason"] == "version 2 asks to follow 1"
    assert row.body["plan"] == state.release.plan.model_dump(mode="json")


def test_a_trail_that_lost_its_beginning_gets_an_opening_row_afterwards(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    went = Move(
        transition=1, phase=Phase.SHADOW, step=0, weight_bp=0, at=later(5), action="advance", actor="a", reason=""
    )
    record(at.ledger, put(at, replace(route(Phase.CANARY), transition=2, trail=(went,))))
    rows = at.ledger.events("rel-2")
    assert [(e.kind, e.at) for e in rows] == [("opened", later(0)), ("shadow", later(5)), ("canary", later(0))]
    assert ["plan" in e.body for e in rows] == [True, False, False]


def test_a_lease_written_by_a_clock_that_was_set_back_is_renewed_though_it_has_long_to_go(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, replace(route(Phase.CANARY), clock=ClockMark("b", 10.0, later(10))))
    assert renew(at.platform, state, now=later(-100)).lease == later(-70)


def test_a_lease_without_a_clocks_mark_is_judged_by_its_end_alone() -> None:
    assert not lease_is_over(route(Phase.CANARY), later(-10_000))
    assert lease_is_over(route(Phase.CANARY), later(30))


# What follows an end


def test_a_release_under_way_is_not_settled_even_if_a_row_says_so(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, replace(route(Phase.CANARY), transition=3))
    at.ledger.append("settled", release_id="rel-2", actor="x", at=later(1), key=settled_key(state), body={})
    assert not is_settled(at.ledger, state)


def test_a_late_settler_that_would_remove_nothing_still_writes_nothing(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stale = ended(at, Phase.CHAMPION)
    put(at, replace(stale, transition=4))
    assert not settle(at, stale, spare=frozenset({"recommender-v1"}))
    assert not at.ledger.has(settled_key(stale))


def test_what_cannot_be_removed_now_is_not_called_settled(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at, Phase.HELD)

    class GoneOn:
        """A platform on which the route moves on right after the aliases were agreed."""

        def __getattr__(self, name: str) -> Any:
            return getattr(at.platform, name)

        def get(self, kind: str, name: str) -> Any:
            if kind == INFERENCE_SERVICE:
                put(at, replace(state, transition=4))
            return at.platform.get(kind, name)

    assert not settle(replace(at, platform=GoneOn()), state)
    assert not at.ledger.has(settled_key(state))
    assert services(at) == ["recommender-v1", "recommender-v2"]


def test_a_route_that_leads_to_stable_stays_after_settling(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at)
    assert settle(at, state)
    assert settle(at, state)
    assert read_state(at.platform, at.model_name) is not None


def test_without_a_route_nothing_is_settled(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = ended(at)
    at.platform.delete(VIRTUAL_SERVICE, at.model_name, expected=ANY)
    assert not settle(at, state)
    assert services(at) == ["recommender-v1", "recommender-v2"]


def test_a_state_that_was_never_read_from_a_route_removes_none_and_is_not_settled(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = replace(route(Phase.REJECTED, champion=None), transition=1)
    at.ledger.append("settled", release_id="rel-2", actor="x", at=later(1), key=settled_key(state), body={})
    assert state.resource_version is None
    assert not settle(at, state)


def test_rows_of_an_end_tell_the_time_of_the_end_and_the_last_one_that_of_its_settling(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    clock.at = 50
    settle(at, ended(at))
    assert [(e.kind, e.at) for e in at.ledger.events("rel-2")] == [
        ("exposures_marked", later(0)),
        ("audience", later(0)),
        ("settled", later(50)),
    ]


def test_a_canary_that_never_had_weight_has_no_audience(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    settle(at, ended(at, weights=(WeightSince(later(1), 0),)))
    assert kinds(at) == ["settled"]


def test_an_audience_is_counted_from_the_first_weight_on(tmp_path: Path) -> None:
    rows = Rows()
    rows.ask("before", "stable", 3)
    rows.ask("during", "stable", 7)
    at, clock = desk(tmp_path, rows.logs())
    clock.at = 20
    settle(at, ended(at, weights=(WeightSince(later(1), 0), WeightSince(later(5), 1_000), WeightSince(later(9), 0))))
    told = {e.kind: e.body for e in at.ledger.events("rel-2")}
    assert told["audience"]["variants"] == [{"variant": "stable", "visitors": 1, "seconds": 0.0}]


def test_what_a_drill_showed_is_marked_whatever_ended_it(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    settle(at, put(at, drilled(replace(route(Phase.HELD), **ENDED))))
    assert "exposures_marked" in kinds(at)


def test_no_log_of_the_gateway_is_an_audience_of_nobody() -> None:
    assert audience(Logs(None, None, None), since=later(0), until=later(9)) == []


# Opening


def test_of_a_busy_release_and_a_denied_digest_the_busy_release_is_told(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.CANARY), release=release().model_copy(update={"model": model("3")})))
    deny(at)
    with pytest.raises(ReleaseRefused, match="one at a time"):
        open_release(at, model("2"), plan(), actor="test")


def deny(at: Desk) -> None:
    body = {"digest": model("2").bundle_digest}
    at.ledger.append("rolled_back", release_id="rel-0", actor="x", at=later(0), key="rel-0/9", body=body)


def test_without_any_route_a_denied_digest_is_still_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    deny(at)
    with pytest.raises(ReleaseRefused, match="rel-0 rolled back"):
        open_release(at, model("2"), plan(), actor="test")
    assert read_state(at.platform, at.model_name) is None


def test_the_champion_is_not_released_again(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.CHAMPION), transition=1))
    with pytest.raises(ReleaseRefused, match="version 2 is the champion already"):
        open_release(at, model("2"), plan(), actor="test")


def test_another_bundle_under_the_number_of_the_release_under_way_is_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, route(Phase.SHADOW))
    with pytest.raises(ReleaseRefused, match="one at a time"):
        open_release(at, model("2", digest="9" * 64), plan(), actor="test")


def test_a_claim_keeps_what_else_stands_on_the_service(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = open_release(at, model("2"), plan(), actor="test")
    claimed = at.platform.get(INFERENCE_SERVICE, "recommender-v2")
    assert claimed is not None
    assert claimed["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "recsys-assets.dev/release-id": state.release.release_id,
    }


# The guard


def posted(tmp_path: Path, logs: Logs, state: RouteState, **changes: Any) -> Post:
    at, clock = desk(tmp_path, logs)
    clock.at = 64
    at.platform.apply(virtual_service(replace(state, lease=later(1_000))), expected=ANY)
    return replace(Post("recommender", at.platform, at.ledger, FixedMetrics(logs), 10, clock), **changes)


def test_without_a_route_the_guard_has_nothing_to_do(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    assert watch(Post("recommender", at.platform, at.ledger, FixedMetrics(Rows().logs()), 10, clock)) is None


def test_a_canary_that_never_had_weight_has_no_breach(tmp_path: Path) -> None:
    post = posted(tmp_path, crowd(900, share=0.1, status=500).logs(), route(Phase.CANARY))
    assert watch(post) is None


def test_a_stable_that_is_not_there_is_a_broken_stable(tmp_path: Path) -> None:
    state = replace(route(Phase.CANARY), weights=(WeightSince(later(0), 1_000),))
    post = posted(tmp_path, crowd(900, share=0.1, status=500).logs(), state)
    post.platform.delete(INFERENCE_SERVICE, "recommender-v1", expected=ANY)
    with pytest.raises(NotFound):
        post.platform.status(INFERENCE_SERVICE, "recommender-v1")
    decision = watch(post)
    assert decision is not None
    assert decision.action == "pause"
