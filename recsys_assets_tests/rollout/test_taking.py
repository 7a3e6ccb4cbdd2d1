"""The weight is taken for one episode; the digest is denied only beyond one, or after three.

Here: taking.py, the guard's and the tick's decision, and the ledger's denial. Not here: what an episode is
(test_episodes.py).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY
from recsys_assets.records import Episode, Measurement, Outcome, Phase, Verdict
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.breaches import judge_breach
from recsys_assets.rollout.denials import denied_at, episodes_of
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.evidence import ERRORS, LAST_ANSWER, LATENCY, STABLE, answered_lately
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.ledger import Event, LedgerUnavailable
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import read_route, virtual_service
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.taking import weight_taken
from recsys_assets.rollout.tick import tick
from recsys_assets_tests.rollout.build import (
    DOWN,
    READY,
    T0,
    Clock,
    FixedMetrics,
    all_pass,
    desk,
    later,
    model,
    plan,
    route,
    scope,
    service,
    verdict,
    world,
)
from recsys_assets_tests.rollout.test_episodes import stalled, steady

STALL = Episode(what="timeouts", count=61, began=later(67), seconds=5.2)
TOLD = "61 timeouts within 5 s at 00:01:07 UTC (one episode): weight taken away; digest not denied"


def failing(check: str = ERRORS, episode: Episode | None = STALL) -> Verdict:
    return verdict(check, Outcome.FAIL).model_copy(update={"episode": episode})


def episode(number: int) -> Episode:
    return STALL.model_copy(update={"began": STALL.began - timedelta(hours=number)})


def test_for_one_episode_the_weight_goes_and_the_digest_stays() -> None:
    taken = weight_taken(model(), [failing()], earlier=())
    assert (taken.phase, taken.episode) == (Phase.HELD, STALL)
    assert taken.reason.startswith(f"{TOLD} (1 of the 3 releases that deny it)")
    assert f"{ERRORS} FAIL" in taken.reason


def test_one_failure_beyond_an_episode_denies() -> None:
    taken = weight_taken(model(), [failing(), failing(LATENCY, None)], earlier=())
    assert (taken.phase, taken.episode) == (Phase.ROLLED_BACK, None)


@pytest.mark.parametrize(("earlier", "phase"), [(1, Phase.HELD), (2, Phase.ROLLED_BACK), (5, Phase.ROLLED_BACK)])
def test_the_third_release_that_an_episode_ends_denies(earlier: int, phase: Phase) -> None:
    taken = weight_taken(model(), [failing()], earlier=[episode(n + 1) for n in range(earlier)])
    assert taken.phase is phase
    assert ("digest denied" in taken.reason) is (phase is Phase.ROLLED_BACK)


def test_retries_within_one_long_outage_meet_one_episode() -> None:
    close = [STALL.model_copy(update={"began": STALL.began - timedelta(seconds=n)}) for n in (30, 60)]
    assert weight_taken(model(), [failing()], earlier=close).phase is Phase.HELD


def test_a_drill_ends_by_its_name_whatever_it_rests_on() -> None:
    taken = weight_taken(model().model_copy(update={"drill": "failing"}), [failing()], earlier=())
    assert taken.phase is Phase.ROLLED_BACK
    assert "the digest of a drill is never denied" in taken.reason


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.BAKING])
def test_tick_and_guard_end_it_alike(phase: Phase) -> None:
    state = route(phase, 2)
    by_tick = decide(world(state, verdicts=(failing(), *all_pass()[2:])), later(1))
    by_guard = judge_breach(state, (failing(),), stable_ready=True, now=later(1))
    assert by_guard is not None
    for made in (by_tick, by_guard):
        assert (made.action, made.phase, made.episode) == ("roll_back", Phase.HELD, STALL)
        assert made.split.canary_weight_bp == 0
        assert made.reason.startswith(TOLD)


def test_the_route_keeps_the_episode_for_whoever_writes_the_row() -> None:
    state = replace(route(Phase.HELD), episode=STALL)
    again = read_route(virtual_service(state))
    assert again.episode == again.latest.episode == STALL
    assert read_route(virtual_service(route(Phase.HELD))).episode is None


def test_while_stable_stalls_it_gets_nobody_and_nobody_is_called() -> None:
    stall = failing(STABLE)
    assert judge_breach(route(Phase.CANARY), (failing(), stall), stable_ready=True, now=later(1)) is None
    decision = decide(world(route(Phase.CANARY), verdicts=(*all_pass()[:-1], stall)), later(1))
    assert (decision.action, decision.phase) == ("hold", Phase.CANARY)
    outage = failing(STABLE, None)
    broken = judge_breach(route(Phase.CANARY), (failing(), outage), stable_ready=True, now=later(1))
    assert broken is not None
    assert broken.action == "pause"
    assert decide(world(route(Phase.CANARY), verdicts=(*all_pass()[:-1], outage)), later(1)).action == "pause"


def answered(seconds_ago: float | None) -> Verdict:
    age = Measurement(name=LAST_ANSWER, value=seconds_ago, n=100, unit="s")
    return verdict(STABLE).model_copy(update={"measurements": (age,)})


@pytest.mark.parametrize(("seconds_ago", "called"), [(9.9, False), (10.1, True), (None, True)])
def test_a_stable_that_is_not_ready_is_gone_once_it_has_not_answered_for_ten_seconds(
    seconds_ago: float | None, called: bool
) -> None:
    found = (failing(episode=None), answered(seconds_ago))
    state = route(Phase.CANARY)
    by_guard = judge_breach(state, found, stable_ready=False, now=later(1))
    by_tick = decide(world(state, verdicts=found, services={"recommender-v1": DOWN, "recommender-v2": READY}), later(1))
    assert (by_tick.action, by_tick.phase) == ("pause" if called else "hold", Phase.CANARY)
    assert (by_guard is not None) is called
    assert by_guard is None or by_guard.action == "pause"


def test_when_stable_answered_last_stands_in_its_verdict() -> None:
    rows = steady()
    for one in rows.gateway:
        if one["variant"] == "stable" and one["served_at"] >= later(298):
            one |= {"status": 503, "model_version": None, "rung": None}
    found = next(v for v in judge(rows.logs(), scope(304)) if v.check == STABLE)
    assert answered_lately([found])
    (age,) = [m.value for m in found.measurements if m.name == LAST_ANSWER]
    assert age == pytest.approx(6.1)
    assert not answered_lately(judge(steady().logs(), scope(315)))


def row(number: int, kind: str, *, hours: float, action: str = "roll_back", drill: str | None = None) -> Event:
    at = T0 + timedelta(hours=hours)
    body: dict[str, Any] = {"digest": "d", "action": action, "model": {"drill": drill}}
    if kind in {"held", "rolled_back"}:
        body["episode"] = STALL.model_copy(update={"began": at}).model_dump(mode="json")
    return Event(number, at, f"r{number}", kind, "guard", f"k{number}", body)


def test_three_rows_of_episodes_deny_even_where_the_ledger_was_silent_at_the_third() -> None:
    told = [row(n, "held", hours=n) for n in range(3)]
    assert denied_at(told[:2], T0 + timedelta(days=1)) == {}
    assert denied_at(told, T0 + timedelta(days=1)) == {"d": "r2"}


@pytest.mark.parametrize("changes", [{"action": "reject"}, {"drill": "failing"}])
def test_an_episode_that_no_user_met_and_one_of_a_drill_count_for_nothing(changes: dict[str, str]) -> None:
    assert denied_at([row(n, "held", hours=n, **changes) for n in range(5)], T0 + timedelta(days=1)) == {}


@pytest.mark.parametrize("kind", ["champion", "override"])
def test_a_promotion_and_an_override_begin_the_count_anew(kind: str) -> None:
    told = [row(0, "held", hours=0), row(1, "held", hours=1), row(2, kind, hours=2), row(3, "held", hours=3)]
    assert len(episodes_of(told, "d")) == 1
    assert denied_at(told, T0 + timedelta(days=1)) == {}


# -- the whole way: a real store, a real ledger, the guard's own look


def stood_still(tmp_path: Path) -> tuple[Desk, Clock, Post]:
    """Version 2 at half of the users, and a machine of its own that stood still for five seconds."""
    logs = steady(status=stalled).logs()
    at, clock = desk(tmp_path, logs)
    return at, clock, Post("recommender", at.platform, at.ledger, FixedMetrics(logs), 10, clock)


def begin(at: Desk, clock: Clock, when: float) -> str:
    """A release of version 2, in its canary phase since T0 by its route: the rows are those of the same stall."""
    clock.at = when
    service(at.platform, "2")
    state = open_release(at, model("2"), plan(shadow_requests=0, steps_bp=(5_000,)), actor="test")
    tick(at, actor="test")
    state = read_state(at.platform, "recommender")
    assert state is not None
    assert state.phase is Phase.CANARY
    weights = (WeightSince(later(when), 5_000),)
    at.platform.apply(virtual_service(replace(state, weights=weights, lease=later(when + 9_999))), expected=ANY)
    return state.release.release_id


def shifted(seconds: float) -> FixedMetrics:
    logs = steady(status=stalled).logs()
    moved = [
        frame.with_columns(
            [
                (frame[name] + timedelta(seconds=seconds)).alias(name)
                for name in ("served_at", "received_at")
                if name in frame.columns
            ]
        )
        for frame in (logs.exposures, logs.feedback, logs.gateway)
        if frame is not None
    ]
    return FixedMetrics(replace(logs, exposures=moved[0], feedback=moved[1], gateway=moved[2]))


def test_a_stall_takes_the_weight_three_times_and_the_digest_at_the_third(tmp_path: Path) -> None:
    at, clock, post = stood_still(tmp_path)
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    digest = model("2").bundle_digest
    for attempt in range(3):
        when = 1_000.0 * attempt
        release = begin(at, clock, when)
        clock.at = when + 304
        decision = watch(replace(post, metrics=shifted(when)))
        assert decision is not None
        last = attempt == 2
        assert decision.phase is (Phase.ROLLED_BACK if last else Phase.HELD)
        assert "50 timeouts within 5 s at" in decision.reason
        assert (digest in at.ledger.denied(clock())) is last
        ended = at.ledger.events(release)[-1]
        assert (ended.kind, ended.body["episode"]["count"]) == (decision.phase.value, 50)
        tick(replace(at, metrics=shifted(when)), actor="test")
        assert bool(at.ledger.marks()) is last
        clock.at += 1
    assert at.ledger.marks()[0].since < later(1_000)  # what the first two showed is marked now, too
    with pytest.raises(ReleaseRefused, match="a person may override it"):
        open_release(at, model("2"), plan(), actor="test")


def test_a_model_that_fails_for_minutes_is_denied_at_once(tmp_path: Path) -> None:
    logs = steady(status=lambda at: 500 if int(at * 10) % 3 == 0 else 200).logs()
    at, clock = desk(tmp_path, logs)
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    begin(at, clock, 0)
    clock.at = 304
    decision = watch(Post("recommender", at.platform, at.ledger, FixedMetrics(logs), 10, clock))
    assert decision is not None
    assert (decision.phase, decision.episode) == (Phase.ROLLED_BACK, None)
    assert set(at.ledger.denied(clock())) == {model("2").bundle_digest}


def test_a_ledger_that_does_not_answer_keeps_no_weight_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, clock, post = stood_still(tmp_path)
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    begin(at, clock, 0)
    clock.at = 304

    def silent(digest: str) -> list[Episode]:
        raise LedgerUnavailable("no answer")

    monkeypatch.setattr(post.ledger, "episodes", silent)
    decision = watch(post)
    assert decision is not None
    assert decision.phase is Phase.HELD
