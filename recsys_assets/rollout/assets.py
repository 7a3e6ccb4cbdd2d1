"""The assets of a release: `shadow_comparison`, `canary`, `champion`, and the jobs that move one.

Here: assets, their checks' results and metadata. Not here: decisions (phases.py), statistics, acting (tick.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from recsys_assets.records import Decision, ModelVersion, Outcome, Phase, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.jobs import build_person_jobs
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.route import RouteState

SHADOW_COMPARISON, CANARY, CHAMPION = "shadow_comparison", "canary", "champion"
RELEASE_JOB, ADVANCE_JOB = "release", "advance_release"
RELEASE_ASSETS = (
    "online_features",
    "training_rows",
    "candidate_index",
    "ranker_model",
    "evaluation_report",
    "challenger_service",
    SHADOW_COMPARISON,
    CANARY,
    CHAMPION,
)
GUARD = "guard"
CANARY_CHECKS = {
    "canary_is_not_worse": "The canary's engagement is shown to be within the margin of stable's.",
    "canary_has_no_more_errors": "The canary is shown to fail no more often than the plan allows.",
    "canary_is_not_slower": "The canary's 99th percentile is shown to be within the plan's ratio of stable's.",
    "canary_answers_are_not_degraded": "The canary is shown to give no more degraded or empty answers than allowed.",
    "canary_traffic_matches_its_weight": "Visitors arrive in the two arms at the planned shares.",
    "exposures_are_counted": "What the servers say they showed is what the gateway served.",
    "stable_is_healthy": "Stable is fit to take the users back.",
}
Until = Literal["by_job", "one_tick", "decided"]


class ReleaseConfig(dg.Config):
    """`until`: "one_tick" looks and acts once; "decided" stays until the release has left this asset's phases.

    "by_job": `release` stays, everything else ticks once."""

    until: Until = "by_job"

    def stays(self, context: dg.AssetExecutionContext) -> bool:
        in_release = context.run.job_name == RELEASE_JOB
        return self.until == "decided" or (self.until == "by_job" and in_release)


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's three assets."""
    return [_shadow_comparison(settings), _canary(settings), _champion(settings)]


def _shadow_comparison(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=SHADOW_COMPARISON,
        group_name="rollout",
        deps=["challenger_service"],
        kinds={"envoy"},
        owners=["team:recommender"],
        automation_condition=dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed(),
    )
    def shadow_comparison(
        context: dg.AssetExecutionContext,
        config: ReleaseConfig,
        platform: PlatformResource,
        registry: ModelRegistryResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """The challenger's answers to copies of real requests, beside stable's answers to the same requests.

        Opens the release where none is under way. One object for each release; as fresh as the latest tick. A first
        release has no stable to compare with and goes straight to everybody.
        """
        desk = open_desk(settings, platform, registry, context.instance)
        platform.ensure_running(GUARD)  # no user sees a canary that nobody guards
        state = _open(desk, settings, context, registry)
        release = state.release.release_id
        if state.phase in {Phase.GATED, Phase.SHADOW}:
            _tick(
                desk, settings, context, config, {Phase.GATED, Phase.SHADOW}, traffic=state.release.champion is not None
            )
        metadata, phase = _shadow_metadata(desk, release)
        if phase in {Phase.REJECTED, Phase.HELD}:
            raise dg.Failure(f"{release} ended as {phase.value}: {_why(desk, release)}", metadata, allow_retries=False)
        return dg.MaterializeResult(metadata=metadata)

    return shadow_comparison


def _canary(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=CANARY,
        group_name="rollout",
        deps=[SHADOW_COMPARISON],
        check_specs=[
            dg.AssetCheckSpec(name, asset=CANARY, blocking=True, description=asserts)
            for name, asserts in CANARY_CHECKS.items()
        ],
        kinds={"envoy"},
        owners=["team:recommender"],
    )
    def canary(
        context: dg.AssetExecutionContext,
        config: ReleaseConfig,
        platform: PlatformResource,
        registry: ModelRegistryResource,
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        """The release under way with its traffic split, as the latest tick left it.

        One materialization is one tick, or in the job `release` all ticks until a decision. The route object is the
        truth of it; this shows it, with the verdicts that it stands on.
        """
        from recsys_assets.rollout.waiting import standing

        desk = open_desk(settings, platform, registry, context.instance)
        platform.ensure_running(GUARD)  # no user sees a canary that nobody guards
        state = standing(desk)
        if state.phase.is_end:
            decisions = _tick_once(desk, context)
        else:
            traffic = state.release.champion is not None
            decisions = _tick(desk, settings, context, config, {p for p in Phase if not p.is_end}, traffic=traffic)
        verdicts = _last_verdicts(desk, decisions, state.release.release_id)
        phase, why = _standing_of(desk, state.release.release_id)
        yield dg.MaterializeResult(
            metadata=_canary_metadata(desk, state, decisions[-1]),
            check_results=[_check(name, verdicts, state, phase) for name in CANARY_CHECKS],
        )
        if phase.is_end and phase is not Phase.CHAMPION and (config.stays(context) or not state.phase.is_end):
            message = f"{state.release.release_id} ended as {phase.value}: {why}"
            raise dg.Failure(message, {"model_version": state.version}, allow_retries=False)

    return canary


def _champion(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=CHAMPION,
        group_name="rollout",
        deps=[CANARY],
        output_required=False,
        kinds={"mlflow"},
        owners=["team:recommender"],
    )
    def champion(
        context: dg.AssetExecutionContext,
        config: ReleaseConfig,
        platform: PlatformResource,
        registry: ModelRegistryResource,
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        """The model version that all users get, promoted by a release and by nothing else.

        One object, new with each promotion. Skipped in `advance_release` until there is a promotion.
        """
        from recsys_assets.rollout.waiting import standing

        desk = open_desk(settings, platform, registry, context.instance)
        state = standing(desk)
        model = state.release.model
        if not (state.phase is Phase.CHAMPION and desk.ledger.promoted(model.version, model.bundle_digest)):
            told = f"version {model.version} is not promoted: {state.release.release_id} is {state.phase.value}"
            if context.run.job_name == ADVANCE_JOB and not state.phase.is_end:
                context.log.info(told)
                return
            raise dg.Failure(told, {"model_version": model.version, "reason": state.reason}, allow_retries=False)
        registry.set_alias("champion", model.version)
        yield dg.MaterializeResult(
            metadata=_record(model) | {"release": state.release.release_id, "reason": state.reason}
        )

    return champion


def build_jobs(settings: Settings) -> list[Any]:
    """`release`: from rows to a decision; `advance_release`: one tick of the one under way; and a person's jobs."""
    return [
        dg.define_asset_job(
            RELEASE_JOB,
            selection=dg.AssetSelection.assets(*RELEASE_ASSETS),
            description="Train, evaluate, deploy and release a model; fails unless it becomes the champion.",
        ),
        dg.define_asset_job(
            ADVANCE_JOB,
            selection=dg.AssetSelection.assets(SHADOW_COMPARISON, CANARY, CHAMPION),
            description="Move the release under way on by one tick; the canary sensor starts this.",
        ),
        *build_person_jobs(settings),
    ]


def open_desk(
    settings: Settings, platform: PlatformResource, registry: ModelRegistryResource, instance: dg.DagsterInstance
) -> "Desk":
    """Everything a tick works with, from the resources of a run or a sensor."""
    from datetime import UTC, datetime

    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.ledger import Ledger
    from recsys_assets.rollout.metrics import LogMetrics

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
    from recsys_assets.resources.gates import read_gate
    from recsys_assets.serving.assets import CHALLENGER_SERVICE, gates
    from recsys_assets.serving.verdicts import CHECKS

    asked = gates(settings) | {CHALLENGER_SERVICE: tuple(CHECKS)}
    found = [read_gate(instance, asset, names, model.version) for asset, names in asked.items()]
    bad = [v for v in found if v.outcome is not Outcome.PASS]
    failed = any(v.outcome is Outcome.FAIL for v in bad)
    outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE if bad else Outcome.PASS
    reason = "; ".join(f"{v.check}: {v.reason}" for v in bad) or f"{len(found)} gates passed"
    return Verdict(check="offline_gate", model_version=model.version, outcome=outcome, reason=reason)


def _open(
    desk: "Desk", settings: Settings, context: dg.AssetExecutionContext, registry: ModelRegistryResource
) -> "RouteState":
    from recsys_assets.rollout.act import read_state
    from recsys_assets.rollout.desk import ReleaseRefused
    from recsys_assets.rollout.tick import open_release

    state = read_state(desk.platform, desk.model_name)
    if state is not None and not state.phase.is_end and context.run.job_name != RELEASE_JOB:
        return state
    model = registry.challenger()
    if model is None:
        raise dg.Failure("no challenger is registered, so there is nothing to release", allow_retries=False)
    gate = desk.gate(model)
    if not gate.passed:
        raise dg.Failure(f"version {model.version} is not released: {gate.reason}", _record(model), allow_retries=False)
    try:
        return open_release(desk, model, settings.rollout.plan, actor=f"dagster run {context.run.run_id}")
    except ReleaseRefused as refused:
        raise dg.Failure(f"refused: {refused}", _record(model), allow_retries=False) from refused


def _tick(
    desk: "Desk",
    settings: Settings,
    context: dg.AssetExecutionContext,
    config: ReleaseConfig,
    phases: set[Phase],
    *,
    traffic: bool,
) -> list[Decision]:
    """One tick, or ticks until the release has left these phases, beside replayed visitors where that is set."""
    from recsys_assets.rollout.waiting import tick_while
    from recsys_assets.traffic.background import replaying

    if not config.stays(context):
        return _tick_once(desk, context)
    decisions: list[Decision] = []

    def tell(decision: Decision) -> None:
        before = decisions[-1] if decisions else None
        if before is None or (before.action, before.phase, before.step) != (
            decision.action,
            decision.phase,
            decision.step,
        ):
            context.log.info(f"{decision.action} {decision.phase.value} step {decision.step}: {decision.reason}")
        decisions.append(decision)

    visitors = replaying(settings) if traffic and settings.traffic.in_jobs else nullcontext()
    with visitors:
        tick_while(desk, phases, actor=_actor(context), tick_seconds=settings.rollout.tick_seconds, tell=tell)
    return decisions


def _place(decision: Decision) -> tuple[str, Phase, int]:
    return decision.action, decision.phase, decision.step


def _tick_once(desk: "Desk", context: dg.AssetExecutionContext) -> list[Decision]:
    from recsys_assets.rollout.waiting import one_tick

    decision = one_tick(desk, actor=_actor(context))
    context.log.info(f"{decision.action} {decision.phase.value} step {decision.step}: {decision.reason}")
    return [decision]


def _actor(context: dg.AssetExecutionContext) -> str:
    return f"dagster run {context.run.run_id[:8]}"


def _standing_of(desk: "Desk", release_id: str) -> tuple[Phase, str]:
    """Phase and reason by the ledger, which outlives the route of a first release that was rejected."""
    row = next(r for r in desk.ledger.releases() if r.release_id == release_id)
    return row.phase, row.why


def _why(desk: "Desk", release_id: str) -> str:
    return _standing_of(desk, release_id)[1]


def _last_verdicts(desk: "Desk", decisions: Sequence[Decision], release_id: str) -> dict[str, Verdict]:
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


def _check(name: str, verdicts: dict[str, Verdict], state: "RouteState", phase: Phase) -> dg.AssetCheckResult:
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


def _record(model: ModelVersion) -> dict[str, Any]:
    return {"model_version": model.version, "record": dg.MetadataValue.json(model.model_dump(mode="json"))}


def _shadow_metadata(desk: "Desk", release_id: str) -> tuple[dict[str, Any], Phase]:
    from recsys_assets.rollout.report import ledger_table, shadow_report

    phase, why = _standing_of(desk, release_id)
    report = shadow_report(desk, release_id)
    return {
        **_record(report.model),
        "release": release_id,
        "phase": phase.value,
        "reason": why,
        **report.numbers,
        "plot": dg.MetadataValue.md(report.plot),
        "ledger": ledger_table(desk.ledger, release_id),
    }, phase


def _canary_metadata(desk: "Desk", before: "RouteState", decision: Decision) -> dict[str, Any]:
    from recsys_assets.rollout.report import canary_report, ledger_table

    release_id = before.release.release_id
    report = canary_report(desk, release_id, before)
    phase, why = _standing_of(desk, release_id)
    return {
        **_record(before.release.model),
        "release": release_id,
        "action": decision.action,
        "phase": phase.value,
        "reason": why if phase.is_end else decision.reason,
        "canary_weight_bp": report.weight_bp,
        **report.numbers,
        "weight": dg.MetadataValue.md(report.weight_plot),
        "engagement": dg.MetadataValue.md(report.engagement_plot),
        "ledger": ledger_table(desk.ledger, release_id),
    }
