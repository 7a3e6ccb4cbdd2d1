"""Ticks on a real store and ledger: a whole release, crashes between two writes, stale writers, a person's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.platform.interface import ANY, DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE, Conflict
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.act import move, read_state, record
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.ledger import APPROVAL_ASKED
from recsys_assets.rollout.outcomes import Logs, WeightSince
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import RouteState, virtual_service
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.tick import look, preview, tick
from recsys_assets_tests.rollout.build import (
    FixedMetrics,
    Rows,
    crowd,
    desk,
    later,
    model,
    plan,
    release,
    route,
    verdict,
)


def champion_first(at: Desk) -> None:
    """Version 1 becomes the champion, as a first release does."""
    open_release(at, model("1"), plan(), actor="test")
    assert tick(at, actor="test").phase is Phase.CHAMPION


def put(at: Desk, state: RouteState) -> RouteState:
    """Put a state on the route, whatever stands there."""
    at.platform.apply(virtual_service(state), expected=ANY)
    record(at.ledger, state)
    return standing(at)


def standing(at: Desk) -> RouteState:
    found = read_state(at.platform, at.model_name)
    assert found is not None
    return found


def canary(at: Desk, step: int = 0, *, phase: Phase = Phase.CANARY) -> RouteState:
    state = route(phase, step)
    weight = state.split.canary_weight_bp
    return put(at, replace(state, transition=step + 2, weights=(WeightSince(later(0), weight),)))


def services(at: Desk) -> list[str]:
    return [m["metadata"]["name"] for m in at.platform.list(INFERENCE_SERVICE)]


def test_a_first_release_becomes_champion_and_gets_the_alias(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion_first(at)
    assert at.registry.now["champion"] == "1"
    assert at.ledger.promoted("1", model("1").bundle_digest)
    assert standing(at).split.stable == "recommender-v1"


def test_a_whole_release_goes_through_every_step_by_ticks_alone(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    champion_first(at)
    clock.at = 1
    opened = open_release(at, model("2"), plan(shadow_requests=0, min_visitors_per_arm=20), actor="test")
    seen = [opened.split.canary_weight_bp]
    for share in (None, 0.1, 0.25, 0.5):
        if share is not None:
            # The visitors of this step come, then one looks.
            rows = crowd(4_000, share=share, canary_clicks=0.8, seconds=20)
            at = replace(at, metrics=FixedMetrics(_shifted(rows, clock.at)))
            clock.at += 25
        decision = tick(at, actor="test")
        assert decision is not None
        assert decision.action == "advance", decision.reason
        seen.append(standing(at).split.canary_weight_bp)
    assert seen == [0, 1_000, 2_500, 5_000, 10_000]


def _shifted(rows: Rows, seconds: float) -> Logs:
    for row in (*rows.gateway, *rows.exposures):
        row["served_at"] += later(seconds) - later(0)
    for row in rows.feedback:
        row["received_at"] += later(seconds) - later(0)
    return rows.logs()


def test_harm_takes_the_weight_removes_the_service_and_marks_what_was_shown(tmp_path: Path) -> None:
    # Three minutes of it: more than two episodes of half a minute.
    at, clock = desk(tmp_path, crowd(2_700, share=0.1, seconds=180, status=lambda i: 500 if i % 2 else 200).logs())
    canary(at)
    clock.at = 184
    at = replace(at, platform=at.platform)
    standing_lease = put(at, replace(standing(at), lease=later(200)))
    assert standing_lease.split.canary_weight_bp == 1_000
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.phase is Phase.ROLLED_BACK
    assert standing(at).split.model_dump() == {
        "stable": "recommender-v1",
        "canary": None,
        "canary_weight_bp": 0,
        "shadow": None,
    }
    assert services(at) == ["recommender-v1"]
    assert at.registry.challenger() is None
    (mark,) = at.ledger.marks()
    assert mark.model_version == "2"
    assert [(a.variant, a.visitors) for a in at.ledger.audience("rel-2")] == [("canary", 270), ("stable", 2430)]
    assert at.ledger.denied(at.clock()) == {model().bundle_digest: "rel-2"}


def test_promotion_retargets_the_route_and_removes_only_the_former_stable(tmp_path: Path) -> None:
    at, clock = desk(tmp_path, crowd(4_000, canary_clicks=0.8).logs())
    state = canary(at, 2, phase=Phase.BAKING)
    weights = (WeightSince(later(0), 5_000), WeightSince(later(64), 10_000))
    put(at, replace(state, weights=weights, entered_at=later(64), lease=later(200)))
    assert services(at) == ["recommender-v1", "recommender-v2"]
    clock.at = 75
    rows = crowd(4_000, canary_clicks=0.8)
    for i in range(20):
        rows.ask(f"baked{i}", "canary", 70)
    at = replace(at, metrics=FixedMetrics(rows.logs()))
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.action == "promote", decision.reason
    assert services(at) == ["recommender-v2"]
    assert at.registry.now == {"champion": "2"}
    assert standing(at).split.stable == "recommender-v2"


def test_a_crash_between_route_and_ledger_is_repaired_by_the_next_tick(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    champion_first(at)
    open_release(at, model("2"), plan(), actor="test")
    before = standing(at)
    world = look(at)
    assert world is not None

    class DiedError(Exception):
        pass

    class DiesBeforeTheLedger:
        def append(self, *_: object, **__: object) -> bool:
            raise DiedError

        def events(self, _: str) -> list[object]:
            return []

        def has(self, _: str) -> bool:
            raise DiedError

    with pytest.raises(DiedError):
        move(at.platform, DiesBeforeTheLedger(), before, decide(world, clock()), actor="first", now=clock())
    assert standing(at).phase is Phase.SHADOW
    assert [e.kind for e in at.ledger.events(before.release.release_id)] == ["opened"]
    tick(at, actor="second")
    rows = [e for e in at.ledger.events(before.release.release_id) if e.kind == "shadow"]
    assert [(row.actor, row.body["reason"]) for row in rows] == [("first", "the offline gate passed")]


def test_a_crash_before_the_clean_up_is_repaired_by_the_next_tick(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.ROLLED_BACK), transition=3))
    assert services(at) == ["recommender-v1", "recommender-v2"]
    tick(at, actor="next")
    assert services(at) == ["recommender-v1"]
    before = len(at.ledger.events())
    tick(at, actor="next")
    assert len(at.ledger.events()) == before


def test_a_stale_writer_is_rejected_and_changes_nothing(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    stale = canary(at)
    world = look(at)
    assert world is not None
    put(at, replace(stale, reason="somebody was faster"))
    decision = decide(world, later(10_000)).model_copy(update={"reason": "late"})
    with pytest.raises(Conflict):
        move(at.platform, at.ledger, stale, decision, actor="slow", now=clock())
    assert standing(at).phase is Phase.CANARY
    assert standing(at).reason == "somebody was faster"


def test_losing_the_race_is_a_hold(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    canary(at)

    class Rival(ManifestStore):
        def apply(self, manifest, *, expected):  # type: ignore[no-untyped-def]
            raise Conflict(VIRTUAL_SERVICE, "recommender", "another version stands there")

    racing = replace(at, platform=Rival(tmp_path / "manifests.db"), clock=lambda: later(10_000))
    decision = tick(racing, actor="slow")
    assert decision is not None
    assert (decision.action, decision.phase) == ("hold", Phase.CANARY)
    assert decision.split == standing(at).split


def test_a_lease_is_renewed_by_a_tick_that_holds(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    canary(at)
    clock.at = 25
    assert tick(at, actor="test").action == "hold"
    assert standing(at).lease == later(55)


def test_why_a_release_waits_is_written_once_for_each_kind_of_reason(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    canary(at)
    for clock.at in (1, 2, 3):
        tick(at, actor="test")
    assert [e.kind for e in at.ledger.events("rel-2")].count("waiting") == 1


def test_one_release_at_a_time(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion_first(at)
    first = open_release(at, model("2"), plan(), actor="test")
    assert open_release(at, model("2"), plan(), actor="again").release == first.release
    with pytest.raises(ReleaseRefused, match="one at a time"):
        open_release(at, model("3"), plan(), actor="test")


def test_the_champion_is_not_released_again(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    champion_first(at)
    with pytest.raises(ReleaseRefused, match="champion already"):
        open_release(at, model("1"), plan(), actor="test")


def test_a_first_release_that_is_rejected_leaves_no_route(tmp_path: Path) -> None:
    at, _ = desk(tmp_path, gate=lambda of: verdict("offline_gate", Outcome.FAIL, of.version))
    open_release(at, model("2"), plan(), actor="test")
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.phase is Phase.REJECTED
    assert read_state(at.platform, at.model_name) is None
    assert [r.phase for r in at.ledger.releases()] == [Phase.REJECTED]


def test_without_a_route_there_is_nothing_to_tick(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    assert tick(at, actor="test") is None
    assert at.ledger.events() == []


def test_the_plan_on_the_route_is_the_one_that_was_promised(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    canary(at)
    assert standing(at).release == release()


@pytest.mark.parametrize(
    ("outcome", "phase"),
    [(Outcome.FAIL, Phase.REJECTED), (Outcome.INCONCLUSIVE, Phase.SHADOW), (Outcome.PASS, Phase.CANARY)],
)
def test_a_bundle_is_verified_once_more_before_users_see_it(tmp_path: Path, outcome: Outcome, phase: Phase) -> None:
    """It passed when the release opened; somebody may have touched it since."""
    at, _ = desk(tmp_path, bundle=lambda of: verdict("bundle", outcome, of.version))
    champion_first(at)
    open_release(at, model("2"), plan(shadow_requests=1), actor="test")
    tick(at, actor="test")
    assert standing(at).phase is Phase.SHADOW
    world = look(at)
    assert world is not None
    assert decide(replace(world, shadow=verdict("shadow")), at.clock()).phase is phase


def test_without_a_route_there_is_no_world_and_nothing_to_decide(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    assert look(at) is None
    assert preview(at) is None
    assert tick(at, actor="test") is None


def test_a_preview_is_what_a_tick_would_decide_and_changes_nothing(tmp_path: Path) -> None:
    at, _ = desk(tmp_path, crowd(900).logs())
    before = canary(at)
    rows = len(at.ledger.events())
    expected = preview(at)
    assert (standing(at), len(at.ledger.events())) == (before, rows)
    decided = tick(at, actor="test")
    assert expected is not None
    assert decided is not None
    assert (expected.action, expected.phase, expected.reason) == (decided.action, decided.phase, decided.reason)


def test_a_service_that_is_not_there_has_no_status_in_the_world(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    canary(at)
    at.platform.delete(INFERENCE_SERVICE, "recommender-v2")
    world = look(at)
    assert world is not None
    assert set(world.services) == {"recommender-v1"}


def test_of_a_release_that_has_ended_no_log_is_read(tmp_path: Path) -> None:
    class Unread:
        def logs(self, _since: datetime) -> Logs:
            raise AssertionError("the logs of an ended release were read")

    at, _ = desk(tmp_path, metrics=Unread())
    put(at, replace(route(Phase.ROLLED_BACK), transition=3))
    world = look(at)
    assert world is not None
    assert (world.verdicts, world.visitors) == ((), (0, 0))


@pytest.mark.parametrize(("phase", "waited"), [(Phase.CANARY, 80), (Phase.BAKING, 0)])
def test_waiting_for_a_person_takes_no_time_from_the_canary_and_gives_none_to_the_bake(
    tmp_path: Path, phase: Phase, waited: int
) -> None:
    at, clock = desk(tmp_path)
    canary(at, 2, phase=phase)
    at.ledger.append(APPROVAL_ASKED, release_id="rel-2", actor="test", at=later(10), key="asked", body={})
    clock.at = 90
    world = look(at)
    assert world is not None
    assert world.waited == timedelta(seconds=waited)


def test_a_tick_brings_rules_and_alias_to_what_the_route_says(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    canary(at)
    at.registry.set_alias("champion", "3")
    tick(at, actor="test")
    assert at.registry.now["champion"] == "1"
    assert [r["metadata"]["name"] for r in at.platform.list(DESTINATION_RULE)] == ["recommender-v2"]


def test_a_freeze_is_written_as_one_and_once(tmp_path: Path) -> None:
    at, clock = desk(tmp_path, crowd(900, share=0.1, status=lambda i: 500 if i % 2 else 200).logs())
    canary(at)
    at.platform.delete(INFERENCE_SERVICE, "recommender-v1")
    clock.at = 20
    for _ in range(2):
        decision = tick(at, actor="test")
        assert decision is not None
        assert decision.action == "pause", decision.reason
    assert [e.kind for e in at.ledger.events("rel-2")].count("frozen") == 1
