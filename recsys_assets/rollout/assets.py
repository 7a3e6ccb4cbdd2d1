"""The assets of a release: `shadow_comparison`, `canary` and `champion`.

Here: what a run does, and how it ends. Not here: decisions (phases.py), acting (tick.py), metadata (report.py).
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import dagster as dg

from recsys_assets.records import Decision, Phase
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.check_names import CANARY_CHECKS
from recsys_assets.rollout.jobs import CANARY, CHAMPION, RELEASE_JOB, RELEASE_TAG, SHADOW_COMPARISON
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.route import RouteState

GUARD = "guard"
Until = Literal["by_job", "one_tick", "decided"]


class ReleaseConfig(dg.Config):
    """`until`: "one_tick" looks and acts once; "decided" stays until the release has left this asset's phases.

    "by_job": `release` stays, everything else ticks once. What the drift sensor asks for ticks once as well."""

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
        from recsys_assets.rollout.opening import open_desk
        from recsys_assets.rollout.report import shadow_metadata
        from recsys_assets.rollout.shown.events import shown_marks
        from recsys_assets.rollout.shown.view import of_release
        from recsys_assets.rollout.waiting import await_guard

        desk = open_desk(settings, platform, registry, context.instance)
        platform.ensure_running(GUARD)  # no user sees a canary that nobody guards
        await_guard(desk)
        state = _open(desk, settings, context, registry)
        release = state.release.release_id
        context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: release})
        if state.phase in {Phase.GATED, Phase.SHADOW}:
            _tick(
                desk, settings, context, config, {Phase.GATED, Phase.SHADOW}, traffic=state.release.champion is not None
            )
        view = of_release(desk, release)
        metadata = shadow_metadata(desk, view) | shown_marks(view)
        if view.phase in {Phase.REJECTED, Phase.HELD}:
            raise dg.Failure(f"{release} ended as {view.phase.value}: {view.why}", metadata, allow_retries=False)
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
        from recsys_assets.rollout.opening import open_desk
        from recsys_assets.rollout.report import canary_check, canary_metadata
        from recsys_assets.rollout.shown.events import shown_marks
        from recsys_assets.rollout.shown.view import of_release
        from recsys_assets.rollout.waiting import await_guard, standing

        desk = open_desk(settings, platform, registry, context.instance)
        platform.ensure_running(GUARD)  # no user sees a canary that nobody guards
        await_guard(desk)
        state = standing(desk)
        if state.phase.is_end:
            _tick_once(desk, settings, context)
        else:
            traffic = state.release.champion is not None
            _tick(desk, settings, context, config, {p for p in Phase if not p.is_end}, traffic=traffic)
        view = of_release(desk, state.release.release_id)
        yield dg.MaterializeResult(
            metadata=canary_metadata(desk, view, ui_url=settings.ui_url) | shown_marks(view),
            check_results=[canary_check(name, view) for name in CANARY_CHECKS],
        )
        if view.phase.is_end and view.phase is not Phase.CHAMPION and (config.stays(context) or not state.phase.is_end):
            message = f"{view.release_id} ended as {view.phase.value}: {view.why}"
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

        One object, new with each promotion. A run that does not stay until the release is decided makes none before.
        """
        from recsys_assets.rollout.agree import agree
        from recsys_assets.rollout.opening import open_desk
        from recsys_assets.rollout.report import identity
        from recsys_assets.rollout.waiting import standing

        desk = open_desk(settings, platform, registry, context.instance)
        state = standing(desk)
        model = state.release.model
        if not (state.phase is Phase.CHAMPION and desk.ledger.promoted(model.version, model.bundle_digest)):
            told = f"version {model.version} is not promoted: {state.release.release_id} is {state.phase.value}"
            if not config.stays(context) and not state.phase.is_end:
                context.log.info(told)
                return
            raise dg.Failure(told, {"model_version": model.version, "reason": state.reason}, allow_retries=False)
        agree(desk)  # by the route as it stands now: this run may be late
        yield dg.MaterializeResult(
            metadata=identity(model) | {"release": state.release.release_id, "reason": state.reason}
        )

    return champion


def _open(
    desk: "Desk", settings: Settings, context: dg.AssetExecutionContext, registry: ModelRegistryResource
) -> "RouteState":
    from recsys_assets.rollout.act import read_state
    from recsys_assets.rollout.desk import ReleaseRefused
    from recsys_assets.rollout.report import identity
    from recsys_assets.rollout.start import open_release

    state = read_state(desk.platform, desk.model_name)
    if state is not None and not state.phase.is_end and context.run.job_name != RELEASE_JOB:
        return state
    model = registry.challenger()
    if model is None:
        raise dg.Failure("no challenger is registered, so there is nothing to release", allow_retries=False)
    gate = desk.gate(model)
    if not gate.passed:
        told = f"version {model.version} is not released: {gate.reason}"
        raise dg.Failure(told, identity(model), allow_retries=False)
    try:
        return open_release(desk, model, settings.rollout.plan, actor=f"dagster run {context.run.run_id}")
    except ReleaseRefused as refused:
        raise dg.Failure(f"refused: {refused}", identity(model), allow_retries=False) from refused


def _tick(
    desk: "Desk",
    settings: Settings,
    context: dg.AssetExecutionContext,
    config: ReleaseConfig,
    phases: set[Phase],
    *,
    traffic: bool,
) -> None:
    """One tick, or ticks until the release has left these phases, beside replayed visitors where that is set."""
    from recsys_assets.rollout.waiting import tick_while
    from recsys_assets.traffic.background import replaying

    if not config.stays(context):
        _tick_once(desk, settings, context)
        return
    before: list[Decision] = []

    def tell(decision: Decision) -> None:
        same = before and _move(before[-1]) == _move(decision)
        if not same:
            context.log.info(_told(decision))
        before[:] = [decision]
        _show(desk, settings, context, decision)

    visitors = replaying(settings) if traffic and settings.traffic.in_jobs else nullcontext()
    with visitors:
        tick_while(desk, phases, actor=_actor(context), tick_seconds=settings.rollout.tick_seconds, tell=tell)


def _tick_once(desk: "Desk", settings: Settings, context: dg.AssetExecutionContext) -> None:
    from recsys_assets.rollout.waiting import one_tick

    decision = one_tick(desk, actor=_actor(context))
    context.log.info(_told(decision))
    _show(desk, settings, context, decision)


def _show(desk: "Desk", settings: Settings, context: dg.AssetExecutionContext, decision: Decision) -> None:
    """A run may take hours, and its own materialization comes when it ends: what it sees is shown at each tick."""
    from recsys_assets.rollout.shown.events import Board, show
    from recsys_assets.rollout.shown.view import current

    show(Board(context.instance, settings.ui_url), desk, current(desk, decision=decision))


def _move(decision: Decision) -> tuple[str, Phase, int]:
    return decision.action, decision.phase, decision.step


def _told(decision: Decision) -> str:
    return f"{decision.action} {decision.phase.value} step {decision.step}: {decision.reason}"


def _actor(context: dg.AssetExecutionContext) -> str:
    return f"dagster run {context.run.run_id[:8]}"
