"""The assets in Dagster itself, over a real store, ledger and instance: what they show, and when they stop a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.drift.sensors import ONE_TICK
from recsys_assets.platform.interface import ANY, Platform
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import Decision, ModelVersion, Outcome, Phase
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.rollout.act import read_state, record
from recsys_assets.rollout.assets import GUARD, build_assets
from recsys_assets.rollout.check_names import CANARY_CHECKS
from recsys_assets.rollout.evidence import ALL_CHECKS
from recsys_assets.rollout.guarding import Beat, guard_lock
from recsys_assets.rollout.jobs import (
    ADVANCE_JOB,
    CANARY,
    CHAMPION,
    RELEASE_ASSETS,
    RELEASE_JOB,
    SHADOW_COMPARISON,
    build_jobs,
)
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.route import RouteState, opened, planned_split, virtual_service
from recsys_assets.rollout.sensors import build_sensors, request
from recsys_assets.serving.assets import CHALLENGER_SERVICE, gates
from recsys_assets.serving.verdicts import CHECKS
from recsys_assets.settings import Settings, load_settings
from recsys_assets_tests.rollout.build import genuine, model, release, service, verdict
from recsys_assets_tests.waiting import eventually

BEATS: dict[str, Beat] = {}


class StorePlatform(PlatformResource):
    """The real store, believed although no reconciler looks at it; its guard holds its lock and looked just now."""

    def connect(self) -> Platform:
        return ManifestStore(Path(self.home) / "platform" / "manifests.db")

    def ensure_running(self, *more: str) -> None:
        if GUARD in more:
            BEATS.setdefault(self.home, Beat(guard_lock(self.settings()))).looked()


class AliasFile(dg.ConfigurableResource):
    """The registry's aliases in one file."""

    folder: str

    def _path(self, alias: str) -> Path:
        return Path(self.folder) / f"{alias}.alias"

    def set_alias(self, alias: str, version: str) -> None:
        self._path(alias).write_text(version)

    def drop_alias(self, alias: str) -> None:
        self._path(alias).unlink(missing_ok=True)

    def champion(self) -> ModelVersion | None:
        return self._named("champion")

    def challenger(self) -> ModelVersion | None:
        return self._named("challenger")

    def versions(self) -> list[ModelVersion]:
        return [model("1"), model("2")]

    def _named(self, alias: str) -> ModelVersion | None:
        path = self._path(alias)
        return genuine(Path(self.folder), path.read_text()) if path.exists() else None


class House:
    """One home with its instance and definitions."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.settings: Settings = _quiet(load_settings(home=home))
        self.instance = instance
        home.joinpath("platform").mkdir(parents=True)
        self.store = ManifestStore(home / "platform" / "manifests.db")
        self.ledger = Ledger(home / "ledger.db")
        self.registry = AliasFile(folder=str(home))
        self.registry.set_alias("challenger", "2")
        upstream = [n for n in RELEASE_ASSETS if n not in {SHADOW_COMPARISON, CANARY, CHAMPION}]
        self.definitions = dg.Definitions(
            assets=[*(_upstream(name, self.settings) for name in upstream), *build_assets(self.settings)],
            jobs=build_jobs(self.settings),
            sensors=build_sensors(self.settings),
            resources={
                "platform": StorePlatform(home=str(home), config_file=str(self.settings.config_file)),
                "registry": self.registry,
            },
            executor=dg.in_process_executor,
        )
        for version in "12":
            service(self.store, version)

    def run(self, job: str, assets: list[str] | None = None, config: dict[str, Any] | None = None) -> Any:
        keys = [dg.AssetKey(name) for name in assets] if assets else None
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, asset_selection=keys, run_config=config
        )

    def stand(self, phase: Phase, step: int = 0, *, ago: float = 0.0, version: str = "2", **changes: Any) -> None:
        """Put a release of this version on the route that opened `ago` seconds before now."""
        at = datetime.now(UTC) - timedelta(seconds=ago)
        of = release(**changes).model_copy(update={"opened_at": at, "model": genuine(self.settings.home, version)})
        state = replace(
            opened(of, actor="test"), phase=phase, step=step, split=planned_split(of, phase, step), transition=3
        )
        self.store.apply(virtual_service(state), expected=ANY)
        record(self.ledger, state)

    def phase(self) -> Phase | None:
        state = read_state(self.store, "recommender")
        return state.phase if state else None


def _quiet(settings: Settings) -> Settings:
    traffic = settings.traffic.model_copy(update={"in_jobs": False})
    rollout = settings.rollout.model_copy(update={"tick_seconds": 0.01})
    return settings.model_copy(update={"traffic": traffic, "rollout": rollout})


def _upstream(name: str, settings: Settings, outcome: Outcome = Outcome.PASS) -> dg.AssetsDefinition:
    asked = gates(settings) | {CHALLENGER_SERVICE: tuple(CHECKS)}
    order = RELEASE_ASSETS[: RELEASE_ASSETS.index(SHADOW_COMPARISON)]
    place = order.index(name)

    @dg.asset(
        name=name,
        deps=[order[place - 1]] if place else [],
        check_specs=[dg.AssetCheckSpec(check, asset=name, blocking=True) for check in asked.get(name, ())],
    )
    def made() -> dg.MaterializeResult:  # type: ignore[type-arg]
        results = [check_result(verdict(check, outcome)) for check in asked.get(name, ())]
        return dg.MaterializeResult(check_results=results)

    return made


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(tmp_path / "home", instance)


def checks_of(result: Any) -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
    return {
        e.check_name: (e.passed, e.severity)
        for e in result.get_asset_check_evaluations()
        if e.asset_key.path[-1] == CANARY
    }


def failure_of(result: Any) -> str:
    events = [e for e in result.all_events if e.is_step_failure]
    return " ".join(str(e.step_failure_data.user_failure_data or e.step_failure_data.error) for e in events)


def test_the_checks_of_the_canary_are_those_that_are_analysed() -> None:
    assert set(CANARY_CHECKS) == set(ALL_CHECKS)


def test_a_first_model_goes_from_rows_to_champion_in_one_job(house: House) -> None:
    result = house.run(RELEASE_JOB)
    assert result.success, failure_of(result)
    assert house.phase() is Phase.CHAMPION
    metadata = result.asset_materializations_for_node(CHAMPION)[0].metadata
    assert metadata["model_version"].value == "2"
    assert Path(house.registry.folder, "champion.alias").read_text() == "2"
    # Nothing was compared: the checks warn, they do not pass.
    assert set(checks_of(result).values()) == {(False, dg.AssetCheckSeverity.WARN)}


def test_a_run_in_which_the_release_loses_its_weight_ends_red_and_makes_no_champion(house: House) -> None:
    house.stand(Phase.CHAMPION, champion=None)
    house.stand(Phase.CANARY, ago=10_000)
    result = house.run(ADVANCE_JOB, [CANARY, CHAMPION])
    assert not result.success
    assert "held" in failure_of(result)
    assert house.phase() is Phase.HELD
    assert not result.asset_materializations_for_node(CHAMPION)


def test_a_run_that_is_told_to_stay_stays_until_the_release_is_decided(house: House) -> None:
    house.stand(Phase.CANARY, ago=599.0)
    config = {"ops": {CANARY: {"config": {"until": "decided"}}}}
    result = house.run(ADVANCE_JOB, [CANARY], config)
    assert not result.success
    assert house.phase() is Phase.HELD
    assert "deadline" in failure_of(result)
    assert {passed for passed, _ in checks_of(result).values()} == {False}


def test_a_run_that_stays_shows_the_release_at_each_tick_and_no_check_is_in_progress(house: House) -> None:
    house.stand(Phase.CHAMPION, champion=None, version="1")
    house.run(ADVANCE_JOB, [CANARY])
    house.stand(Phase.CANARY)

    def shown() -> list[tuple[Any, ...]]:
        records = house.instance.fetch_materializations(dg.AssetKey(CANARY), limit=10).records
        found = [(r.run_id, r.asset_materialization.metadata) for r in records if r.asset_materialization]
        return [(run, m["model_version"].value, m["phase"].value, m["canary_weight_bp"].value) for run, m in found]

    def end_when_shown() -> None:
        eventually(lambda: ("2", "canary", 1_000) in [each[1:] for each in shown()])
        house.stand(Phase.CANARY, ago=10_000)

    with ThreadPoolExecutor(1) as meanwhile:
        ended = meanwhile.submit(end_when_shown)
        run = house.run(ADVANCE_JOB, [CANARY], {"ops": {CANARY: {"config": {"until": "decided"}}}})
        ended.result()
    assert shown()[0] == (run.run_id, "2", "held", 0)
    for name in CANARY_CHECKS:
        key = dg.AssetCheckKey(dg.AssetKey(CANARY), name)
        found = house.instance.get_latest_asset_check_evaluation_record(key)
        assert found is not None
        assert found.evaluation is not None
        assert found.evaluation.metadata["model_version"].value == "2"


def test_the_run_that_opens_a_release_carries_its_id(house: House) -> None:
    house.stand(Phase.CHAMPION, champion=None, version="1")
    run = house.instance.get_run_by_id(house.run(RELEASE_JOB, config=ONE_TICK).run_id)
    state = read_state(house.store, "recommender")
    assert run is not None
    assert state is not None
    assert run.tags["recsys_assets/release"] == state.release.release_id


def test_one_tick_that_holds_is_a_run_that_succeeds_and_says_why(house: House) -> None:
    house.stand(Phase.CANARY)
    result = house.run(ADVANCE_JOB, [CANARY, CHAMPION])
    assert result.success, failure_of(result)
    metadata = result.asset_materializations_for_node(CANARY)[0].metadata
    assert metadata["action"].value == "hold"
    assert metadata["weight"].value.startswith("![weight over time](data:image/png;base64,")
    assert set(checks_of(result)) == set(CANARY_CHECKS)
    assert not result.asset_materializations_for_node(CHAMPION)


def test_the_release_that_a_drift_asks_for_opens_looks_once_and_is_not_red(house: House) -> None:
    house.stand(Phase.CHAMPION, champion=None, version="1")
    result = house.run(RELEASE_JOB, config=ONE_TICK)
    assert result.success, failure_of(result)
    assert house.phase() is Phase.SHADOW
    assert result.asset_materializations_for_node(SHADOW_COMPARISON)
    assert not result.asset_materializations_for_node(CHAMPION)
    assert Path(house.registry.folder, "champion.alias").read_text() == "1"
    looked = sensed(house)
    assert isinstance(looked, dg.SkipReason)
    assert "requests copied" in str(looked.skip_message), "the canary sensor has taken over"


def test_the_release_that_a_drift_asks_for_is_red_where_it_was_decided_against(house: House) -> None:
    house.stand(Phase.CANARY, ago=10_000)
    result = house.run(RELEASE_JOB, config=ONE_TICK)
    assert not result.success
    assert "held" in failure_of(result)


def test_a_run_that_stays_is_red_where_its_champion_is_undecided(house: House) -> None:
    house.stand(Phase.CANARY)
    result = house.run(ADVANCE_JOB, [CHAMPION], {"ops": {CHAMPION: {"config": {"until": "decided"}}}})
    assert not result.success
    assert "not promoted" in failure_of(result)


def test_a_gate_that_did_not_pass_for_this_version_opens_nothing(house: House) -> None:
    result = house.run(ADVANCE_JOB, [SHADOW_COMPARISON])
    assert not result.success
    assert "is not released" in failure_of(result)
    assert house.phase() is None


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.REJECTED, Phase.HELD])
def test_the_champion_is_nobody_whom_the_ledger_did_not_promote(house: House, phase: Phase) -> None:
    house.stand(phase)
    result = house.run(ADVANCE_JOB, [CHAMPION])
    assert not result.success
    assert "not promoted" in failure_of(result)
    assert not Path(house.registry.folder, "champion.alias").exists()


def sensed(house: House) -> dg.RunRequest | dg.SkipReason:
    sensor = (
        house.definitions.resolve_sensor_def("canary_sensor")
        if hasattr(house.definitions, "resolve_sensor_def")
        else house.definitions.get_sensor_def("canary_sensor")
    )
    context = dg.build_sensor_context(
        instance=house.instance,
        resources={
            "platform": StorePlatform(home=str(house.settings.home), config_file=str(house.settings.config_file)),
            "registry": house.registry,
        },
    )
    found = sensor(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_the_sensor_skips_without_a_release(house: House) -> None:
    assert isinstance(sensed(house), dg.SkipReason)


def test_the_sensor_starts_no_run_for_a_hold_but_renews_the_lease(house: House) -> None:
    house.stand(Phase.CANARY, ago=25)
    before = read_state(house.store, "recommender")
    found = sensed(house)
    after = read_state(house.store, "recommender")
    assert isinstance(found, dg.SkipReason)
    assert before
    assert after
    assert after.lease > before.lease


def test_the_sensor_asks_for_a_move_once_whatever_it_is_asked(house: House) -> None:
    house.stand(Phase.CANARY, ago=10_000)
    first, second = sensed(house), sensed(house)
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.run_key == second.run_key
    assert first.run_key.startswith("canary:v2:rel-2:3:held:")
    assert first.asset_selection == [dg.AssetKey(CANARY), dg.AssetKey(CHAMPION)]


def held(state: RouteState) -> Decision:
    return Decision(
        release_id="rel-2", action="roll_back", phase=Phase.HELD, step=0, split=state.split, reason="too few"
    )


def asked_run(house: House, request: dg.RunRequest, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    job = house.definitions.resolve_job_def(ADVANCE_JOB)
    return house.instance.create_run_for_job(job, status=status, tags=tags)


def test_a_move_whose_run_failed_is_asked_for_again_within_the_lease_and_not_at_once(house: House) -> None:
    house.stand(Phase.CANARY, ago=10_000)
    first = sensed(house)
    assert isinstance(first, dg.RunRequest)
    asked_run(house, first, dg.DagsterRunStatus.FAILURE)
    state = read_state(house.store, "recommender")
    assert state
    decision = held(state)
    now, lease = datetime.now(UTC), timedelta(seconds=state.release.plan.lease_seconds)
    soon = request(house.instance, state, decision, now)
    assert isinstance(soon, dg.SkipReason)
    assert "ended with FAILURE" in str(soon.skip_message)
    again = request(house.instance, state, decision, now + 0.2 * lease)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key != first.run_key


def test_a_move_that_a_run_is_making_is_not_doubled_until_that_run_must_be_dead(house: House) -> None:
    house.stand(Phase.CANARY, ago=10_000)
    first = sensed(house)
    assert isinstance(first, dg.RunRequest)
    asked_run(house, first, dg.DagsterRunStatus.STARTED)
    found = sensed(house)
    assert isinstance(found, dg.SkipReason)
    assert "makes the move to held" in str(found.skip_message)
    state = read_state(house.store, "recommender")
    assert state
    decision = held(state)
    later = datetime.now(UTC) + timedelta(seconds=2 * state.release.plan.lease_seconds + 1)
    assert isinstance(request(house.instance, state, decision, later), dg.RunRequest)


def test_the_sensor_leaves_a_release_to_the_run_in_flight_while_its_lease_is_fresh(house: House) -> None:
    job = house.definitions.resolve_job_def(ADVANCE_JOB)
    house.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    house.stand(Phase.CANARY, ago=1)
    found = sensed(house)
    assert isinstance(found, dg.SkipReason)
    assert "looks after" in str(found.skip_message)
    house.stand(Phase.CANARY, ago=20)  # a run that lived would have renewed it
    assert "looks after" not in str(sensed(house))


def test_the_sensor_sees_an_end_through_once(house: House) -> None:
    house.stand(Phase.ROLLED_BACK)
    assert isinstance(sensed(house), dg.RunRequest)
    house.run(ADVANCE_JOB, [CANARY])
    assert isinstance(sensed(house), dg.SkipReason)
