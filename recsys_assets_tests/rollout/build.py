"""A small world for the tests: one plan, two versions, literal rows, a real manifest store and ledger on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl

from recsys_assets.columns import EXPOSURES, FEEDBACK, GATEWAY_REQUESTS
from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, ServiceStatus
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import AnalysisPlan, ModelVersion, Outcome, Phase, Release, Verdict
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.evidence import ALL_CHECKS
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.outcomes import Logs, Scope, WeightSince
from recsys_assets.rollout.route import RouteState, opened, planned_split
from recsys_assets.rollout.world import World
from recsys_assets.serving.assets import gate_names
from recsys_assets.serving.attestation import attest
from recsys_assets.settings import load_settings
from recsys_assets.signing import manifest_digest, sign_bundle
from recsys_assets.stalls import Stall
from recsys_assets_tests.rollout.aliases import Aliases

T0 = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = (1_000, 2_500, 5_000)


def plan(**changes: Any) -> AnalysisPlan:
    values: dict[str, Any] = {
        "steps_bp": STEPS,
        "margin": 0.1,
        "alpha": 0.05,
        "attribution_seconds": 2,
        "min_visitors_per_arm": 100,
        "shadow_requests": 50,
        "bake_seconds": 10,
        "deadline_seconds": 600,
        "lease_seconds": 30,
        "max_error_rate_increase": 0.02,
        "max_p99_ratio": 2.0,
        "max_degraded_rate_increase": 0.05,
    }
    return AnalysisPlan(**(values | changes))


def model(version: str = "2", digest: str | None = None) -> ModelVersion:
    return ModelVersion(
        name="recommender",
        version=version,
        run_id=f"run{version}",
        feature_service="ranker_v1",
        table_versions={"interactions": 1},
        code_version="abc",
        bundle_digest=digest or version * 64,
        as_of=T0,
    )


def release(*, champion: str | None = "1", **changes: Any) -> Release:
    return Release(release_id="rel-2", model=model(), champion=champion, plan=plan(**changes), opened_at=T0)


def route(phase: Phase, step: int = 0, *, champion: str | None = "1", **changes: Any) -> RouteState:
    from dataclasses import replace

    of = release(champion=champion, **changes)
    return replace(opened(of, actor="test"), phase=phase, step=step, split=planned_split(of, phase, step))


def verdict(check: str, outcome: Outcome = Outcome.PASS, version: str = "2") -> Verdict:
    return Verdict(check=check, model_version=version, outcome=outcome, reason=f"{check} is {outcome.value}")


def all_pass(**changed: Outcome) -> tuple[Verdict, ...]:
    return tuple(verdict(check, changed.get(check, Outcome.PASS)) for check in ALL_CHECKS)


READY = ServiceStatus(True, 1, 1, "http://x", "ready")
DOWN = ServiceStatus(False, 1, 1, None, "crash loop")


def world(state: RouteState, **changes: Any) -> World:
    """Everything passes and is ready, unless said otherwise."""
    values: dict[str, Any] = {
        "services": {"recommender-v1": READY, "recommender-v2": READY},
        "gate": verdict("offline_gate"),
        "shadow": verdict("shadow"),
        "verdicts": all_pass(),
        "visitors": (100, 900),
    }
    return World(route=state, **(values | changes))


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@dataclass
class Rows:
    """Requests told one by one; each becomes a gateway row, an exposure and perhaps clicks."""

    gateway: list[dict[str, Any]] = field(default_factory=list)
    exposures: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)

    def ask(
        self,
        visitor: str,
        variant: Literal["stable", "canary"],
        at: float,
        *,
        clicks: Sequence[str] = (),
        click_after: float = 0.5,
        status: int = 200,
        ms: float = 5.0,
        rung: str = "full",
        items: Sequence[str] = ("a", "b", "c"),
        version: str | None = None,
        flags: Sequence[str] = (),
    ) -> str:
        request_id = f"r{len(self.gateway)}"
        answered = version or ("2" if variant == "canary" else "1")
        common = {"request_id": request_id, "served_at": later(at), "visitor_id": visitor, "variant": variant}
        self.gateway.append(
            common
            | {"cluster": None, "status": status, "duration_ms": ms}
            | ({"model_version": answered, "rung": rung} if status == 200 else {"model_version": None, "rung": None})
        )
        if status == 200:
            row = {"user_id": visitor, "model_version": answered, "rung": rung, "items": list(items)}
            row |= {"scores": [1.0] * len(items), "latency_ms": ms, "flags": list(flags)}
            self.exposures.append(common | row)
        self.feedback += [
            {
                "event_id": f"{request_id}:{item}",
                "request_id": request_id,
                "item_id": item,
                "event_type": "click",
                "received_at": later(at + click_after),
            }
            for item in clicks
        ]
        return request_id

    def logs(self) -> Logs:
        return Logs(
            exposures=_frame(self.exposures, EXPOSURES),
            feedback=_frame(self.feedback, FEEDBACK),
            gateway=_frame(self.gateway, GATEWAY_REQUESTS),
        )


def _frame(rows: Sequence[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    """The rows as a frame: `pl.DataFrame(rows, schema)`, though lists, which are mostly alike, are made once each."""
    return pl.DataFrame([_column([row[name] for row in rows], kind).alias(name) for name, kind in schema.items()])


def _column(values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    if not isinstance(kind, pl.List):
        return pl.Series(values=values, dtype=kind)
    places: dict[tuple[Any, ...], int] = {}
    taken = [places.setdefault(tuple(value), len(places)) for value in values]
    return pl.Series(values=[list(each) for each in places], dtype=kind).gather(taken)


def crowd(
    n: int,
    *,
    share: float = 0.5,
    canary_clicks: float = 0.5,
    stable_clicks: float = 0.5,
    seconds: float = 60,
    **canary: Any,
) -> Rows:
    """`n` visitors over `seconds` from T0 + 3, one request each; the i-th gets the canary when its turn comes."""
    rows = Rows()
    seen = {"canary": 0, "stable": 0}
    for i in range(n):
        variant: Literal["stable", "canary"] = "canary" if int((i + 1) * share) > int(i * share) else "stable"
        rate = canary_clicks if variant == "canary" else stable_clicks
        number = seen[variant]
        seen[variant] += 1
        clicked = ["a"] if int((number + 1) * rate) > int(number * rate) else []
        extra = {k: v(number) if callable(v) else v for k, v in canary.items()} if variant == "canary" else {}
        rows.ask(f"v{i}", variant, 3 + seconds * i / n, clicks=clicked, **extra)
    return rows


def scope(now: float = 70, *, weights: Sequence[tuple[float, int]] = ((0, 5_000),), **changes: Any) -> Scope:
    return Scope(
        model_version="2",
        stable_version="1",
        plan=plan(**changes),
        weights=tuple(WeightSince(later(at), bp) for at, bp in weights),
        top_k=10,
        now=later(now),
    )


class FixedMetrics:
    """The rows it was given, whatever is asked for."""

    def __init__(self, logs: Logs) -> None:
        self.rows = logs

    def logs(self, since: datetime) -> Logs:
        return self.rows

    def stalls(self, since: datetime) -> Sequence[Stall]:
        return ()

    def gateway_only(self, since: datetime) -> Logs:
        return Logs(exposures=None, feedback=None, gateway=self.rows.gateway)


@dataclass
class Clock:
    at: float = 0.0

    def __call__(self) -> datetime:
        return later(self.at)


def service(store: ManifestStore, version: str, *, ready: bool = True) -> None:
    """An InferenceService as a platform would hold it."""
    of = model(version)
    made = store.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": INFERENCE_SERVICE,
            "metadata": {
                "name": of.service_name,
                "labels": of.labels(),
                "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
            },
            "spec": {"predictor": {"containers": [{"name": "server", "command": ["true"]}]}},
        },
        expected=ANY,
    )
    status = {"observedGeneration": made["metadata"]["generation"], "ready": ready, "reason": "said the test"}
    store.set_status(INFERENCE_SERVICE, of.service_name, uid=made["metadata"]["uid"], status=status)


def desk(tmp_path: Path, logs: Logs | None = None, **changes: Any) -> tuple[Desk, Clock]:
    """A desk on a real store and a real ledger; version 2 is the challenger, both services are ready."""
    clock = Clock()
    store = ManifestStore(tmp_path / "manifests.db")
    service(store, "1")
    service(store, "2")
    values: dict[str, Any] = {
        "model_name": "recommender",
        "platform": store,
        "ledger": Ledger(tmp_path / "ledger.db"),
        "metrics": FixedMetrics(logs or Rows().logs()),
        "registry": Aliases({v: model(v) for v in "123"}, {"challenger": "2"}, ("1", "2")),
        "gate": lambda of: verdict("offline_gate", version=of.version),
        "top_k": 10,
        "clock": clock,
    }
    return Desk(**(values | changes)), clock


def genuine(home: Path, version: str) -> ModelVersion:
    """The record of a version whose bundle lies below home, as small as a bundle can be, signed and attested."""
    bundle, keys, settings = home / "bundles" / version, home / "keys", load_settings(home=home)
    of = model(version)
    if not bundle.exists():
        said = {"model": of.name, "version": version, "feature_names": ["f"], "table_versions": of.table_versions}
        bundle.mkdir(parents=True)
        (bundle / "manifest.json").write_text(json.dumps(said))
        sign_bundle(bundle, keys)
    digest = manifest_digest(bundle)
    assert digest is not None
    record = of.model_copy(update={"bundle_digest": digest})
    gates = {name: verdict(name, version=version) for name in gate_names(settings)}
    attest(record, gates, bundle=bundle, keys=keys, at=T0)
    return record
