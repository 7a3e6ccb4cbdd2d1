"""What a person may do, on a real store and ledger: each word with its refusals, its row, and lost races."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.interface import ANY, VIRTUAL_SERVICE, Conflict, Manifest
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.evidence import ERRORS
from recsys_assets.rollout.people import (
    ATTEMPTS,
    approve,
    override,
    pause,
    read_expiry,
    resume,
    rollback_now,
)
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.route import RouteState, virtual_service
from recsys_assets.rollout.settle import settle
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.tick import look, tick
from recsys_assets_tests.rollout.build import (
    FixedMetrics,
    all_pass,
    crowd,
    desk,
    later,
    model,
    plan,
    route,
    service,
    verdict,
    world,
)

SAY: dict[str, Callable[..., Any]] = {
    "approve": approve,
    "pause": pause,
    "resume": resume,
    "rollback": rollback_now,
}


def stand(at: Desk, phase: Phase, step: int = 0, **changes: Any) -> RouteState:
    """Put a release in this phase on the route and into the ledger."""
    state = replace(route(phase, step, needs_approval=True, **changes), transition=3)
    at.platform.apply(virtual_service(state), expected=ANY)
    record(at.ledger, state)
    return standing(at)


def standing(at: Desk) -> RouteState:
    found = read_state(at.platform, at.model_name)
    assert found is not None
    return found


def told(at: Desk, kind: str) -> list[tuple[str, str]]:
    """Who and why of each row of this kind."""
    return [(e.actor, str(e.body["reason"])) for e in at.ledger.events() if e.kind == kind]


class Rival(ManifestStore):
    """Another writer is faster, this many times."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(path)
        self.times = times

    def apply(self, manifest: Manifest, *, expected: str | None) -> Manifest:
        if self.times:
            self.times -= 1
            raise Conflict(VIRTUAL_SERVICE, "recommender", "another version stands there")
        return super().apply(manifest, expected=expected)


@pytest.mark.parametrize("word", sorted(SAY))
def test_a_release_that_is_not_on_the_route_is_refused(tmp_path: Path, word: str) -> None:
    at, _ = desk(tmp_path)
    with pytest.raises(ReleaseRefused, match="other is not the release on the route, which holds no release"):
        SAY[word](at, "other", who="ann", why="x")
    stand(at, Phase.CANARY)
    with pytest.raises(ReleaseRefused, match="other is not the release on the route, which holds rel-2"):
        SAY[word](at, "other", who="ann", why="x")
    assert {e.kind for e in at.ledger.events()} == {"opened", "canary"}


@pytest.mark.parametrize("word", sorted(SAY))
@pytest.mark.parametrize("end", [phase for phase in Phase if phase.is_end])
def test_a_release_that_has_ended_is_refused(tmp_path: Path, word: str, end: Phase) -> None:
    at, _ = desk(tmp_path)
    stand(at, end)
    with pytest.raises(ReleaseRefused, match=f"rel-2 has ended already: {end.value}"):
        SAY[word](at, "rel-2", who="ann", why="x")


@pytest.mark.parametrize("word", sorted(SAY))
def test_a_release_that_ended_and_left_the_route_is_said_to_have_ended(tmp_path: Path, word: str) -> None:
    at, _ = desk(tmp_path)
    record(at.ledger, replace(route(Phase.REJECTED), transition=1))
    with pytest.raises(ReleaseRefused, match="rel-2 has ended already: rejected"):
        SAY[word](at, "rel-2", who="ann", why="x")


@pytest.mark.parametrize("word", sorted(SAY))
@pytest.mark.parametrize("who", ["", "  ", "a" * 101, "an\nn", "ann\x1b[2J"])
def test_whoever_gives_no_name_is_refused(tmp_path: Path, word: str, who: str) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    with pytest.raises(ReleaseRefused, match="who says so"):
        SAY[word](at, "rel-2", who=who, why="x")


@pytest.mark.parametrize("word", ["pause", "resume", "rollback"])
@pytest.mark.parametrize("why", ["", " \n ", "b" * 1_001, "\x1b[2J"])
def test_whoever_gives_no_reason_is_refused(tmp_path: Path, word: str, why: str) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    with pytest.raises(ReleaseRefused, match="a reason is needed"):
        SAY[word](at, "rel-2", who="ann", why=why)


def test_the_longest_name_and_reason_are_taken_and_lines_are_joined(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    pause(at, "rel-2", who=f" {'a' * 100} ", why="b" * 998 + "\n b")
    assert told(at, "paused") == [("a" * 100, "b" * 998 + " b")]


def test_an_approval_is_kept_with_its_name_and_seen_by_the_next_look(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY, 2)
    before = look(at)
    assert before is not None
    assert not before.approved
    approve(at, "rel-2", who="ann", why="looked at the slices")
    after = look(at)
    assert after is not None
    assert after.approved
    assert told(at, "approved") == [("ann", "looked at the slices")]


def test_an_approval_needs_no_reason(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY, 2)
    approve(at, "rel-2", who="ann")
    assert told(at, "approved") == [("ann", "")]


def test_a_second_approval_is_refused_and_names_the_first(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    stand(at, Phase.CANARY, 2)
    clock.at = 60
    approve(at, "rel-2", who="ann")
    clock.at = 90
    with pytest.raises(ReleaseRefused, match=r"approved already, by ann at 2026-01-01T00:01:00"):
        approve(at, "rel-2", who="bob")
    assert [actor for actor, _ in told(at, "approved")] == ["ann"]


def test_an_approval_of_a_release_that_asks_for_none_is_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    state = replace(route(Phase.CANARY), transition=3)
    at.platform.apply(virtual_service(state), expected=ANY)
    with pytest.raises(ReleaseRefused, match="needs no approval by its plan"):
        approve(at, "rel-2", who="ann")


@pytest.mark.parametrize("asked", [True, False])
def test_an_approval_tells_whether_it_was_asked_for(tmp_path: Path, asked: bool) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY, 2)
    if asked:
        key = "rel-2/approval_asked"
        at.ledger.append("approval_asked", release_id="rel-2", actor="tick", at=later(1), key=key, body={})
    approve(at, "rel-2", who="ann")
    assert [e.body["asked"] for e in at.ledger.events() if e.kind == "approved"] == [asked]


def test_an_approval_of_one_release_says_nothing_about_another(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.ledger.append("approved", release_id="rel-1", actor="bob", at=later(0), key="rel-1/approved", body={})
    stand(at, Phase.CANARY, 2)
    approve(at, "rel-2", who="ann")
    assert [e.actor for e in at.ledger.events("rel-2") if e.kind == "approved"] == ["ann"]


def test_a_pause_stands_on_the_route_and_in_the_ledger_and_moves_nothing(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    before = stand(at, Phase.CANARY, 1)
    clock.at = 5
    pause(at, "rel-2", who="ann", why="a big sale")
    after = standing(at)
    assert after.paused is not None
    assert (after.paused.who, after.paused.why, after.paused.since) == ("ann", "a big sale", later(5))
    assert replace(after, pauses=(), resource_version=before.resource_version) == before
    assert told(at, "paused") == [("ann", "a big sale")]


def test_a_pause_of_a_paused_release_is_refused_and_names_the_first(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    pause(at, "rel-2", who="ann", why="a big sale")
    with pytest.raises(ReleaseRefused, match=r"paused by ann since 2026-01-01T00:00:00.*a big sale"):
        pause(at, "rel-2", who="bob", why="me too")
    assert told(at, "paused") == [("ann", "a big sale")]


def test_a_release_that_is_not_paused_cannot_be_resumed(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    with pytest.raises(ReleaseRefused, match="rel-2 is not paused"):
        resume(at, "rel-2", who="ann", why="go")


def test_resuming_moves_the_deadline_by_the_length_of_the_pause(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    deadline = stand(at, Phase.CANARY).deadline
    clock.at = 100
    pause(at, "rel-2", who="ann", why="a big sale")
    clock.at = 4_000
    after = resume(at, "rel-2", who="bob", why="it is over")
    assert after.paused is None
    assert after.deadline == deadline + timedelta(seconds=3_900)
    assert standing(at) == after
    assert told(at, "resumed") == [("bob", "it is over")]
    (kept,) = after.pauses
    assert (kept.who, kept.until, kept.resumed_by, kept.resumed_why) == ("ann", later(4_000), "bob", "it is over")


def test_a_clock_that_was_set_back_never_takes_time_from_a_release(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    clock.at = 100
    deadline = stand(at, Phase.CANARY).deadline
    pause(at, "rel-2", who="ann", why="a big sale")
    clock.at = 40
    assert resume(at, "rel-2", who="ann", why="go").deadline == deadline


def test_a_release_is_paused_as_often_as_wished_and_each_pause_is_kept(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    deadline = stand(at, Phase.CANARY).deadline
    for start in (10, 50):
        clock.at = start
        pause(at, "rel-2", who="ann", why=f"pause at {start}")
        clock.at = start + 20
        resume(at, "rel-2", who="ann", why=f"go at {start + 20}")
    assert standing(at).deadline == deadline + timedelta(seconds=40)
    assert [why for _, why in told(at, "paused")] == ["pause at 10", "pause at 50"]
    assert [why for _, why in told(at, "resumed")] == ["go at 30", "go at 70"]


@pytest.mark.parametrize("word", ["pause", "rollback"])
def test_a_race_that_was_lost_is_run_again(tmp_path: Path, word: str) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    SAY[word](replace(at, platform=Rival(tmp_path / "manifests.db", ATTEMPTS - 1)), "rel-2", who="ann", why="x")
    state = standing(at)
    assert state.phase is Phase.ROLLED_BACK if word == "rollback" else state.paused is not None


@pytest.mark.parametrize("word", ["pause", "resume", "rollback"])
def test_races_that_are_lost_for_ever_end_in_a_refusal_and_change_nothing(tmp_path: Path, word: str) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)
    if word == "resume":
        pause(at, "rel-2", who="ann", why="first")
    before, rows = standing(at), len(at.ledger.events())
    rival = Rival(tmp_path / "manifests.db", ATTEMPTS)
    with pytest.raises(ReleaseRefused, match="changed 5 times while this was said"):
        SAY[word](replace(at, platform=rival), "rel-2", who="ann", why="x")
    assert standing(at) == before
    assert len(at.ledger.events()) == rows
    assert rival.times == 0


def test_a_pause_that_comes_after_the_guard_acted_is_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    stand(at, Phase.CANARY)

    class GuardIsFaster(ManifestStore):
        def apply(self, manifest: Manifest, *, expected: str | None) -> Manifest:
            stand(at, Phase.ROLLED_BACK)
            return super().apply(manifest, expected=expected)

    with pytest.raises(ReleaseRefused, match="ended already: rolled_back"):
        pause(replace(at, platform=GuardIsFaster(tmp_path / "manifests.db")), "rel-2", who="ann", why="x")


def test_a_word_whose_writer_died_before_the_ledger_is_recorded_by_the_next_tick(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    stand(at, Phase.CANARY)

    class DiedError(Exception):
        pass

    class Dies(type(at.ledger)):  # type: ignore[misc]
        def append(self, *_: object, **__: object) -> bool:
            raise DiedError

    dying = replace(at, ledger=Dies(tmp_path / "ledger.db"))
    for clock.at, word in ((1, "pause"), (2, "resume")):
        with pytest.raises(DiedError):
            SAY[word](dying, "rel-2", who="ann", why=word)
    assert told(at, "paused") == told(at, "resumed") == []
    tick(at, actor="next")
    tick(at, actor="next")
    assert (told(at, "paused"), told(at, "resumed")) == ([("ann", "pause")], [("ann", "resume")])


def paused_route(phase: Phase, step: int = 0, **changes: Any) -> RouteState:
    from recsys_assets.rollout.pauses import Pause

    state = route(phase, step, **changes)
    return replace(state, pauses=(Pause(who="ann", why="a big sale", since=later(0)),))


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_end])
def test_a_paused_release_stays_where_it_is_whatever_passes_and_however_late(phase: Phase, step: int) -> None:
    for at in (later(1), later(50), later(1_000_000)):
        state = replace(paused_route(phase, step), lease=at + timedelta(seconds=1))
        decision = decide(world(state, approved=True), at)
        assert (decision.action, decision.phase, decision.step) == ("hold", phase, step)
        assert decision.reason == "paused by ann since 2026-01-01T00:00:00+00:00: a big sale"
        assert not decision.asks_approval


def test_a_paused_first_release_is_not_promoted() -> None:
    assert decide(world(paused_route(Phase.GATED, champion=None)), later(1)).action == "hold"


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.BAKING])
def test_harm_ends_a_paused_release(phase: Phase) -> None:
    harmed = world(paused_route(phase), verdicts=all_pass(**{ERRORS: Outcome.FAIL}))
    assert decide(harmed, later(1)).phase is Phase.ROLLED_BACK


def test_a_failed_gate_ends_a_paused_release() -> None:
    failed = world(paused_route(Phase.GATED), gate=verdict("offline_gate", Outcome.FAIL))
    assert decide(failed, later(1)).phase is Phase.REJECTED


def test_a_paused_release_freezes_when_stable_breaks() -> None:
    assert decide(world(paused_route(Phase.CANARY), services={}), later(1)).action == "pause"


def test_the_lease_of_a_paused_release_is_renewed_by_ticks(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    stand(at, Phase.CANARY)
    pause(at, "rel-2", who="ann", why="a big sale")
    clock.at = 25
    decision = tick(at, actor="test")
    assert decision is not None
    assert decision.action == "hold"
    assert standing(at).lease == later(55)
    assert standing(at).paused is not None


def test_a_resumed_release_goes_on_with_the_time_that_it_had_left() -> None:
    pauses = paused_route(Phase.CANARY).pauses
    over = (pauses[0].model_copy(update={"until": later(10_000)}),)
    state = replace(route(Phase.CANARY), pauses=over, deadline=later(10_600), lease=later(20_000))
    assert decide(world(state), later(10_500)).action == "advance"
    assert decide(world(state, verdicts=()), later(10_599)).action == "hold"
    assert decide(world(state, verdicts=()), later(10_600)).phase is Phase.HELD


@pytest.mark.parametrize("seen", [Phase.CANARY, Phase.BAKING])
def test_a_person_rolls_back_at_once(tmp_path: Path, seen: Phase) -> None:
    at, _ = desk(tmp_path)
    stand(at, seen)
    without_registry = replace(at, registry=None)  # type: ignore[arg-type]
    decision = rollback_now(without_registry, "rel-2", who="ann", why="looks odd")
    state = standing(at)
    assert (state.phase, state.split.canary_weight_bp, state.actor) == (Phase.ROLLED_BACK, 0, "ann")
    assert (decision.action, decision.reason) == ("roll_back", "ann: looks odd")
    assert at.ledger.denied(later(1)) == {model().bundle_digest: "rel-2"}
    assert not at.ledger.has(f"rel-2/{state.transition}/settled")
    tick(at, actor="next")
    assert at.ledger.has(f"rel-2/{state.transition}/settled")


@pytest.mark.parametrize("unseen", [Phase.GATED, Phase.SHADOW])
def test_what_no_user_saw_is_rejected_and_denied_to_nobody(tmp_path: Path, unseen: Phase) -> None:
    at, _ = desk(tmp_path)
    stand(at, unseen)
    decision = rollback_now(at, "rel-2", who="ann", why="looks odd")
    assert (decision.action, decision.phase) == ("reject", Phase.REJECTED)
    assert at.ledger.denied(later(1)) == {}


def rolled_back(at: Desk) -> None:
    """Version 2 was rolled back after version 1 had become the champion."""
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    again = open_release(at, model("2"), plan(), actor="test")
    at.platform.apply(virtual_service(replace(again, phase=Phase.ROLLED_BACK, transition=9)), expected=ANY)
    record(at.ledger, standing(at))
    settle(at, standing(at))
    service(at.platform, "2")


def test_a_rolled_back_digest_is_refused_until_a_person_overrides_and_again_after_the_expiry(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    rolled_back(at)
    clock.at = 100
    with pytest.raises(ReleaseRefused, match="a person may override it"):
        open_release(at, model("2"), plan(), actor="test")
    full, until = override(at, "222", who="ann", why="the store was down", expires=timedelta(minutes=10))
    assert (full, until) == (model().bundle_digest, later(700))
    clock.at = 700
    with pytest.raises(ReleaseRefused, match="a person may override it"):
        open_release(at, model("2"), plan(), actor="test")
    clock.at = 699
    assert open_release(at, model("2"), plan(), actor="test").phase is Phase.GATED
    assert told(at, "override") == [("ann", "the store was down")]


def test_a_release_that_was_allowed_when_it_opened_survives_the_expiry(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    rolled_back(at)
    clock.at = 100
    override(at, "222", who="ann", why="the store was down", expires=timedelta(minutes=1))
    open_release(at, model("2"), plan(), actor="test")
    clock.at = 200
    now = look(at)
    assert now is not None
    assert now.denied == frozenset()


def test_an_override_lasts_a_day_unless_said_otherwise_and_thirty_at_the_most(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    rolled_back(at)
    for wrong in (timedelta(0), timedelta(seconds=-1), timedelta(days=30, seconds=1)):
        with pytest.raises(ReleaseRefused, match="30 days at the most"):
            override(at, "222", who="ann", why="x", expires=wrong)
    assert override(at, "222", who="ann", why="x")[1] == at.clock() + timedelta(hours=24)
    clock.at = 2 * 86_400
    assert override(at, "222", who="ann", why="x", expires=timedelta(days=30))[1] == later(32 * 86_400)


def test_an_override_in_force_is_not_given_twice_but_may_be_given_again_when_it_is_over(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    rolled_back(at)
    override(at, "222", who="ann", why="first", expires=timedelta(minutes=1))
    with pytest.raises(ReleaseRefused, match="222 is overridden already, until 2026-01-01T00:01:00"):
        override(at, "222", who="bob", why="second")
    clock.at = 60
    override(at, "222", who="bob", why="second")
    assert told(at, "override") == [("ann", "first"), ("bob", "second")]
    assert at.ledger.denied(at.clock()) == {}


@pytest.mark.parametrize(("digest", "count"), [("fff", 0), ("", 1)])
def test_an_override_names_one_digest(tmp_path: Path, digest: str, count: int) -> None:
    at, _ = desk(tmp_path)
    rolled_back(at)
    with pytest.raises(ReleaseRefused, match=f"{count} rolled-back digests start with '{digest}'; exactly one must"):
        override(at, digest, who="ann", why="x")


def test_an_override_of_two_digests_that_begin_alike_is_refused(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    for name in ("aab", "aac"):
        body = {"digest": name}
        at.ledger.append("rolled_back", release_id=name, actor="guard", at=later(0), key=name, body=body)
    with pytest.raises(ReleaseRefused, match="2 rolled-back digests start with 'aa'"):
        override(at, "aa", who="ann", why="x")
    assert override(at, "aab", who="ann", why="x")[0] == "aab"


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ann", " ")])
def test_an_override_without_a_name_or_a_reason_is_refused(tmp_path: Path, who: str, why: str) -> None:
    at, _ = desk(tmp_path)
    rolled_back(at)
    with pytest.raises(ReleaseRefused, match="needed"):
        override(at, "222", who=who, why=why)


@pytest.mark.parametrize(
    ("text", "length"),
    [("90m", timedelta(minutes=90)), ("24h", timedelta(hours=24)), (" 3d ", timedelta(days=3)), ("0h", timedelta(0))],
)
def test_lengths_of_time_are_read(text: str, length: timedelta) -> None:
    assert read_expiry(text) == length


@pytest.mark.parametrize("text", ["", "24", "h", "1.5h", "-1h", "24 h", "1h30m", "1w", "1234567d", "٣h"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ReleaseRefused, match="90m, 24h or 3d"):
        read_expiry(text)


def test_a_release_asks_by_its_ticks_alone_waits_past_its_deadline_and_goes_on_once_approved(tmp_path: Path) -> None:
    at, clock = desk(tmp_path)
    open_release(at, model("1"), plan(), actor="test")
    tick(at, actor="test")
    clock.at = 1
    promised = plan(steps_bp=(5_000,), shadow_requests=0, min_visitors_per_arm=20, needs_approval=True)
    opened = open_release(at, model("2"), promised, actor="test")
    tick(at, actor="test")
    rows = crowd(4_000, canary_clicks=0.8, seconds=20)
    at = replace(at, metrics=FixedMetrics(rows.logs()))
    clock.at = 26
    for _ in range(3):
        decision = tick(at, actor="test")
        assert decision is not None
        assert (decision.action, decision.reason) == ("hold", "waits for a person's approval")
    asked = [e for e in at.ledger.events() if e.kind == "approval_asked"]
    assert [e.release_id for e in asked] == [opened.release.release_id]
    clock.at = 700
    late = look(at)
    assert late is not None
    assert not decide(late, at.clock()).phase.is_end
    clock.at = 27
    approve(at, opened.release.release_id, who="ann", why="looked at the slices")
    decision = tick(at, actor="test")
    assert decision is not None
    assert (decision.action, decision.phase) == ("advance", Phase.BAKING)


def test_the_time_a_person_was_waited_for_is_nobody_elses(tmp_path: Path) -> None:
    """A quiet night makes every verdict INCONCLUSIVE; that must not end a release that a person was asked about."""
    state = replace(route(Phase.CANARY, 2, needs_approval=True), lease=later(10_000))
    quiet = world(state, verdicts=())
    assert decide(replace(quiet, waited=timedelta(seconds=400)), later(999)).action == "hold"
    assert decide(replace(quiet, waited=timedelta(seconds=400)), later(1_000)).phase is Phase.HELD
    harmed = world(state, verdicts=all_pass(**{ERRORS: Outcome.FAIL}), waited=timedelta(days=1))
    assert decide(harmed, later(1)).phase is Phase.ROLLED_BACK


def test_waiting_lasts_from_the_question_to_the_answer(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    assert at.ledger.waited_for_approval("rel-2", later(90)) == timedelta(0)
    at.ledger.append("approval_asked", release_id="rel-2", actor="t", at=later(10), key="rel-2/approval_asked", body={})
    assert at.ledger.waited_for_approval("rel-2", later(90)) == timedelta(seconds=80)
    assert at.ledger.waited_for_approval("rel-2", later(5)) == timedelta(0)
    at.ledger.append("approved", release_id="rel-2", actor="ann", at=later(40), key="rel-2/approved", body={})
    assert at.ledger.waited_for_approval("rel-2", later(90)) == timedelta(seconds=30)
    assert at.ledger.waited_for_approval("rel-3", later(90)) == timedelta(0)


def test_an_approval_before_the_question_waited_for_nobody(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    at.ledger.append("approved", release_id="rel-2", actor="ann", at=later(40), key="rel-2/approved", body={})
    assert at.ledger.waited_for_approval("rel-2", later(90)) == timedelta(0)
