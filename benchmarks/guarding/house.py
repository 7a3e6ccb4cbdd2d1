"""A home with the real stack in it: two small signed models, warm servers, a desk.

Here: making it, and opening a release on it. Not here: breaches (episodes.py), visitors (visits.py).
What the guard needs none of is left out: MLflow and Dagster. The desk's gate says that the model may be released.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from recsys_assets.columns import DAY, USER
from recsys_assets.features.as_of_join import newest
from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, ServiceStatus
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import GUARD
from recsys_assets.platform.local.store import open_store
from recsys_assets.records import AnalysisPlan, ModelVersion, Outcome, Phase, Verdict
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.clocks import machine_clock
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.guarding import guard_lock, is_guarded
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.rollout.people import override
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.tick import open_release, tick
from recsys_assets.serving.manifests import inference_service
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets_tests.features.rows import user_feature_rows
from recsys_assets_tests.rollout.aliases import Aliases
from recsys_assets_tests.serving.bundles import AS_OF, DAYS, START, interactions, record, signed_bundle

ACTOR = "benchmark"
STABLE, CANARY = "1", "2"
PORTS = 20
WAIT_SECONDS = 90.0


def make_settings(folder: Path, first_port: int, plan: dict[str, Any]) -> Settings:
    """The packaged configuration with this plan, on ports of its own from `first_port` on."""
    raw: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    names = ("gateway_port", "gateway_admin_port", "collector_port", "mlflow_port", "dagster_port")
    raw["serving"] = {name: first_port + number for number, name in enumerate(names)}
    raw["serving"] |= {"model_port_first": first_port + 5, "model_port_last": first_port + PORTS - 1}
    # What is slow here is the machine that runs several homes.
    raw["serving"] |= {"latency_budget_ms": 2_000, "online_store_timeout_ms": 500, "ready_timeout_seconds": 120}
    raw["rollout"]["plan"] |= plan
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_settings(home=folder / "home", config=config)


def models(settings: Settings) -> dict[str, ModelVersion]:
    """Both versions, by the digests of their bundles; written and signed where they are not there yet."""
    found = {}
    for version in (STABLE, CANARY):
        digest = settings.path("bundles", f"{version}.digest")
        if not digest.exists():
            bundle = settings.path("bundles", version)
            digest.parent.mkdir(parents=True, exist_ok=True)
            digest.write_text(signed_bundle(bundle, settings.path("keys"), version=version))
        found[version] = record(version, digest.read_text())
    return found


def make_desk(settings: Settings, known: dict[str, ModelVersion]) -> Desk:
    def passes(of: ModelVersion) -> Verdict:
        return Verdict(check="offline_gate", model_version=of.version, outcome=Outcome.PASS, reason=ACTOR)

    return Desk(
        model_name=settings.model_name,
        platform=open_store(settings),
        ledger=Ledger(settings.path("ledger.db")),
        metrics=LogMetrics(settings.home),
        registry=Aliases(known),
        gate=passes,
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
        mark=machine_clock,
        guarded=lambda: is_guarded(guard_lock(settings)),
    )


class House:
    """The stack of one home, with version 1 as its champion."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = models(settings)
        self.desk = make_desk(settings, self.models)

    def start(self) -> None:
        _fill_online_store(self.settings)
        stack.start(self.settings, (*stack.CORE, GUARD))
        self.serve(STABLE)
        open_release(self.desk, self.models[STABLE], self.settings.rollout.plan, actor=ACTOR)
        self.until(lambda: self.ticked() is Phase.CHAMPION, "the first release to be champion")
        self.serve(CANARY)

    def stop(self) -> None:
        stack.stop(self.settings)

    def serve(self, version: str) -> None:
        """The server of a version, ready; one that runs already is left alone. Faults can be switched on in it."""
        model, serving = self.models[version], self.settings.serving
        if self.desk.platform.get(INFERENCE_SERVICE, model.service_name) is None:
            manifest = inference_service(
                model,
                role="candidate",
                bundle_path=self.settings.path("bundles", version),
                home=self.settings.home,
                online_timeout_ms=serving.online_store_timeout_ms,
                deadline_ms=serving.latency_budget_ms,
                drills=True,
            )
            self.desk.platform.apply(manifest, expected=ANY)
        self.until(lambda: self.service(version).ready, f"version {version} to be ready")

    def service(self, version: str) -> ServiceStatus:
        return self.desk.platform.status(INFERENCE_SERVICE, self.models[version].service_name)

    def state(self) -> RouteState:
        state = read_state(self.desk.platform, self.settings.model_name)
        assert state is not None
        return state

    def ticked(self) -> Phase:
        tick(self.desk, actor=ACTOR)
        return self.state().phase

    def release(self, plan: AnalysisPlan) -> RouteState:
        """Open a release of version 2 and let it tick once, which sends the first users to it."""
        self.serve(CANARY)
        model = self.models[CANARY]
        if model.bundle_digest in self.desk.ledger.denied(self.desk.clock()):
            override(self.desk, model.bundle_digest, who=ACTOR, why="the next breach", expires=timedelta(hours=2))
        open_release(self.desk, model, plan, actor=ACTOR)
        self.until(lambda: self.ticked() is not Phase.GATED, "the canary to begin")
        return self.state()

    @staticmethod
    def until(holds: Any, what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited {WAIT_SECONDS:.0f} s for {what}")
            time.sleep(0.05)


def _fill_online_store(settings: Settings) -> None:
    days = [START + timedelta(days=n) for n in range(DAYS)]
    store = FeatureStoreResource.of(settings)
    store.apply()
    rows = newest(user_feature_rows(interactions(), days, settings.features), key=USER, at=AS_OF)
    store.write_online("user_features", rows.drop(DAY, "feature_time"))
