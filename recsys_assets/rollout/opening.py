"""The desk of a run or a sensor, out of its resources, and the offline gate that it reads.

Here: putting the parts together. Not here: what is done with them (tick.py), or the desk itself (desk.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsys_assets.records import Decision, ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import read_gate
from recsys_assets.rollout.clocks import machine_clock
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.guarding import guard_lock, is_guarded
from recsys_assets.rollout.ledger import open_ledger
from recsys_assets.rollout.metrics import kept_metrics
from recsys_assets.rollout.route import RouteState
from recsys_assets.serving.assets import CHALLENGER_SERVICE, gate_names, gates
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
        ledger=open_ledger(settings),
        metrics=kept_metrics(settings.home),
        registry=registry,
        gate=lambda model: offline_gate(settings, instance, model),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
        mark=machine_clock,
        guarded=lambda: is_guarded(guard_lock(settings)),
        bundle=lambda model: bundle_gate(settings, model),
        show_question=lambda state, decision: _show(settings, instance, state, decision),
    )


def _show(settings: Settings, instance: dg.DagsterInstance, state: RouteState, decision: Decision) -> None:
    """An observation of the asset `canary`, by no run: a sensor may be who found out."""
    from recsys_assets.rollout.report import question

    instance.report_runless_asset_event(question(settings, state, decision))


def offline_gate(settings: Settings, instance: dg.DagsterInstance, model: ModelVersion) -> Verdict:
    """Every blocking check from the ranker to its service, read again for exactly this version, and its bundle."""
    asked = gates(settings) | {CHALLENGER_SERVICE: tuple(CHECKS)}
    found = [read_gate(instance, asset, names, model.version) for asset, names in asked.items()]
    found.append(bundle_gate(settings, model))
    bad = [v for v in found if v.outcome is not Outcome.PASS]
    failed = any(v.outcome is Outcome.FAIL for v in bad)
    outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE if bad else Outcome.PASS
    reason = "; ".join(f"{v.check}: {v.reason}" for v in bad) or f"{len(found)} gates passed"
    return Verdict(check="offline_gate", model_version=model.version, outcome=outcome, reason=reason)


def bundle_gate(settings: Settings, model: ModelVersion) -> Verdict:
    """Signature, digest and attestation of the bundle as it stands now, against the registry's record of it."""
    from recsys_assets.serving.attestation import vouch
    from recsys_assets.signing import BundleRefused, KeyMissing

    bundle, keys = settings.path("bundles", model.version), settings.path("keys")
    try:
        vouch(model, bundle=bundle, keys=keys, checks=gate_names(settings))
    except KeyMissing as missing:
        outcome, reason = Outcome.INCONCLUSIVE, f"{type(missing).__name__}: {missing}"
    except BundleRefused as refused:
        outcome, reason = Outcome.FAIL, f"{type(refused).__name__}: {refused}"
    else:
        outcome, reason = Outcome.PASS, "signed, attested and this version's"
    return Verdict(check="bundle", model_version=model.version, outcome=outcome, reason=reason)
