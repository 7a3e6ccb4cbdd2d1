"""The works: a home with the whole real stack in it, and releases of small real models one after another.

Here: making and opening releases as training and a person would. Not here: moving them: Dagster's daemon does.
The models are real signed bundles of a small world (60 users, 40 items), so that two cores can serve and be killed on.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from recsys_assets import home
from recsys_assets.platform.interface import PlatformError
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.store import open_store
from recsys_assets.recommender.bundle import write_bundle
from recsys_assets.records import ModelVersion, Outcome, Phase, Verdict
from recsys_assets.resources.gates import MODEL_VERSION, OUTCOME
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource, mlflow_client, mlflow_uri
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.jobs import ADVANCE_JOB
from recsys_assets.rollout.opening import open_desk
from recsys_assets.rollout.people import rollback_now
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.tick import open_release
from recsys_assets.serving.assets import CHALLENGER_SERVICE, gates
from recsys_assets.serving.deploy import deploy
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets.signing import sign_bundle
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.serving.bundles import AS_OF, fitted

ACTOR = "benchmark"
PLAN = {
    "steps_bp": [500, 2_000, 5_000],
    "margin": 0.6,
    "alpha": 0.1,
    "attribution_seconds": 1,
    "min_visitors_per_arm": 20,
    "shadow_requests": 40,
    "bake_seconds": 2,
    "deadline_seconds": 120,
    "lease_seconds": 20,
    # A machine on which everything is being killed is slow now and then: what is judged here is not the model.
    "max_error_rate_increase": 0.5,
    "max_p99_ratio": 50.0,
    "max_degraded_rate_increase": 0.9,
}


def make_settings(folder: Path) -> Settings:
    """Quick settings on free ports."""
    raw: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    names = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port")
    first = 21_000 + (time.time_ns() // 1_000_000 % 400) * 20
    raw["serving"] = dict(zip(names, free_ports(len(names)), strict=True)) | {
        "model_port_first": first,
        "model_port_last": first + 19,
        "latency_budget_ms": 2_000,
        "ready_timeout_seconds": 300,
    }
    raw["rollout"] = {"tick_seconds": 1.0, "guard_interval_seconds": 1.0, "plan": PLAN}
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_settings(home=folder / "home", config=config)


class Works:
    """The stack of one home and the desk of the person who releases on it."""

    def __init__(self, settings: Settings) -> None:
        home.adopt(settings)
        self.settings, self.store = settings, open_store(settings)
        self.instance = dg.DagsterInstance.get()
        self.registry = ModelRegistryResource(home=str(settings.home), model_name=settings.model_name)
        self.desk: Desk = open_desk(settings, PlatformResource.from_settings(settings), self.registry, self.instance)
        self.recommender = fitted()
        self.versions = 0

    def start(self) -> None:
        stack.start(self.settings)

    def stop(self) -> None:
        stack.stop(self.settings)

    def state(self) -> RouteState | None:
        return read_state(self.store, self.settings.model_name)

    def release(self) -> RouteState:
        """A new version: written, signed, registered, checked, deployed, and its release opened."""
        model = self._registered()
        self._say_passed(gates(self.settings), model)
        passed = {
            f"{asset}/{name}": Verdict(check=name, model_version=model.version, outcome=Outcome.PASS, reason=ACTOR)
            for asset, names in gates(self.settings).items()
            for name in names
        }
        deployed = deploy(model, self.settings, self.store, gates=passed)
        if bad := [v for v in deployed.verdicts if not v.passed]:
            raise ReleaseRefused("; ".join(f"{v.check}: {v.reason}" for v in bad))
        self._say_passed({CHALLENGER_SERVICE: tuple(v.check for v in deployed.verdicts)}, model)
        return open_release(self.desk, model, self.settings.rollout.plan, actor=ACTOR)

    def _registered(self) -> ModelVersion:
        version = self.registry.next_version()
        bundle = self.settings.path("bundles", version)
        digest = write_bundle(self.recommender, bundle, model_name=self.settings.model_name, version=version)
        sign_bundle(bundle, self.settings.path("keys"))
        client = mlflow_client(mlflow_uri(str(self.settings.home), ""))
        model = ModelVersion(
            name=self.settings.model_name,
            version=version,
            run_id=client.create_run("0").info.run_id,
            feature_service="ranker_v1",
            table_versions={},
            code_version="0",
            bundle_digest=digest,
            as_of=AS_OF,
        )
        self.registry.register(bundle, model, dagster_run_id=f"{ACTOR}-{version}")
        self.registry.set_alias("challenger", version)
        return model

    def _say_passed(self, checks: dict[str, tuple[str, ...]], model: ModelVersion) -> None:
        told = {MODEL_VERSION: model.version, OUTCOME: Outcome.PASS.value}
        for asset, names in checks.items():
            for name in names:
                self.instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=dg.AssetKey(asset),
                        check_name=name,
                        passed=True,
                        metadata={key: dg.MetadataValue.text(value) for key, value in told.items()},
                        description=ACTOR,
                    )
                )


class Releaser(threading.Thread):
    """Opens a release whenever the last one has ended. Every third one a person rolls back in its canary."""

    def __init__(self, works: Works) -> None:
        super().__init__(daemon=True)
        self.works, self.ended, self.opened, self.told = works, threading.Event(), 0, list[str]()
        self.runs: list[subprocess.Popen[bytes]] = []

    def run(self) -> None:
        while not self.ended.wait(0.5):
            try:
                self._look()
            except (PlatformError, ReleaseRefused, dg.DagsterError, OSError) as problem:
                # The stack is being killed; whoever releases tries again.
                self.told.append(f"{time.strftime('%X')} {type(problem).__name__}: {problem}")

    def _look(self) -> None:
        state = self.works.state()
        if state is None or (state.phase.is_end and self._is_settled(state)):
            self.works.release()
            self.opened += 1
            self._start_a_run()
        elif state.phase is Phase.CANARY and state.step > 0 and int(state.version) % 3 == 0:
            rollback_now(self.works.desk, state.release.release_id, who=ACTOR, why="every third is taken back")

    def _start_a_run(self) -> None:
        """A run that stays with the release, as that of `release` does; when it dies, the sensor starts others."""
        config = self.works.settings.home.parent / "run.yaml"
        stay = {"config": {"until": "decided"}}
        config.write_text(yaml.safe_dump({"ops": {"shadow_comparison": stay, "canary": stay}}), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-m", "recsys_assets.definitions"]
        with config.with_suffix(".log").open("ab") as log:
            self.runs.append(subprocess.Popen([*command, "-j", ADVANCE_JOB, "-c", str(config)], stdout=log, stderr=log))

    def stop(self) -> None:
        self.ended.set()
        self.join(60)
        for run in self.runs:
            run.kill()
            run.wait()

    def _is_settled(self, state: RouteState) -> bool:
        return self.works.desk.ledger.has(f"{state.release.release_id}/{state.transition}/settled")
