"""One simulated release through the product: its own tick, decision, verdicts, ledger and route, on a fake clock.

Here: the desk and the loop. Not here: people (crowd.py), rows (source.py), other rules (peers.py).
The store and the ledger are the product's SQLite files in a temporary folder. The shadow is left out, since it has no
users; the gate passes; both services are ready.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.release_simulation.crowd import TOP_K, Crowd, Truth
from benchmarks.release_simulation.source import CANARY, HISTORY_SECONDS, STABLE, T0, Rows, moment
from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.records import MAX_COMPARED_BP, AnalysisPlan, Decision, ModelVersion, Outcome, Phase, Verdict
from recsys_assets.rollout.act import read_state, rewrite
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.evidence import QUALITY
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.outcomes import ALL_BP
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.start import open_release
from recsys_assets.rollout.tick import tick
from recsys_assets_tests.rollout.aliases import Aliases

PLAN = AnalysisPlan(
    steps_bp=(1_000, 2_500, 5_000),
    margin=0.1,
    alpha=0.05,
    power=0.8,
    attribution_seconds=120,
    min_visitors_per_arm=100,
    shadow_requests=0,
    bake_seconds=180,
    deadline_seconds=6_000,
    lease_seconds=300,
    max_error_rate_increase=0.02,
    max_p99_ratio=2.0,
    max_degraded_rate_increase=0.05,
    history_seconds=HISTORY_SECONDS,
)

Seen = Callable[[Decision, RouteState], None]


Ending = Literal["champion", "harm", "episode", "futile", "undecided"]


@dataclass(frozen=True)
class Ended:
    """How a release ended. `ending`: champion, harm (shown, of `checks`: the digest is denied), episode (shown, of
    `checks`, but by one episode: it is not), futile, undecided (by the deadline).

    `visitors` and `seconds` up to the decision on quality: the last step passed, or the canary's weight was taken;
    `requests` and `exposed` (distinct visitors who got a canary answer) up to then, too.
    """

    ending: Ending
    checks: tuple[str, ...]
    visitors: int
    seconds: float
    requests: int
    exposed: int
    ticks: int
    weights: tuple[tuple[float, float], ...]
    why: str = ""


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> datetime:
        return moment(self.seconds)


def run(
    crowd: Crowd, truth: Truth, *, tick_seconds: float, plan: AnalysisPlan = PLAN, seen: Seen | None = None
) -> Ended:
    """Open the release, look at every tick, and tell how it ended. `seen` hears each decision and the route after it.

    A plan that may not open a release any more is put onto the route of one that did, as an older product left it.
    """
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        rows, clock = Rows(crowd, truth), Clock(-20.0)
        desk = _desk(Path(folder), rows, clock)
        open_release(desk, _model(STABLE), PLAN, actor="simulation")
        tick(desk, actor="simulation")
        clock.seconds = -10.0
        _open(desk, plan)
        return _watch(desk, rows, clock, tick_seconds, seen)


def _open(desk: Desk, plan: AnalysisPlan) -> None:
    if plan.steps_bp[-1] <= MAX_COMPARED_BP:
        open_release(desk, _model(CANARY), plan, actor="simulation")
        return
    state = open_release(desk, _model(CANARY), plan.model_copy(update={"steps_bp": (100,)}), actor="simulation")
    rewrite(desk.platform, state, release=state.release.model_copy(update={"plan": plan}))


def _watch(desk: Desk, rows: Rows, clock: Clock, tick_seconds: float, seen: Seen | None) -> Ended:
    decided: dict[str, Any] = {}
    ticks = 0
    while True:
        clock.seconds = ticks * tick_seconds
        rows.advance(clock.seconds)
        decision = tick(desk, actor="simulation")
        assert decision is not None
        ticks += 1
        state = read_state(desk.platform, desk.model_name)
        assert state is not None
        if seen is not None:
            seen(decision, state)
        if not decided and (decision.phase is Phase.BAKING or decision.phase.is_end):
            decided = _at_decision(decision, rows, clock)
        if state.phase.is_end:
            break
        rows.set_weight(state.split.canary_weight_bp / ALL_BP, clock.seconds)
    assert decision.phase is state.phase
    weights = tuple(((w.since - T0).total_seconds(), w.weight_bp / ALL_BP) for w in state.weights)
    return Ended(*_ending(decision), **decided, ticks=ticks, weights=weights, why=decision.reason)


def _at_decision(decision: Decision, rows: Rows, clock: Clock) -> dict[str, Any]:
    numbers = {m.name: m.n for v in decision.verdicts if v.check == QUALITY for m in v.measurements}
    asked = int(np.searchsorted(rows.crowd.at, clock.seconds))
    exposed = len(np.unique(rows.crowd.visitor[:asked][rows.canary[:asked]]))
    visitors = numbers.get("engagement_difference", 0)
    return {"visitors": visitors, "seconds": clock.seconds, "requests": asked, "exposed": exposed}


def _ending(decision: Decision) -> tuple[Ending, tuple[str, ...]]:
    if decision.phase is Phase.CHAMPION:
        return "champion", ()
    failed = tuple(sorted(v.check for v in decision.verdicts if v.outcome is Outcome.FAIL))
    if decision.phase is Phase.ROLLED_BACK and failed:
        return "harm", failed
    if decision.episode is not None:
        return "episode", failed
    return ("futile" if any(v.futile for v in decision.verdicts) else "undecided"), ()


def _desk(folder: Path, rows: Rows, clock: Clock) -> Desk:
    store = ManifestStore(folder / "manifests.db")
    for version in (STABLE, CANARY):
        _serve(store, _model(version))
    return Desk(
        model_name="recommender",
        platform=store,
        ledger=Ledger(folder / "ledger.db"),
        metrics=rows,
        registry=Aliases({v: _model(v) for v in (STABLE, CANARY)}, {"challenger": CANARY}),
        gate=lambda of: Verdict(
            check="offline_gate", model_version=of.version, outcome=Outcome.PASS, reason="not simulated"
        ),
        top_k=TOP_K,
        clock=clock,
    )


def _model(version: str) -> ModelVersion:
    return ModelVersion(
        name="recommender",
        version=version,
        run_id=f"run{version}",
        feature_service="simulated",
        table_versions={},
        code_version="simulated",
        bundle_digest=version * 64,
        as_of=T0,
    )


def _serve(store: ManifestStore, model: ModelVersion) -> None:
    made = store.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": INFERENCE_SERVICE,
            "metadata": {
                "name": model.service_name,
                "labels": model.labels(),
                "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
            },
            "spec": {"predictor": {"containers": [{"name": "server", "command": ["true"]}]}},
        },
        expected=ANY,
    )
    metadata = made["metadata"]
    status = {"observedGeneration": metadata["generation"], "ready": True, "reason": "simulated"}
    store.set_status(INFERENCE_SERVICE, model.service_name, uid=metadata["uid"], status=status)


def endings(found: list[Ended]) -> Counter[str]:
    return Counter(e.ending for e in found)
