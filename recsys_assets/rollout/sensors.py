"""The sensor that keeps a release moving: level-triggered on the route object, so that a restart loses nothing.

Here: whether a run is needed now, and the lease. Not here: what the run does.

It reads the world and calls the same pure `decide` that a tick does. A run is started only when that would change
something: a run takes many seconds and a line in everybody's run list, a look takes a fraction of one. Where the
decision is to hold, the sensor has itself looked at the verdicts: it renews the lease and writes why, as a tick would.
When it dies, or the daemon does, the lease runs out and the guard takes the weight.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.jobs import ADVANCE_JOB, CANARY, CHAMPION, RELEASE_JOB, RELEASE_TAG, SHADOW_COMPARISON
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.records import Decision
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.route import RouteState
    from recsys_assets.rollout.shown.events import Board


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The room's one sensor."""

    @dg.sensor(
        name="canary_sensor",
        job_name=ADVANCE_JOB,
        minimum_interval_seconds=max(1, round(settings.rollout.tick_seconds)),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def canary_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource, registry: ModelRegistryResource
    ) -> dg.RunRequest | dg.SkipReason:
        """Start a run of `advance_release` when the release under way would move; else look after its lease."""
        from recsys_assets.rollout.opening import open_desk
        from recsys_assets.rollout.shown.events import Board

        if settings.platform == "local" and not settings.path("platform").exists():
            return dg.SkipReason("there is no platform yet, so there is no release")
        desk = open_desk(settings, platform, registry, context.instance)
        return evaluate(desk, Board(context.instance, settings.ui_url))

    return [canary_sensor]


def evaluate(desk: "Desk", board: "Board") -> dg.RunRequest | dg.SkipReason:
    """One look, without the parts that only Dagster can give. Whatever it finds, the assets show it afterwards."""
    from recsys_assets.rollout.act import read_state
    from recsys_assets.rollout.agree import agree
    from recsys_assets.rollout.settle import is_settled
    from recsys_assets.rollout.shown.view import current

    state = read_state(desk.platform, desk.model_name)
    if state is None:
        board.show(desk, current(desk))
        return dg.SkipReason("there is no route, so there is no release")
    settled = is_settled(desk.ledger, state)
    if settled:
        agree(desk)  # a writer that was late may have come after the last tick
    if run := _looked_after(desk, board.instance, state):
        return dg.SkipReason(f"run {run[:8]} looks after {state.release.release_id}")
    if not settled:
        return _look(desk, board, state)
    board.show_champion(desk)
    view = current(desk)
    board.show(desk, view)
    return dg.SkipReason(f"{view.line} (has ended)" if view else "the route is gone")


def _looked_after(desk: "Desk", instance: dg.DagsterInstance, state: "RouteState") -> str | None:
    """The run in flight that looks after the release and shows it, unless its lease shows that it stopped doing so: a
    run that was killed keeps the status STARTED for long."""
    left = (state.lease - desk.clock()).total_seconds()
    fresh = left > state.release.plan.lease_seconds / 2
    return _in_flight(instance) if fresh else None


def _in_flight(instance: dg.DagsterInstance) -> str | None:
    statuses = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    for job in (RELEASE_JOB, ADVANCE_JOB):
        found = instance.get_runs(dg.RunsFilter(job_name=job, statuses=statuses), limit=1)
        if found:
            return found[0].run_id
    return None


def _look(desk: "Desk", board: "Board", state: "RouteState") -> dg.RunRequest | dg.SkipReason:
    from recsys_assets.rollout.shown.view import current
    from recsys_assets.rollout.tick import look_after, preview, tick

    if state.phase.is_end:
        # Whoever ended it died before it was settled: that is done here and now; the run shows it in Dagster.
        tick(desk, actor="canary_sensor")
    decision = preview(desk)
    if decision is not None and not state.phase.is_end and decision.action in {"hold", "pause"}:
        decision = look_after(desk, state, decision, actor="canary_sensor")
        view = current(desk, decision=decision)
        board.show(desk, view)
        return dg.SkipReason(view.line if view else "the route is gone")
    board.show(desk, current(desk))
    return dg.SkipReason("the route is gone") if decision is None else request(state, decision, desk.clock())


def request(state: "RouteState", decision: "Decision", now: datetime) -> dg.RunRequest:
    """The run that makes this move. The same move asked for again is one run; after two leases it may be asked again,
    since the first run may have died before it did anything."""
    bucket = int(now.timestamp() // (2 * state.release.plan.lease_seconds))
    before_users = state.phase.value in {"gated", "shadow"}
    assets = [SHADOW_COMPARISON] if before_users else [CANARY, CHAMPION]
    return dg.RunRequest(
        run_key=f"canary:v{state.version}:{state.release.release_id}:{state.transition}:{decision.phase.value}:{bucket}",
        asset_selection=[dg.AssetKey(name) for name in assets],
        tags={RELEASE_TAG: state.release.release_id},
    )
