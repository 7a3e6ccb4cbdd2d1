"""Every place that shows a release, held against the route after each pass: one contract over places and phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.platform.interface import ANY
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.check_names import CANARY_CHECKS
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.jobs import CANARY, CHAMPION, SHADOW_COMPARISON
from recsys_assets.rollout.ledger import Audience
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.people import approve, pause, resume, rollback_now
from recsys_assets.rollout.route import RouteState, champion_of, virtual_service
from recsys_assets.rollout.sensors import evaluate
from recsys_assets.rollout.shown.events import GROWTH, Board, is_shown, show, shown_marks
from recsys_assets.rollout.shown.printing import show_lines, status_lines
from recsys_assets.rollout.shown.view import ReleaseView, current
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.tick import tick
from recsys_assets_tests.rollout.build import Clock, FixedMetrics, Rows, crowd, desk, later, model, plan, route, service

UI = "http://127.0.0.1:3000"


@dataclass
class Town:
    """One desk with the Dagster instance that shows what is done at it."""

    at: Desk
    clock: Clock
    instance: dg.DagsterInstance
    told: str = ""

    @property
    def board(self) -> Board:
        return Board(self.instance, UI)

    def one_pass(self) -> None:
        """What one turn of the sensor does, with the run that it asks for where something moves."""
        asked = evaluate(self.at, self.board)
        if isinstance(asked, dg.RunRequest):
            decision = tick(self.at, actor="dagster run")
            show(self.board, self.at, current(self.at, decision=decision))
            asked = evaluate(self.at, self.board)
        self.told = str(asked.skip_message) if isinstance(asked, dg.SkipReason) else ""

    def put(self, state: RouteState) -> None:
        self.at.platform.apply(virtual_service(state), expected=ANY)
        record(self.at.ledger, state)

    def canary(self, step: int = 0, *, rows: Rows | None = None, now: float = 64.0, **changes: Any) -> None:
        """Version 2 with its step's share of the users, and what they did."""
        state = route(Phase.CANARY, step, **changes)
        weight = state.split.canary_weight_bp
        self.clock.at = now
        self.at = replace(self.at, metrics=FixedMetrics((rows or crowd(400, share=weight / 10_000)).logs()))
        self.put(replace(state, transition=step + 2, weights=(WeightSince(later(0), weight),), lease=later(now + 30)))

    def metadata(self, asset: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        made = None if event is None else event.asset_materialization
        return {} if made is None else {k: v.value for k, v in made.metadata.items()}

    def materializations(self) -> int:
        return len(self.instance.fetch_materializations(dg.AssetKey(CANARY), limit=1_000).records)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    at, clock = desk(tmp_path)
    service(at.platform, "3")  # type: ignore[arg-type]
    with dg.DagsterInstance.ephemeral() as instance:
        yield Town(at, clock, instance)


def first_release(town: Town) -> None:
    """Version 1 becomes the champion, and is shown."""
    open_release(town.at, model("1"), plan(), actor="test")
    town.one_pass()


def shadow(town: Town) -> None:
    town.put(replace(route(Phase.SHADOW), transition=1))


def paused(town: Town) -> None:
    town.canary()
    pause(town.at, "rel-2", who="ann", why="a big sale")


def resumed(town: Town) -> None:
    paused(town)
    town.one_pass()
    resume(town.at, "rel-2", who="ann", why="it is over")


def frozen(town: Town) -> None:
    town.canary()
    service(town.at.platform, "1", ready=False)  # type: ignore[arg-type]


def waits_for_approval(town: Town) -> None:
    town.canary(2, rows=crowd(2_000, canary_clicks=0.9), needs_approval=True)


def approved_and_baking(town: Town) -> None:
    waits_for_approval(town)
    town.one_pass()
    approve(town.at, "rel-2", who="ann", why="looked at it")


def promoted(town: Town) -> None:
    state = route(Phase.CHAMPION)
    town.put(replace(state, transition=6, weights=(WeightSince(later(0), 5_000),), entered_at=later(50)))
    town.clock.at = 60


def rolled_back_by_a_person(town: Town) -> None:
    town.canary()
    town.one_pass()
    rollback_now(town.at, "rel-2", who="ann", why="better none")


def rolled_back_for_harm(town: Town) -> None:
    town.canary(rows=crowd(900, share=0.1, status=lambda i: 500 if i % 2 else 200))


def held_for_futility_or_time(town: Town) -> None:
    town.put(replace(route(Phase.GATED), transition=0))
    town.clock.at = 601


def third_after_a_roll_back(town: Town) -> None:
    rolled_back_by_a_person(town)
    town.one_pass()
    town.clock.at += 1
    open_release(town.at, model("3"), plan(), actor="test")


SCENES: list[Callable[[Town], None]] = [
    lambda town: None,
    shadow,
    Town.canary,
    lambda town: town.canary(2),
    paused,
    resumed,
    frozen,
    waits_for_approval,
    approved_and_baking,
    promoted,
    rolled_back_by_a_person,
    rolled_back_for_harm,
    held_for_futility_or_time,
    third_after_a_roll_back,
]
NAMES = [
    "a first champion",
    "shadow",
    "the first step",
    "the last step",
    "paused",
    "resumed",
    "frozen",
    "waits for approval",
    "approved",
    "promoted",
    "rolled back by a person",
    "rolled back for harm",
    "held",
    "the next release after a roll back",
]


@pytest.mark.parametrize("scene", SCENES, ids=NAMES)
def test_one_pass_after_anything_happened_every_place_says_what_the_route_says(
    town: Town, scene: Callable[[Town], None]
) -> None:
    first_release(town)
    scene(town)
    town.one_pass()
    state = read_state(town.at.platform, "recommender")
    view = current(town.at)
    assert state is not None
    assert view is not None
    release, phase, weight = state.release.release_id, state.phase.value, state.split.canary_weight_bp
    for asset in (CANARY, SHADOW_COMPARISON):
        shown = town.metadata(asset)
        told = (shown["release"], shown["model_version"], shown["phase"], shown["canary_weight_bp"], shown["reason"])
        assert told == (release, state.version, phase, weight, view.why), asset
    for name in CANARY_CHECKS:
        found = town.instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(dg.AssetKey(CANARY), name))
        assert found is not None
        assert found.evaluation is not None, "planned and in progress"
        assert found.evaluation.metadata["model_version"].value == state.version
        assert [found.evaluation.description] == [v.reason for v in view.verdicts if v.check == name] or (
            name not in {v.check for v in view.verdicts}
        )
    share = "all users" if phase == "champion" else f"{weight / 100:g} %"
    assert f"{release}: version {state.version}, {phase}, {share}: {view.why}" in town.told
    [line] = [row for row in status_lines(town.at, ui_url=UI, width=None) if row.startswith(f"{release}  ")]
    assert line.split(None, 3)[:3] == [release, state.version, phase]
    assert f"{share}  " in line
    assert line.endswith(view.why)
    asked = "\n".join(show_lines(town.at, release, width=None))
    assert f"  {phase} since {state.entered_at.isoformat()}, {share}\n    why: {view.why}\n" in asked
    assert town.metadata(CHAMPION)["model_version"] == champion_of(state)
    assert town.at.registry.champion() == model(str(champion_of(state)))


def test_of_a_first_release_that_was_rejected_every_place_says_so_though_no_route_is_left(town: Town) -> None:
    state = open_release(town.at, model("2"), plan(), actor="test")
    rollback_now(town.at, state.release.release_id, who="ann", why="better none")
    town.one_pass()
    town.one_pass()
    assert read_state(town.at.platform, "recommender") is None
    for asset in (CANARY, SHADOW_COMPARISON):
        shown = town.metadata(asset)
        assert (shown["model_version"], shown["phase"], shown["reason"]) == ("2", "rejected", "ann: better none")


def test_status_says_that_all_users_have_the_champion_and_until_when_they_had_the_one_before(town: Town) -> None:
    first_release(town)
    promoted(town)
    lines = status_lines(town.at, ui_url=UI, width=None)
    assert [line.strip() for line in lines if "seen:" in line] == [
        "seen: all users since 2026-01-01T00:00:00+00:00 until 2026-01-01T00:00:50+00:00",
        "seen: all users since 2026-01-01T00:00:50+00:00",
    ]


def test_the_asset_and_the_command_line_count_the_same_visitors(town: Town) -> None:
    first_release(town)
    town.canary(2, rows=crowd(40))
    town.one_pass()
    assert town.metadata(CANARY)["canary_visitors"] == 20
    assert town.metadata(CANARY)["stable_visitors"] == 20
    assert "seen: canary: 20 visitors in 57 s, stable: 20 visitors in 57 s" in "\n".join(
        show_lines(town.at, "rel-2", width=None)
    )


def test_a_look_that_finds_nothing_new_writes_nothing(town: Town) -> None:
    first_release(town)
    town.canary()
    town.one_pass()
    before = town.materializations()
    for _ in range(5):
        town.one_pass()
    assert town.materializations() == before


def test_what_dagster_keeps_grows_with_the_logarithm_of_the_visitors(town: Town) -> None:
    first_release(town)
    view, shown, events = current(town.at), 0, 0
    assert view is not None
    metadata: dict[str, Any] = {}
    for visitors in range(1, 10_001):
        now = replace(view, seen=(Audience("canary", visitors, 60.0),))
        if not is_shown(now, metadata):
            metadata, shown, events = shown_marks(now), visitors, events + 1
            metadata = dg.AssetMaterialization(CANARY, metadata=metadata).metadata  # type: ignore[assignment]
        assert visitors - shown <= GROWTH * shown, "the asset is never more than a twentieth behind"
    # Each of the first 20, then steps of a twentieth: 20 + ln(10,000 / 20) / ln(1.05) = 147. Not 10,000.
    assert events <= 150


def test_a_count_within_the_reason_is_shown_and_the_rest_of_its_numbers_are_not_news(town: Town) -> None:
    view = ReleaseView(
        "rel-2", model("2"), "1", Phase.CANARY, 1_000, "hold", "12 of 100 visitors; 31 s old", *[later(0)] * 3
    )
    metadata = dg.AssetMaterialization(CANARY, metadata=shown_marks(view)).metadata
    assert is_shown(replace(view, why="12 of 100 visitors; 33 s old"), metadata)
    assert not is_shown(replace(view, why="14 of 100 visitors; 33 s old"), metadata)
    assert not is_shown(replace(view, why="12 of 100 visitors"), metadata)
    assert not is_shown(replace(view, weight_bp=2_500), metadata)
