"""A home on disk with every real part that writes state, and a clock that the harness turns.

Here: real store, ledger, logs and MLflow registry; stand-ins only for Envoy's answers and supervisor's socket.
Not here: what the processes do (acts.py).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import dagster as dg

from recsys_assets.platform.local.envoy_listener import GatewayPlace
from recsys_assets.platform.local.gateway import Gateway
from recsys_assets.platform.local.instances import Instances
from recsys_assets.platform.local.probe import Health, Memory
from recsys_assets.platform.local.programs import Program
from recsys_assets.platform.local.reconciler import Reconciler, gateway_place
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.platform.local.supervisor import ProgramState, Supervisor
from recsys_assets.records import AnalysisPlan, ModelVersion, Outcome, Verdict
from recsys_assets.resources.registry import RECORD_TAG, ModelRegistryResource, mlflow_client, mlflow_uri
from recsys_assets.rollout.clocks import ClockMark
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.guard import Post
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.settings import Settings, load_settings
from recsys_assets_tests.rollout.build import later, model, plan

NAME = "recommender"
# Every revision of every object, kept by the database itself, so that no state of the route goes unseen.
_COPY = "INSERT INTO history SELECT NULL, NEW.kind, NEW.name, NEW.manifest, NEW.resource_version"
_HISTORY = f"""
CREATE TABLE history (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, name TEXT, manifest TEXT, version INTEGER);
CREATE TRIGGER kept_new AFTER INSERT ON objects BEGIN {_COPY}; END;
CREATE TRIGGER kept_change AFTER UPDATE OF manifest ON objects BEGIN {_COPY}; END;
"""


@cache
def _settings() -> Settings:
    return load_settings(home=Path("unused"))


class NoRuns:
    """Dagster without a run in flight: the run that was killed is not seen as one."""

    def get_run_records(self, *_: object, **__: object) -> list[object]:
        return []


@dataclass
class Home:
    """One home at one moment of the harness's clock; `clock_set_by` is how far somebody set the wall clock."""

    path: Path
    at: float = 0.0
    clock_set_by: float = 0.0

    def clock(self) -> datetime:
        return later(self.at + self.clock_set_by)

    def mark(self) -> ClockMark:
        return ClockMark("boot", self.at, self.clock())

    @property
    def store(self) -> ManifestStore:
        return ManifestStore(self.path / "platform" / "manifests.db", now=self.clock)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "ledger.db")

    @property
    def registry(self) -> ModelRegistryResource:
        return ModelRegistryResource(home=str(self.path), model_name=NAME)

    @property
    def settings(self) -> Settings:
        return _settings().model_copy(update={"home": self.path})

    def aliases(self) -> dict[str, str]:
        """The registry's aliases, read from MLflow's own table: an oracle asks often."""
        with closing(sqlite3.connect(self.path / "mlflow" / "mlflow.db")) as db:
            rows = db.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (NAME,))
            return {alias: str(version) for alias, version in rows.fetchall()}

    def desk(self, *, gate: Outcome = Outcome.PASS) -> Desk:
        def judged(of: ModelVersion) -> Verdict:
            return Verdict(check="offline_gate", model_version=of.version, outcome=gate, reason="said the harness")

        return Desk(
            model_name=NAME,
            platform=self.store,
            ledger=self.ledger,
            metrics=LogMetrics(self.path),
            registry=self.registry,
            gate=judged,
            top_k=10,
            clock=self.clock,
            mark=self.mark,
        )

    def post(self) -> Post:
        return Post(NAME, self.store, self.ledger, LogMetrics(self.path), 10, self.clock)

    def instance(self) -> dg.DagsterInstance:
        return cast("dg.DagsterInstance", NoRuns())


def make_home(home: Home) -> Home:
    """An empty home: a store that keeps its history, and a registry that knows the model."""
    home.store.list("VirtualService")
    with closing(sqlite3.connect(home.store.path)) as db:
        db.executescript(_HISTORY)
    client = mlflow_client(mlflow_uri(str(home.path), ""))
    client.create_registered_model(NAME)
    return home


def register(home: Home, version: str) -> None:
    """What training leaves in the registry; MLflow numbers the versions itself."""
    if version not in {of.version for of in home.registry.versions()}:
        tags = {RECORD_TAG: model(version).model_dump_json()}
        client = mlflow_client(mlflow_uri(str(home.path), ""))
        created = client.create_model_version(NAME, source=str(home.path), tags=tags)
        assert str(created.version) == version


def a_plan(**changes: Any) -> AnalysisPlan:
    """A release that is decided within a few rounds of five seconds."""
    values = {
        "steps_bp": (2_500, 5_000),
        "margin": 0.5,
        "attribution_seconds": 1,
        "min_visitors_per_arm": 50,
        "shadow_requests": 30,
        "bake_seconds": 5,
        "deadline_seconds": 120,
        "lease_seconds": 15,
        "max_error_rate_increase": 0.1,
        "max_degraded_rate_increase": 0.1,
    }
    return plan(**(values | changes))


class QuietSupervisor(Supervisor):
    """Supervisor's client with a folder in place of its socket: what is configured runs until it is stopped."""

    def _running(self, name: str) -> Path:
        return self.folder / "running" / name

    def states(self) -> dict[str, ProgramState]:
        known = sorted((self.folder / "running").glob("*"))
        return {p.name: ProgramState(p.name, p.read_text(encoding="utf-8"), 1, "") for p in known}

    def ensure(self, programs: Any) -> None:
        wanted: list[Program] = list(programs)
        for program in wanted:
            self._write(program)
            self._running(program.name).parent.mkdir(parents=True, exist_ok=True)
            self._running(program.name).write_text("RUNNING", encoding="utf-8")

    def _stop(self, name: str, *, wait: bool) -> None:
        self._running(name).write_text("STOPPED", encoding="utf-8")

    def _tolerate(self, faults: set[int], method: str, *arguments: object) -> None:
        if method == "removeProcessGroup":
            self._running(str(arguments[0])).unlink(missing_ok=True)


class WillingGateway(Gateway):
    """The gateway's files, with an Envoy that takes each at once."""

    def __init__(self, place: GatewayPlace) -> None:
        # Nobody asks it, so that nothing lingers: the same writes in every run.
        super().__init__(place, linger_seconds=0.0)

    def is_ready(self) -> bool:
        return True

    def _wait_until_checked(self, documents: Any) -> None:
        return

    def _taken(self, kind: str) -> str | None:
        import json

        path = self.place.file(kind)
        return str(json.loads(path.read_text(encoding="utf-8"))["version_info"]) if path.exists() else None


class ProbedInstances(Instances):
    """Instances whose servers answer as soon as they run."""

    def __init__(self, settings: Settings, store: ManifestStore, supervisor: Supervisor) -> None:
        self._settings, self._store, self._supervisor = settings, store, supervisor
        self._memory, self._restart_at = Memory(), {}

    def close(self) -> None:
        return

    def _probe(self, manifest: Any, key: Any, port: int, states: Any) -> Health:
        from recsys_assets.platform.local.programs import model_program

        program = model_program(manifest, generation=key[1], port=port, settings=self._settings)
        state = states.get(program.name)
        if state is None or state.is_down:
            return self._start(program.name, program, state)
        return Health(True, "ready")


def reconciler(home: Home) -> Reconciler:
    """The real reconciler's pass over real files and the real store."""
    made = Reconciler.__new__(Reconciler)
    made.settings, made.store = home.settings, home.store
    made.gateway = WillingGateway(gateway_place(made.settings))
    made.instances = ProbedInstances(made.settings, made.store, QuietSupervisor(made.settings))
    return made
