"""What the UI shows of a release: metadata with pictures and numbers, check results, the ledger as a table.

Here: gathering for assets.py. Not here: deciding, or drawing itself (plots.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg

from recsys_assets.records import AnalysisPlan, Decision, ModelVersion, Outcome, Phase, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.jobs import CANARY
from recsys_assets.rollout.ledger import OPENED, Ledger
from recsys_assets.rollout.outcomes import visitor_outcomes
from recsys_assets.rollout.plots import engagement_plot, shadow_plot, weight_plot
from recsys_assets.rollout.promises import promises
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.shadow import compare_shadow, shadow_pairs
from recsys_assets.rollout.shown.view import ReleaseView
from recsys_assets.rollout.tick import LOOK_BACK_SECONDS, scope_of
from recsys_assets.rollout.words import APPROVE_JOB, how_to_approve, launchpad, steer
from recsys_assets.settings import Settings


def canary_check(name: str, view: ReleaseView) -> dg.AssetCheckResult:
    """A check that is not decided yet warns; one that failed, or that is open when the release has ended, stops."""
    first = view.follows is None
    why = "a first release: there is no stable to compare with" if first else "nothing was analysed yet"
    missing = Verdict(check=name, model_version=view.version, outcome=Outcome.INCONCLUSIVE, reason=why)
    verdict = next((v for v in view.verdicts if v.check == name), missing)
    lost = view.phase.is_end and view.phase is not Phase.CHAMPION
    stops = verdict.outcome is Outcome.FAIL or (lost and not verdict.passed)
    severity = dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN
    return check_result(verdict, severity=severity)


def identity(model: ModelVersion) -> dict[str, Any]:
    """The same record that stands wherever the model goes."""
    return {"model_version": model.version, "record": dg.MetadataValue.json(model.model_dump(mode="json"))}


def place(view: ReleaseView) -> dict[str, Any]:
    """Where the release is, in the same words as everywhere."""
    return {
        "release": view.release_id,
        "phase": view.phase.value,
        "canary_weight_bp": view.weight_bp,
        "action": view.action,
        "reason": view.why,
        "who_saw_what": view.who_saw,
        "looked_at": view.looked_at.isoformat(timespec="seconds"),
    }


def shadow_metadata(desk: Desk, view: ReleaseView) -> dict[str, Any]:
    """Of the asset `shadow_comparison`."""
    plot, numbers = shadow_report(desk, view)
    return {
        **place(view),
        "plot": dg.MetadataValue.md(plot),
        **numbers,
        "ledger": ledger_table(desk.ledger, view.release_id),
        **identity(view.model),
    }


def canary_metadata(desk: Desk, view: ReleaseView, *, ui_url: str) -> dict[str, Any]:
    """Of the asset `canary`."""
    steering = {} if view.phase.is_end else {"steer": dg.MetadataValue.md(steer(ui_url, view.release_id))}
    weight = "the route is gone" if view.state is None else weight_plot(view.state, now=view.looked_at)
    return {
        **place(view),
        **steering,
        "plan": _promised(desk.ledger, view),
        "engagement": dg.MetadataValue.md(_engagement(desk, view)),
        "weight": dg.MetadataValue.md(weight),
        **_numbers(view.verdicts),
        **{f"{a.variant}_visitors": float(a.visitors) for a in view.seen},
        "ledger": ledger_table(desk.ledger, view.release_id),
        **identity(view.model),
    }


def shadow_report(desk: Desk, view: ReleaseView) -> tuple[str, dict[str, float]]:
    """The comparison as the logs tell it now; the copies of a release that went on are still in them."""
    began = next((e.at for e in desk.ledger.events(view.release_id) if e.kind == "shadow"), None)
    if view.state is None or began is None:
        return "nothing was copied", {}
    as_shadow = replace(view.state, entered_at=began)
    until = next((w.since for w in view.state.weights), view.looked_at)
    logs = desk.metrics.logs(began)
    verdict = compare_shadow(logs, as_shadow, now=until)
    return shadow_plot(shadow_pairs(logs, as_shadow, now=until)), _numbers((verdict,))


def _engagement(desk: Desk, view: ReleaseView) -> str:
    state = view.state
    if state is None or not state.weights:
        return "no user saw a canary"
    look_back = max(LOOK_BACK_SECONDS, state.release.plan.history_seconds)
    logs = desk.metrics.logs(state.release.opened_at - timedelta(seconds=look_back))
    scope = scope_of(state, top_k=desk.top_k, now=view.looked_at)
    return engagement_plot(scope, visitor_outcomes(logs, scope))


def _promised(ledger: Ledger, view: ReleaseView) -> dg.TableMetadataValue:
    if view.state is not None:
        return plan_table(view.state.release.plan)
    opened = next((e.body for e in ledger.events(view.release_id) if e.kind == OPENED), {})
    return _promise_table(opened.get("plan", {}))


def plan_table(plan: AnalysisPlan) -> dg.TableMetadataValue:
    """What was promised when the release opened; the route keeps it, and nobody changes it."""
    return _promise_table(plan.model_dump(mode="json"))


def _promise_table(plan: Mapping[str, Any]) -> dg.TableMetadataValue:
    rows = [{"promise": name, "value": value, "meaning": meaning} for name, value, meaning in promises(plan)]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def verdict_table(verdicts: Sequence[Verdict]) -> dg.TableMetadataValue:
    """One row a verdict."""
    rows = [{"check": v.check, "outcome": v.outcome.value, "reason": v.reason} for v in verdicts]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def question(settings: Settings, state: RouteState, decision: Decision) -> dg.AssetObservation:
    """That a release waits for a person, with the job to launch and its config ready to fill in."""
    release_id = state.release.release_id
    asked, url = how_to_approve(release_id), launchpad(settings.ui_url, APPROVE_JOB, release_id)
    return dg.AssetObservation(
        CANARY,
        description=f"{release_id} waits for a person's approval",
        metadata={
            "release": release_id,
            "approve": dg.MetadataValue.url(url),
            "job": asked["job"],
            "run_config": dg.MetadataValue.json(asked["run_config"]),
            "command": asked["command"],
            "verdicts": verdict_table(decision.verdicts),
            "plan": plan_table(state.release.plan),
            "canary_weight_bp": state.split.canary_weight_bp,
        },
    )


def ledger_table(ledger: Ledger, release_id: str) -> dg.TableMetadataValue:
    """Every row of one release."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "seq": event.seq,
                    "at": event.at.isoformat(timespec="seconds"),
                    "what": event.kind,
                    "by": event.actor,
                    "canary_weight_bp": int(event.body.get("weight_bp", 0)),
                    "why": str(event.body.get("reason", "")),
                }
            )
            for event in ledger.events(release_id)
        ]
    )


def _numbers(verdicts: Iterable[Verdict]) -> dict[str, float]:
    return {m.name: float(m.value) for v in verdicts for m in v.measurements if m.value is not None}
