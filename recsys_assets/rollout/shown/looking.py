"""The desk of a person who only looks: what a tick would read, without Dagster's instance, and nothing is changed.

Here: its parts, for the command line. Not here: the view itself (view.py). It works while Dagster and MLflow are dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recsys_assets.platform.build import has_platform, open_platform
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.clocks import machine_clock
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.guarding import guard_lock, is_guarded
from recsys_assets.rollout.ledger import Ledger, open_ledger
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.platform.interface import Platform

_GATE = "offline_gate"


class Nothing:
    """In place of a platform or a registry that is not asked: a home before its first start has none."""

    def get(self, kind: str, name: str) -> Mapping[str, Any] | None:
        return None


def looking_desk(settings: Settings) -> Desk:
    """Opens nothing that is not there yet."""
    ledger, nothing = open_ledger(settings), Nothing()
    platform: Platform = open_platform(settings) if has_platform(settings) else nothing  # type: ignore[assignment]
    return Desk(
        model_name=settings.model_name,
        platform=platform,
        ledger=ledger,
        metrics=LogMetrics(settings.home),
        registry=nothing,  # type: ignore[arg-type]
        gate=lambda model: gate_by_rows(ledger, model),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
        mark=machine_clock,
        guarded=lambda: is_guarded(guard_lock(settings)),
        bundle=lambda model: _bundle(settings, model),
    )


def gate_by_rows(ledger: Ledger, model: ModelVersion) -> Verdict:
    """The offline gate is kept by Dagster; the ledger has what the latest tick read of it."""
    mine = [r.release_id for r in ledger.releases() if r.digest == model.bundle_digest]
    events = ledger.events(mine[-1]) if mine else []
    said = [str(e.body.get("reason", "")) for e in events if e.kind == rows.WAITING]
    reason = said[-1].removeprefix("offline gate: ") if said else "the next tick reads it"
    return Verdict(check=_GATE, model_version=model.version, outcome=Outcome.INCONCLUSIVE, reason=reason)


def _bundle(settings: Settings, model: ModelVersion) -> Verdict:
    from recsys_assets.rollout.opening import bundle_gate

    return bundle_gate(settings, model)
