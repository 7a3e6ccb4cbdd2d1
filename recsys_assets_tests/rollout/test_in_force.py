"""A weight that the gateway takes up late: visitors of the meantime count for neither arm.

Here: what platform, route, tick, guard and analysis make of it. Not here: a real gateway (test_gateway.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg

from recsys_assets.platform.interface import ANY, VIRTUAL_SERVICE
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Outcome, Phase
from recsys_assets.resources.attempts import WORK_TAG
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.evidence import QUALITY, RATIO
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.in_force import as_seen, latest_share, noted
from recsys_assets.rollout.outcomes import Logs, Scope, WeightSince, visitor_outcomes
from recsys_assets.rollout.route import RouteState, virtual_service
from recsys_assets.rollout.sensors import evaluate
from recsys_assets.rollout.shown.events import Board
from recsys_assets.rollout.tick import tick
from recsys_assets_tests.rollout.build import FixedMetrics, Rows, crowd, desk, later, route, scope

SERVICE = "recommender-v2"
PLANNED = WeightSince(later(0), 1_000)
# Written at 0, taken up by the gateway at 10.
LATE = replace(PLANNED, in_force=later(10))


def late_gateway() -> Logs:
    """80 visitors a second who each click once: all on stable for ten seconds, then each tenth on the canary."""
    rows = Rows()
    for number in range(1_600):
        at = number / 80
        arm = "canary" if at > 10 and number % 10 == 0 else "stable"
        rows.ask(f"v{number}", arm, at, clicks=["a"])  # type: ignore[arg-type]
    return rows.logs()


def seen(weight: WeightSince) -> Scope:
    return replace(scope(30), weights=(weight,))


def outcome(check: str, weight: WeightSince) -> Outcome:
    (found,) = (one for one in judge(late_gateway(), seen(weight)) if one.check == check)
    return found.outcome


def test_a_model_that_is_as_good_is_not_blamed_for_a_gateway_that_was_late() -> None:
    assert outcome(QUALITY, PLANNED) is Outcome.FAIL, "weighed as planned it looks worse"
    assert outcome(QUALITY, LATE) is Outcome.INCONCLUSIVE, "eighty visitors show nothing yet"


def test_the_shares_are_as_planned_once_the_gateway_gives_them() -> None:
    assert outcome(RATIO, PLANNED) is Outcome.INCONCLUSIVE
    assert outcome(RATIO, LATE) is Outcome.PASS


def test_a_model_that_is_worse_is_found_all_the_same() -> None:
    logs = late_gateway()
    assert logs.exposures is not None
    assert logs.feedback is not None
    on_canary = logs.exposures.filter(variant="canary")
    worse = replace(logs, feedback=logs.feedback.join(on_canary, on="request_id", how="anti"))
    assert next(one for one in judge(worse, seen(LATE)) if one.check == QUALITY).outcome is Outcome.FAIL


def test_who_came_before_it_was_in_force_or_in_the_two_seconds_after_is_counted_as_left_out() -> None:
    rows = Rows()
    for second in (1, 9, 11, 13):
        rows.ask(f"v{second}", "stable", second)
    found = visitor_outcomes(rows.logs(), seen(LATE))
    assert (found.visitors["visitor_id"].to_list(), found.unsettled) == (["v13"], 3)


def stored(store: ManifestStore, state: RouteState) -> RouteState:
    store.apply(virtual_service(state), expected=ANY)
    found = read_state(store, "recommender")
    assert found is not None
    return found


def on_canary(store: ManifestStore) -> RouteState:
    return stored(store, replace(route(Phase.CANARY), weights=(PLANNED,), lease=later(1_000)))


def gateway_says(store: ManifestStore, *, generation: int, weight: int) -> None:
    live = store.get(VIRTUAL_SERVICE, "recommender")
    assert live is not None
    weights = {SERVICE: weight, "recommender-v1": 10_000 - weight}
    status = {"observedGeneration": generation, "ready": True, "weights": weights}
    store.set_status(VIRTUAL_SERVICE, "recommender", uid=live["metadata"]["uid"], status=status)


def test_the_platform_says_whether_the_share_is_given(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path / "manifests.db")
    state = on_canary(store)
    assert latest_share(store, state) == "unknown", "nobody looks at this route"
    assert as_seen(store, state, later(5)) == (PLANNED,)
    gateway_says(store, generation=state.generation, weight=0)
    assert latest_share(store, state) == "awaited", "the canary is not ready: the gateway gives its share to stable"
    assert as_seen(store, state, later(5)) == (replace(PLANNED, in_force=later(5)),)
    gateway_says(store, generation=state.generation, weight=1_000)
    assert latest_share(store, state) == "in force"


def test_an_older_generation_is_not_in_force(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path / "manifests.db")
    on_canary(store)
    gateway_says(store, generation=1, weight=1_000)
    grown = replace(route(Phase.CANARY, 1), weights=(LATE, WeightSince(later(20), 2_500)), lease=later(1_000))
    assert latest_share(store, stored(store, grown)) == "awaited"


def test_the_route_keeps_when_it_was_seen_first(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path / "manifests.db")
    state = on_canary(store)
    assert noted(store, state, later(4)) == state, "nobody can say"
    gateway_says(store, generation=state.generation, weight=1_000)
    written = noted(store, state, later(10))
    assert read_state(store, "recommender") == written
    assert written.weights == (LATE,)
    assert noted(store, written, later(20)) == written
    assert as_seen(store, written, later(20)) == (LATE,)


def test_a_tick_notes_it_and_moves_nothing(tmp_path: Path) -> None:
    at, clock = desk(tmp_path, late_gateway())
    assert isinstance(at.platform, ManifestStore)
    state = on_canary(at.platform)
    gateway_says(at.platform, generation=state.generation, weight=1_000)
    clock.at = 10
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.action == "hold"
    after = read_state(at.platform, "recommender")
    assert after is not None
    assert (after.weights, after.transition) == ((LATE,), state.transition)


def test_the_sensor_alone_notes_it_and_asks_for_the_next_step(tmp_path: Path) -> None:
    at, clock = desk(tmp_path, crowd(4_000, share=0.1).logs())
    assert isinstance(at.platform, ManifestStore)
    state = on_canary(at.platform)
    gateway_says(at.platform, generation=state.generation, weight=1_000)
    with dg.DagsterInstance.ephemeral() as instance:
        board = Board(instance, "http://127.0.0.1:3000")
        clock.at = 1
        assert isinstance(evaluate(at, board), dg.SkipReason)
        noted_at_one = read_state(at.platform, "recommender")
        assert noted_at_one is not None
        assert noted_at_one.weights == (replace(PLANNED, in_force=later(1)),)
        clock.at = 64
        asked = evaluate(at, board)
    assert isinstance(asked, dg.RunRequest), asked.skip_message
    assert asked.tags[WORK_TAG] == "canary:v2:rel-2:0:canary"


def test_the_guard_takes_no_weight_for_a_late_gateway_also_where_no_tick_runs(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    assert isinstance(at.platform, ManifestStore)
    state = on_canary(at.platform)
    post = Post("recommender", at.platform, at.ledger, FixedMetrics(late_gateway()), 10, clock)
    gateway_says(at.platform, generation=state.generation - 1, weight=0)
    clock.at = 8
    assert watch(post) is None
    gateway_says(at.platform, generation=state.generation, weight=1_000)
    for second in (10, 20, 30):
        clock.at = second
        assert watch(post) is None
    assert post.seen == {("rel-2", 1): later(10)}
