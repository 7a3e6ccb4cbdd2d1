"""Acting on a decision: only on the release and the state it was made for; rows for every move, whoever died."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY, Conflict
from recsys_assets.records import Decision, Phase
from recsys_assets.rollout import clocks
from recsys_assets.rollout.act import move, read_state, record, renew
from recsys_assets.rollout.clocks import ClockMark, jumped_seconds, machine_clock, read_mark
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.pauses import Pause
from recsys_assets.rollout.route import MoveRefused, RouteState, lease_is_over, planned_split, virtual_service
from recsys_assets.rollout.tick import preview, tick
from recsys_assets_tests.rollout.build import Clock, FixedMetrics, Rows, crowd, desk, later, route


def put(at: Desk, state: RouteState) -> RouteState:
    at.platform.apply(virtual_service(state), expected=ANY)
    return standing(at)


def standing(at: Desk) -> RouteState:
    found = read_state(at.platform, at.model_name)
    assert found is not None
    return found


def decision(state: RouteState, phase: Phase, step: int = 0, **changes: Any) -> Decision:
    split = planned_split(state.release, phase, step)
    values = {"release_id": "rel-2", "action": "advance", "phase": phase, "step": step, "split": split, "reason": "go"}
    return Decision(**(values | changes))


def go(at: Desk, state: RouteState, phase: Phase, step: int = 0, **changes: Any) -> RouteState:
    made = decision(state, phase, step, **changes)
    return move(at.platform, at.ledger, state, made, actor="me", now=at.clock())


def test_a_stale_writer_cannot_move_after_a_roll_back(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stale = put(at, route(Phase.CANARY, 1))
    go(at, stale, Phase.ROLLED_BACK)
    with pytest.raises(Conflict):
        go(at, stale, Phase.CANARY, 2)
    with pytest.raises(Conflict):
        renew(at.platform, stale, now=later(29))
    assert standing(at).phase is Phase.ROLLED_BACK
    assert [e.kind for e in at.ledger.events("rel-2")] == ["opened", "rolled_back"]


def test_a_pause_on_the_route_whose_writer_died_is_recorded_once(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    paused = Pause(who="ann", why="a look", since=later(5))
    state = put(at, replace(route(Phase.CANARY, 1), pauses=(paused,)))
    for _ in range(2):
        record(at.ledger, state)
    rows = [(e.actor, e.at, e.body["reason"]) for e in at.ledger.events("rel-2") if e.kind == "paused"]
    assert rows == [("ann", later(5), "a look")]


@pytest.mark.parametrize("phase", [Phase.CHAMPION, Phase.REJECTED, Phase.HELD, Phase.ROLLED_BACK])
def test_an_end_is_never_left(tmp_path: Path, phase: Phase) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(phase))
    with pytest.raises(MoveRefused, match="has ended already"):
        go(at, state, Phase.CANARY)
    assert standing(at) == state


def test_a_decision_about_another_release_moves_nothing(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.SHADOW))
    with pytest.raises(MoveRefused, match="a decision about rel-1 cannot move rel-2"):
        go(at, state, Phase.CANARY, release_id="rel-1")
    assert standing(at) == state


def test_weights_that_nobody_planned_are_never_written(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.SHADOW))
    with pytest.raises(MoveRefused, match="is not the planned"):
        go(at, state, Phase.CANARY, split=planned_split(state.release, Phase.CANARY, 2))
    assert standing(at) == state


class NoLedger:
    """A ledger whose writer died, or whose disk is full."""

    class DiedError(Exception):
        pass

    def events(self, *_: object) -> list[object]:
        raise self.DiedError


def test_rows_of_moves_whose_writers_all_died_are_written_by_whoever_looks_next(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    state = put(at, route(Phase.GATED))
    dead: Any = NoLedger()
    for clock.at, phase, step in ((1, Phase.SHADOW, 0), (2, Phase.CANARY, 0), (3, Phase.CANARY, 1)):
        with pytest.raises(NoLedger.DiedError):
            move(at.platform, dead, state, decision(state, phase, step), actor=f"a{phase.value}", now=at.clock())
        state = standing(at)
    assert at.ledger.events() == []
    assert record(at.ledger, state)
    rows = [(e.kind, e.actor, e.at, e.body["weight_bp"], e.key) for e in at.ledger.events("rel-2")]
    assert rows == [
        ("opened", "test", later(0), 0, "rel-2/0"),
        ("shadow", "ashadow", later(1), 0, "rel-2/1"),
        ("canary", "acanary", later(2), 1_000, "rel-2/2"),
        ("canary", "acanary", later(3), 2_500, "rel-2/3"),
    ]
    assert not record(at.ledger, state)


def test_verdicts_stand_in_the_row_of_their_own_move(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.GATED))
    dead: Any = NoLedger()
    with pytest.raises(NoLedger.DiedError):
        move(at.platform, dead, state, decision(state, Phase.SHADOW), actor="a", now=at.clock())
    record(at.ledger, standing(at), verdicts=[{"check": "x"}])
    assert [e.body["verdicts"] for e in at.ledger.events("rel-2")] == [[], [{"check": "x"}]]


def test_a_route_without_a_trail_gets_its_opening_row_afterwards(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    record(at.ledger, put(at, replace(route(Phase.CANARY, 1), transition=3)))
    rows = at.ledger.events("rel-2")
    assert [(e.kind, e.body["phase"], e.body["weight_bp"]) for e in rows] == [
        ("opened", "gated", 0),
        ("canary", "canary", 2_500),
    ]


@pytest.mark.parametrize(("at_second", "lease"), [(9.9, 30), (10.0, 40), (31.0, 61)])
def test_a_lease_is_renewed_once_a_third_of_it_is_gone(tmp_path: Path, at_second: float, lease: float) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.CANARY))
    assert renew(at.platform, state, now=later(at_second)).lease == later(lease)


def test_a_lease_from_before_the_clock_was_set_back_is_renewed(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, replace(route(Phase.SHADOW), clock=mark(10, 10)))
    assert renew(at.platform, state, now=later(-100)).lease == later(-70)


def test_a_look_at_what_is_recorded_writes_nothing(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.CANARY))
    record(at.ledger, state)

    class ReadOnly:
        def __getattr__(self, name: str) -> Any:
            assert name != "append"
            return getattr(at.ledger, name)

    only: Any = ReadOnly()
    assert not record(only, state)


def test_an_end_needs_no_lease(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = put(at, route(Phase.CHAMPION))
    assert renew(at.platform, state, now=later(100)) == state


def mark(at: float, uptime: float, boot: str = "b") -> ClockMark:
    return ClockMark(boot, uptime, later(at))


@pytest.mark.parametrize(
    ("now", "jump"),
    [
        (mark(100, 200), 0),
        (mark(101.9, 200), 0),
        (mark(102.1, 200), 2.1),
        (mark(97.8, 200), -2.2),
        (mark(5_000, 200, "another boot"), 0),
        (None, 0),
    ],
)
def test_a_jump_is_what_the_uptime_does_not_explain(now: ClockMark | None, jump: float) -> None:
    assert jumped_seconds(mark(0, 100), now) == pytest.approx(jump)
    assert jumped_seconds(None, now) == 0


def test_a_mark_is_written_and_read_back() -> None:
    assert read_mark(mark(3, 4.5).written()) == mark(3, 4.5)
    with pytest.raises(ValueError, match="no time zone"):
        read_mark("b 1.0 2026-01-01T00:00:00")


def test_without_a_clock_that_nobody_sets_there_is_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setattr(clocks, "_BOOT_ID", tmp_path / "absent")
        assert machine_clock() is None
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert machine_clock() is None


def test_this_machine_has_an_uptime_that_goes_forward() -> None:
    first, second = machine_clock(), machine_clock()
    assert first is not None
    assert second is not None
    assert (first.boot, second.uptime_seconds >= first.uptime_seconds) == (second.boot, True)


def jumped(tmp_path: Path, phase: Phase, step: int, *, by: float, **metrics: Any) -> tuple[Desk, Clock]:
    """A release of which everything would pass, looked at 20 s after its last write, with the clock set in between."""
    at, clock = desk(tmp_path, crowd(4_000, canary_clicks=0.8, **metrics).logs())
    weights = (WeightSince(later(0), 5_000), WeightSince(later(45), 10_000)) if phase is Phase.BAKING else ()
    put(at, replace(route(phase, step), weights=weights, entered_at=later(45), lease=later(80), clock=mark(50, 50)))
    clock.at = 70 + by
    return replace(at, mark=lambda: mark(70 + by, 70)), clock


@pytest.mark.parametrize("by", [-3_600, -15, 15, 3_600])
@pytest.mark.parametrize(("phase", "step"), [(Phase.GATED, 0), (Phase.SHADOW, 0), (Phase.CANARY, 2), (Phase.BAKING, 2)])
def test_with_a_clock_that_was_set_no_new_step_is_taken(tmp_path: Path, phase: Phase, step: int, by: float) -> None:
    at, _ = jumped(tmp_path, phase, step, by=by)
    looked = preview(at)
    assert looked is not None
    made = tick(at, actor="test")
    assert made is not None
    assert (made.phase, looked.phase) == (Phase.HELD, Phase.HELD)
    assert f"the clock was set by {by:+.1f} s" in made.reason
    assert standing(at).split.canary_weight_bp == 0
    assert at.ledger.denied(at.clock()) == {}, "nobody's verdict on the model"


def test_a_clock_that_was_not_set_lets_a_release_go_on(tmp_path: Path) -> None:
    at, _ = jumped(tmp_path, Phase.GATED, 0, by=0)
    made = tick(at, actor="test")
    assert made is not None
    assert made.action == "advance"
    assert standing(at).clock == mark(70, 70)


def test_a_tick_that_holds_renews_the_mark_with_the_lease(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    put(at, replace(route(Phase.SHADOW), clock=mark(0, 0)))
    tick(replace(at, clock=lambda: later(25), mark=lambda: mark(25, 25)), actor="test")
    assert (standing(at).phase, standing(at).clock) == (Phase.SHADOW, mark(25, 25))


def test_an_end_stays_whatever_the_clock_says(tmp_path: Path) -> None:
    at, _ = jumped(tmp_path, Phase.CHAMPION, 0, by=3_600)
    tick(at, actor="test")
    assert standing(at).phase is Phase.CHAMPION


def test_a_failure_that_is_shown_still_takes_the_weight_and_denies_nothing(tmp_path: Path) -> None:
    at, _ = jumped(tmp_path, Phase.CANARY, 0, by=0)
    rows = crowd(900, share=0.1, status=lambda i: 500 if i % 2 else 200).logs()
    put(at, replace(standing(at), weights=(WeightSince(later(0), 1_000),)))
    at = replace(at, metrics=FixedMetrics(rows), mark=lambda: mark(70, 60))
    made = tick(at, actor="test")
    assert made is not None
    assert (made.action, made.phase) == ("roll_back", Phase.HELD)
    assert at.ledger.denied(later(70)) == {}


@pytest.mark.parametrize(
    ("now", "over"), [(later(29.9), False), (later(30), True), (later(8.1), False), (later(7.9), True)]
)
def test_a_lease_is_over_when_it_ran_out_or_the_clock_was_set_back(now: datetime, over: bool) -> None:
    assert lease_is_over(replace(route(Phase.CANARY), clock=mark(10, 10)), now) is over


def test_the_guard_takes_the_weight_when_the_clock_was_set_back(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    put(at, replace(route(Phase.CANARY), clock=mark(10, 10)))
    clock.at = -3_600
    watch(Post("recommender", at.platform, at.ledger, FixedMetrics(Rows().logs()), 10, clock))
    assert standing(at).phase is Phase.HELD
