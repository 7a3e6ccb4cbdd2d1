"""What the UI shows of a release: metadata with pictures and numbers, check results, the ledger as a table.

Here: gathering for assets.py. Not here: deciding, or drawing itself (plots.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import dagster as dg

from recsys_assets.records import AnalysisPlan, Decision, ModelVersion, Outcome, Phase, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.jobs import CANARY
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.outcomes import visitor_outcomes
from recsys_assets.rollout.plots import engagement_plot, shadow_plot, weight_plot
from recsys_assets.rollout.promises import promises
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.settle import audience
from recsys_assets.rollout.shadow import compare_shadow, shadow_pairs
from recsys_assets.rollout.tick import LOOK_BACK_SECONDS, scope_of
from recsys_assets.rollout.words import APPROVE_JOB, how_to_approve, launchpad, steer
from recsys_assets.settings import Settings


@dataclass(frozen=True)
class ShadowReport:
    model: ModelVersion
    plot: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CanaryReport:
    weight_bp: int
    weight_plot: str
    engagement_plot: str
    numbers: dict[str, float] = field(default_factory=dict)


def standing_of(desk: Desk, release_id: str) -> tuple[Phase, str]:
    """Phase and reason by the ledger, which outlives the route of a first release that was rejected."""
    row = next(r for r in desk.ledger.releases() if r.release_id == release_id)
    return row.phase, row.why


def last_verdicts(desk: Desk, decisions: Sequence[Decision], release_id: str) -> dict[str, Verdict]:
    """The latest verdict of each check: of the row that ended the release, whoever wrote it (the guard may have been
    faster), else of these ticks, else of the ledger's rows before them."""
    events = desk.ledger.events(release_id)
    ends = {phase.value for phase in Phase if phase.is_end}
    before = [v for e in events if e.kind not in ends for v in e.body.get("verdicts", [])]
    at_the_end = [v for e in events if e.kind in ends for v in e.body.get("verdicts", [])]
    found = [Verdict.model_validate(v) for v in before]
    found += [v for d in decisions for v in d.verdicts]
    found += [Verdict.model_validate(v) for v in at_the_end]
    return {v.check: v for v in found}


def canary_check(name: str, verdicts: dict[str, Verdict], state: RouteState, phase: Phase) -> dg.AssetCheckResult:
    """A check that is not decided yet warns; one that failed, or that is open when the release has ended, stops."""
    if state.release.champion is None:
        why = "a first release: there is no stable to compare with"
    else:
        why = "nothing was analysed yet"
    missing = Verdict(check=name, model_version=state.version, outcome=Outcome.INCONCLUSIVE, reason=why)
    verdict = verdicts.get(name, missing)
    lost = phase.is_end and phase is not Phase.CHAMPION
    stops = verdict.outcome is Outcome.FAIL or (lost and not verdict.passed)
    severity = dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN
    return check_result(verdict, severity=severity)


def identity(model: ModelVersion) -> dict[str, Any]:
    """The same record that stands wherever the model goes."""
    return {"model_version": model.version, "record": dg.MetadataValue.json(model.model_dump(mode="json"))}


def shadow_metadata(desk: Desk, release_id: str) -> dict[str, Any]:
    """Of the asset `shadow_comparison`."""
    phase, why = standing_of(desk, release_id)
    report = shadow_report(desk, release_id)
    return {
        "release": release_id,
        "phase": phase.value,
        "reason": why,
        "plot": dg.MetadataValue.md(report.plot),
        **report.numbers,
        "ledger": ledger_table(desk.ledger, release_id),
        **identity(report.model),
    }


def canary_metadata(desk: Desk, before: RouteState, decision: Decision, *, ui_url: str) -> dict[str, Any]:
    """Of the asset `canary`; `before` is the route as it was when the run began."""
    release_id = before.release.release_id
    report = canary_report(desk, release_id, before)
    phase, why = standing_of(desk, release_id)
    steering = {} if phase.is_end else {"steer": dg.MetadataValue.md(steer(ui_url, release_id))}
    return {
        "release": release_id,
        **steering,
        "action": decision.action,
        "phase": phase.value,
        "reason": why if phase.is_end else decision.reason,
        "canary_weight_bp": report.weight_bp,
        "plan": plan_table(before.release.plan),
        "engagement": dg.MetadataValue.md(report.engagement_plot),
        "weight": dg.MetadataValue.md(report.weight_plot),
        **report.numbers,
        "ledger": ledger_table(desk.ledger, release_id),
        **identity(before.release.model),
    }


def shadow_report(desk: Desk, release_id: str) -> ShadowReport:
    """The comparison as the logs tell it now; the copies of a release that went on are still in them."""
    opened = next(e for e in desk.ledger.events(release_id) if e.kind == "opened")
    state = read_state(desk.platform, desk.model_name)
    model = ModelVersion.model_validate(opened.body["model"])
    began = next((e.at for e in desk.ledger.events(release_id) if e.kind == "shadow"), None)
    if state is None or state.release.release_id != release_id or began is None:
        return ShadowReport(model, "nothing was copied")
    now, as_shadow = desk.clock(), replace(state, entered_at=began)
    until = next((w.since for w in state.weights), now)
    logs = desk.metrics.logs(began)
    verdict = compare_shadow(logs, as_shadow, now=until)
    return ShadowReport(model, shadow_plot(shadow_pairs(logs, as_shadow, now=until)), _numbers((verdict,)))


def canary_report(desk: Desk, release_id: str, before: RouteState) -> CanaryReport:
    """The split and the engagement up to now; `before` is used where the route object is gone."""
    now, state = desk.clock(), read_state(desk.platform, desk.model_name) or before
    if not state.weights:
        return CanaryReport(state.split.canary_weight_bp, weight_plot(state, now=now), "no user saw a canary")
    look_back = max(LOOK_BACK_SECONDS, state.release.plan.history_seconds)
    logs = desk.metrics.logs(state.release.opened_at - timedelta(seconds=look_back))
    scope = scope_of(state, top_k=desk.top_k, now=now)
    seen = {
        f"{row['variant']}_visitors": float(row["visitors"])
        for row in audience(logs, since=scope.start or now, until=now)
    }
    numbers = _numbers(judge(logs, scope)) | seen
    picture = engagement_plot(scope, visitor_outcomes(logs, scope))
    return CanaryReport(state.split.canary_weight_bp, weight_plot(state, now=now), picture, numbers)


def plan_table(plan: AnalysisPlan) -> dg.TableMetadataValue:
    """What was promised when the release opened; the route keeps it, and nobody changes it."""
    rows = [
        {"promise": name, "value": value, "meaning": meaning}
        for name, value, meaning in promises(plan.model_dump(mode="json"))
    ]
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


def _numbers(verdicts: tuple[Verdict, ...]) -> dict[str, float]:
    return {m.name: float(m.value) for v in verdicts for m in v.measurements if m.value is not None}
