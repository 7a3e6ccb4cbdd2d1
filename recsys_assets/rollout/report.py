"""What the UI shows of a release: pictures, numbers and the ledger as a table.

Here: gathering for assets.py. Not here: deciding, or drawing itself (plots.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg

from recsys_assets.records import ModelVersion, Verdict
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.rollout.outcomes import visitor_outcomes
from recsys_assets.rollout.plots import engagement_plot, shadow_plot, weight_plot
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.settle import audience
from recsys_assets.rollout.shadow import compare_shadow, shadow_pairs
from recsys_assets.rollout.tick import LOOK_BACK_SECONDS, scope_of


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


def shadow_report(desk: Desk, release_id: str) -> ShadowReport:
    """The comparison as the logs tell it now; the copies of a release that went on are still in them."""
    opened = next(e for e in desk.ledger.events(release_id) if e.kind == "opened")
    state = read_state(desk.platform, desk.model_name)
    model = ModelVersion.model_validate(opened.body["model"])
    began = next((e.at for e in desk.ledger.events(release_id) if e.kind == "shadow"), None)
    if state is None or state.release.release_id != release_id or began is None:
        return ShadowReport(model, "nothing was copied")
    from dataclasses import replace

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
    logs = desk.metrics.logs(state.release.opened_at - timedelta(seconds=LOOK_BACK_SECONDS))
    scope = scope_of(state, top_k=desk.top_k, now=now)
    seen = {
        f"{row['variant']}_visitors": float(row["visitors"])
        for row in audience(logs, since=scope.start or now, until=now)
    }
    numbers = _numbers(judge(logs, scope)) | seen
    picture = engagement_plot(scope, visitor_outcomes(logs, scope))
    return CanaryReport(state.split.canary_weight_bp, weight_plot(state, now=now), picture, numbers)


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
