"""The sensor that keeps a release moving: level-triggered on the route object, so that a restart loses nothing.

Here: whether a run is needed now, and the lease. Not here: what the run does.

It reads the world and calls the same pure `decide` that a tick does. A run is started only when that would change
something: a run takes many seconds and a line in everybody's run list, a look takes a fraction of one. Where the
decision is to hold, the sensor has itself looked at the verdicts: it renews the lease and writes why, as a tick would.
When it dies, or the daemon does, the lease runs out and the guard takes the weight.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from recsys_assets.resources.attempts import WORK_TAG, not_now, run_key, runs_under_way, tries_of
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.jobs import ADVANCE_JOB, CANARY, CHAMPION, RELEASE_JOB, RELEASE_TAG, SHADOW_COMPARISON
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.records import Decision
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.route import RouteState
    from recsys_assets.rollout.shown.events import Board

# What a move's next try waits for after a run that failed, in leases: soon enough that the lease still holds, then as
# often as a release may need until its deadline.
WAITS_IN_LEASES: Final = (0.1, 0.5, 1.0, *(2.0,) * 17)


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
    return _in_flight(instance, desk.clock()) if fresh else None


def _in_flight(instance: dg.DagsterInstance, now: datetime) -> str | None:
    for job in (RELEASE_JOB, ADVANCE_JOB):
        for run in runs_under_way(instance, now, job):
            if run.status is not dg.DagsterRunStatus.CANCELING:
                return run.run_id
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
    if decision is None:
        return dg.SkipReason("the route is gone")
    return request(board.instance, state, decision, desk.clock())


def request(
    instance: dg.DagsterInstance, state: "RouteState", decision: "Decision", now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """The run that makes this move. A run in flight for it is not doubled, unless two leases have passed: it may have
    died before it did anything. One that failed is tried again, while the lease holds and after."""
    lease = timedelta(seconds=state.release.plan.lease_seconds)
    work = f"canary:v{state.version}:{state.release.release_id}:{state.transition}:{decision.phase.value}"
    if run := _making(instance, work, now, 2 * lease):
        return dg.SkipReason(f"run {run[:8]} makes the move to {decision.phase.value}")
    if why := not_now(tries_of(instance, work), now, [each * lease for each in WAITS_IN_LEASES]):
        return dg.SkipReason(f"{state.release.release_id} would move to {decision.phase.value}; {why}")
    before_users = state.phase.value in {"gated", "shadow"}
    assets = [SHADOW_COMPARISON] if before_users else [CANARY, CHAMPION]
    return dg.RunRequest(
        run_key=run_key(instance, work),
        asset_selection=[dg.AssetKey(name) for name in assets],
        tags={RELEASE_TAG: state.release.release_id, WORK_TAG: work},
    )


def _making(instance: dg.DagsterInstance, work: str, now: datetime, patience: timedelta) -> str | None:
    """The run under way for this move, if it was asked for within this time."""
    for record in instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: work}), limit=1):
        if not record.dagster_run.is_finished and now - record.create_timestamp < patience:
            return record.dagster_run.run_id
    return None
