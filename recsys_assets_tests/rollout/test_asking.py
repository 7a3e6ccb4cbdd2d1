"""A release that waits for a person asks once, in Dagster and in the ledger, and is answered by the jobs of the UI."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import open_store
from recsys_assets.records import AnalysisPlan, Decision, Outcome, Phase
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.approval import ask
from recsys_assets.rollout.evidence import ERRORS
from recsys_assets.rollout.jobs import build_jobs
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.opening import open_desk
from recsys_assets.rollout.pauses import Pause
from recsys_assets.rollout.phases import decide
from recsys_assets.rollout.promises import promises
from recsys_assets.rollout.route import RouteState, virtual_service
from recsys_assets.rollout.words import OPS, scaffold
from recsys_assets.settings import Settings
from recsys_assets_tests.rollout.build import DOWN, READY, all_pass, desk, later, plan, route, world

RELEASE = "rel-2"
WORD = {"release_id": RELEASE, "who": "ann", "why": "looked at it"}


def waiting(**changes: Any) -> RouteState:
    """At the last step of a plan that wants an approval."""
    return replace(route(Phase.CANARY, 2, needs_approval=True), **{"lease": later(100), **changes})


def test_a_release_asks_when_nothing_is_missing_but_a_person() -> None:
    decision = decide(world(waiting()), later(1))
    assert (decision.action, decision.reason) == ("hold", "waits for a person's approval")
    assert decision.asks_approval


@pytest.mark.parametrize(
    "lacking",
    [
        {"approved": True},
        {"visitors": (99, 900)},
        {"verdicts": ()},
        {"verdicts": all_pass(**{ERRORS: Outcome.INCONCLUSIVE})},
        {"verdicts": all_pass(**{ERRORS: Outcome.FAIL})},
        {"services": {"recommender-v1": READY, "recommender-v2": DOWN}},
        {"services": {"recommender-v1": DOWN, "recommender-v2": READY}},
    ],
)
def test_nobody_is_asked_while_anything_else_is_missing_or_wrong(lacking: dict[str, Any]) -> None:
    assert not decide(world(waiting(), **lacking), later(1)).asks_approval


@pytest.mark.parametrize(
    "state",
    [
        waiting(pauses=(Pause(who="ann", why="x", since=later(0)),)),
        waiting(manual_edit="edited by hand"),
        waiting(lease=later(0)),
        replace(route(Phase.CANARY, 1, needs_approval=True), lease=later(100)),
        replace(route(Phase.CANARY, 2), lease=later(100)),
        replace(route(Phase.BAKING, 2, needs_approval=True), lease=later(100)),
    ],
    ids=["paused", "edited", "unwatched", "earlier step", "no approval needed", "after the approval"],
)
def test_nobody_is_asked_about_a_release_in_another_state(state: RouteState) -> None:
    assert not decide(world(state), later(1)).asks_approval


def test_the_question_is_shown_and_written_once(tmp_path: Path) -> None:
    shown: list[str] = []
    at, _ = desk(tmp_path, show_question=lambda state, decision: shown.append(state.release.release_id))
    decision = decide(world(waiting()), later(1))
    for second in (1, 2, 3):
        ask(at, waiting(), decision, actor="canary_sensor", now=later(second))
    (row,) = at.ledger.events()
    assert (row.kind, row.actor, row.at, shown) == ("approval_asked", "canary_sensor", later(1), [RELEASE])
    assert row.body["command"] == "recsys-assets approve rel-2 --why '...'"
    assert row.body["job"] == "approve_release"
    assert row.body["run_config"]["ops"]["approve_it"]["config"]["release_id"] == RELEASE
    assert len(row.body["verdicts"]) == len(decision.verdicts)


def test_what_asks_for_nothing_is_not_written(tmp_path: Path) -> None:
    at, _ = desk(tmp_path)
    ask(at, waiting(), decide(world(waiting(), approved=True), later(1)), actor="x", now=later(1))
    assert at.ledger.events() == []


def test_a_question_that_could_not_be_shown_is_asked_again(tmp_path: Path) -> None:
    class DagsterIsDownError(Exception):
        pass

    def down(state: RouteState, decision: Decision) -> None:
        raise DagsterIsDownError

    at, _ = desk(tmp_path, show_question=down)
    decision = decide(world(waiting()), later(1))
    with pytest.raises(DagsterIsDownError):
        ask(at, waiting(), decision, actor="x", now=later(1))
    assert ask(replace(at, show_question=lambda *_: None), waiting(), decision, actor="x", now=later(2))


def stand(settings: Settings, state: RouteState) -> None:
    open_store(settings).apply(virtual_service(replace(state, transition=5)), expected=ANY)
    record(Ledger(settings.path("ledger.db")), replace(state, transition=5))


def run(
    settings: Settings, job: str, config: dict[str, Any], instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    op = OPS.get(job, "override_it")
    found = next(each for each in build_jobs(settings) if each.name == job)
    return found.execute_in_process({"ops": {op: {"config": config}}}, instance=instance, raise_on_error=False)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_node_events if e.is_step_failure]
    told = event.step_failure_data.error
    assert told is not None
    return told.message if told.cause is None else f"{told.message} {told.cause.message}"


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def test_the_question_stands_on_the_asset_with_the_job_to_launch(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    registry = ModelRegistryResource(home=str(settings.home), model_name=settings.model_name)
    at = open_desk(settings, PlatformResource.from_settings(settings), registry, instance)
    ask(at, waiting(), decide(world(waiting()), later(1)), actor="canary_sensor", now=datetime.now(UTC))
    (found,) = instance.fetch_observations(dg.AssetKey("canary"), limit=5).records
    seen = found.asset_observation
    assert seen is not None
    assert seen.description == "rel-2 waits for a person's approval"
    metadata = {name: value.value for name, value in seen.metadata.items()}
    assert metadata["job"] == "approve_release"
    assert metadata["command"] == "recsys-assets approve rel-2 --why '...'"
    assert metadata["approve"].startswith(
        f"{settings.ui_url}/locations/recsys_assets.definitions/jobs/approve_release/"
    )
    promised = {row.data["promise"]: row.data["value"] for row in seen.metadata["plan"].records}
    assert (promised["margin"], promised["steps_bp"]) == ("0.1", "10 %, 25 %, 50 %")
    assert {row.data["outcome"] for row in seen.metadata["verdicts"].records} == {"PASS"}


@pytest.mark.parametrize(
    ("job", "kind"),
    [("approve_release", "approved"), ("pause_release", "paused"), ("roll_back_release", "rolled_back")],
)
def test_a_job_takes_a_persons_word(settings: Settings, instance: dg.DagsterInstance, job: str, kind: str) -> None:
    stand(settings, waiting())
    assert run(settings, job, WORD, instance).success
    (row,) = [e for e in Ledger(settings.path("ledger.db")).events() if e.kind == kind]
    assert row.actor == "ann"
    assert "looked at it" in row.body["reason"]


def test_jobs_pause_and_resume(settings: Settings, instance: dg.DagsterInstance) -> None:
    stand(settings, waiting())
    for job in ("pause_release", "resume_release"):
        assert run(settings, job, WORD, instance).success
    state = read_state(open_store(settings), settings.model_name)
    assert state is not None
    assert state.paused is None
    assert [pause.resumed_by for pause in state.pauses] == ["ann"]


def test_a_job_overrides_for_some_time(settings: Settings, instance: dg.DagsterInstance) -> None:
    ledger, now = Ledger(settings.path("ledger.db")), datetime.now(UTC)
    ledger.append("rolled_back", release_id="r", actor="guard", at=now, key="r/1", body={"digest": "abc"})
    word = {"digest": "a", "who": "ann", "why": "the store was down", "expires": "3d"}
    assert run(settings, "override_rolled_back_digest", word, instance).success
    (row,) = ledger.overrides()
    assert (datetime.fromisoformat(row.body["expires_at"]) - row.at).days == 3


@pytest.mark.parametrize(
    ("job", "config", "why_not"),
    [
        ("approve_release", WORD | {"release_id": "other"}, "refused: other is not the release on the route"),
        ("approve_release", WORD | {"who": " "}, "refused: who says so?"),
        ("pause_release", WORD | {"why": ""}, "refused: a reason is needed"),
        ("resume_release", WORD, "refused: rel-2 is not paused"),
        ("override_rolled_back_digest", {"digest": "a", "who": "ann", "why": "x"}, "refused: 0 rolled-back digests"),
        (
            "override_rolled_back_digest",
            {"digest": "a", "who": "ann", "why": "x", "expires": "soon"},
            "refused: 'soon' is no length of time",
        ),
    ],
)
def test_a_job_fails_with_the_refusal_and_says_nothing_in_the_ledger(
    settings: Settings, instance: dg.DagsterInstance, job: str, config: dict[str, str], why_not: str
) -> None:
    stand(settings, waiting())
    result = run(settings, job, config, instance)
    assert not result.success
    assert why_not in failure(result)
    assert {e.kind for e in Ledger(settings.path("ledger.db")).events()} == {"opened", "canary"}


def test_a_second_approval_and_one_of_an_ended_release_fail(settings: Settings, instance: dg.DagsterInstance) -> None:
    stand(settings, waiting())
    assert run(settings, "approve_release", WORD, instance).success
    assert "approved already, by ann" in failure(run(settings, "approve_release", WORD | {"who": "bob"}, instance))
    assert run(settings, "roll_back_release", WORD, instance).success
    assert "has ended already: rolled_back" in failure(run(settings, "approve_release", WORD, instance))


@pytest.mark.parametrize("job", sorted(OPS))
def test_the_prefilled_config_is_valid_once_a_name_is_filled_in_and_not_before(settings: Settings, job: str) -> None:
    found = next(each for each in build_jobs(settings) if each.name == job)
    with pytest.raises(dg.DagsterInvalidConfigError, match="who"):
        dg.validate_run_config(found, yaml.safe_load(scaffold(job, RELEASE)))
    assert dg.validate_run_config(found, yaml.safe_load(scaffold(job, RELEASE) + " ann"))


def test_every_promise_of_the_plan_is_told_with_its_meaning() -> None:
    limits = ({"quantile": 0.5, "max_ratio": 1.5}, {"quantile": 0.999, "max_ratio": 3})
    told = {
        name: (value, meaning) for name, value, meaning in promises(plan(latency_limits=limits).model_dump(mode="json"))
    }
    assert set(told) == set(AnalysisPlan.model_fields)
    assert [name for name, (_, meaning) in told.items() if not meaning] == []
    assert told["latency_limits"][0] == "quantile 0.5 max_ratio 1.5; quantile 0.999 max_ratio 3.0"
    assert (told["metrics"][0], told["needs_approval"][0]) == ("none", "no")
