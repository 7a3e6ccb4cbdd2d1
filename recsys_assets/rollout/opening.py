"""The desk of a run or a sensor, out of its resources, and the offline gate that it reads.

Here: putting the parts together. Not here: what is done with them (tick.py), or the desk itself (desk.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import read_gate
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.serving.assets import CHALLENGER_SERVICE, gates
from recsys_assets.serving.verdicts import CHECKS
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from recsys_assets.resources.platform import PlatformResource
    from recsys_assets.resources.registry import ModelRegistryResource


def open_desk(
    settings: Settings, platform: PlatformResource, registry: ModelRegistryResource, instance: dg.DagsterInstance
) -> Desk:
    """Everything a tick works with, from the resources of a run or a sensor."""
    return Desk(
        model_name=settings.model_name,
        platform=platform,
        ledger=Ledger(settings.path("ledger.db")),
        metrics=LogMetrics(settings.home),
        registry=registry,
        gate=lambda model: offline_gate(settings, instance, model),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
    )


def offline_gate(settings: Settings, instance: dg.DagsterInstance, model: ModelVersion) -> Verdict:
    """Every blocking check from the ranker to its service, read again for exactly this version."""
    asked = gates(settings) | {CHALLENGER_SERVICE: tuple(CHECKS)}
    found = [read_gate(instance, asset, names, model.version) for asset, names in asked.items()]
    bad = [v for v in found if v.outcome is not Outcome.PASS]
    failed = any(v.outcome is Outcome.FAIL for v in bad)
    outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE if bad else Outcome.PASS
    reason = "; ".join(f"{v.check}: {v.reason}" for v in bad) or f"{len(found)} gates passed"
    return Verdict(check="offline_gate", model_version=model.version, outcome=outcome, reason=reason)
