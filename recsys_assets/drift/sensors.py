"""The sensor that asks for a release when the data drifted: read the world, decide, ask once.

Here: the shell around `decide_retrain`. Not here: the decision, or any distance.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from recsys_assets.drift.assets import DRIFT_REPORT, REPORT_JSON
from recsys_assets.records import Phase
from recsys_assets.resources.attempts import WORK_TAG, Try, not_now, now_utc, run_key, runs_under_way, tries_of
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.drift.detector import DriftReport

RELEASE_JOB: Final = "release"
# The run trains, opens the release and looks once: the canary sensor moves it on from there, so that no run keeps a
# slot for days. By their names, as the drift room knows nothing of the rollout room; a test holds them to the job.
ONE_TICK: Final = {
    "ops": {name: {"config": {"until": "one_tick"}} for name in ("shadow_comparison", "canary", "champion")}
}
# A release costs a training and canary traffic: a run that failed before its model was judged is tried twice more.
WAITS: Final = (timedelta(minutes=10), timedelta(hours=1))


def build_sensors(settings: Settings, *, clock: Callable[[], datetime] = now_utc) -> list[dg.SensorDefinition]:
    """The room's one sensor. It runs by default wherever the daemon runs: a gate stands behind what it asks for."""

    @dg.sensor(
        name="drift_sensor",
        job_name=RELEASE_JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a release when the newest days drifted from what the champion knows.",
    )
    def drift_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult | dg.SkipReason:
        from recsys_assets.drift.retrain import decide_retrain

        now = clock()
        report = read_report(context.instance)
        last = last_request(context.cursor)
        # Asking a local one that is not there would make it.
        has_platform = settings.platform != "local" or settings.path("platform").exists()
        decision = decide_retrain(
            report,
            now=now,
            last_request=last,
            in_flight=run_under_way(context.instance, now) or (has_platform and release_under_way(platform, settings)),
            cooldown_seconds=settings.drift.cooldown_seconds,
        )
        if not decision.ask or report is None:
            return dg.SkipReason(decision.reason)
        work = f"drift:{report.as_of.isoformat()}:{report.champion_version or 'none'}"
        if why := asked_before(context.instance, work, now):
            return dg.SkipReason(f"{decision.reason}; {why}")
        return _request(context.instance, work, decision.reason, now)

    return [drift_sensor]


def read_report(instance: dg.DagsterInstance) -> "DriftReport | None":
    """The newest drift report, out of its materialization; None where there is none that can be read."""
    from pydantic import ValidationError

    from recsys_assets.drift.detector import DriftReport

    event = instance.get_latest_materialization_event(dg.AssetKey(DRIFT_REPORT))
    made = event.asset_materialization if event else None
    stored = made.metadata.get(REPORT_JSON) if made else None
    if stored is None:
        return None
    try:
        return DriftReport.model_validate(stored.value)
    except ValidationError:
        return None


def run_under_way(instance: dg.DagsterInstance, now: datetime) -> bool:
    """Whether a run of the release job waits or runs."""
    return bool(runs_under_way(instance, now, RELEASE_JOB))


def asked_before(instance: dg.DagsterInstance, work: str, now: datetime) -> str:
    """Why this report asks for no release now, in words; empty where it does.

    A report asks until a run has made a model that was judged: the same data would make the same model again. A run
    that failed before that, or that was cancelled or deleted, says nothing about the data.
    """
    tries = tries_of(instance, work)
    judged = next((each for each in tries if each.status == "SUCCESS" or _refusals(instance, each)), None)
    if judged is None:
        return not_now(tries, now, WAITS)
    refused = _refusals(instance, judged)
    about = f"its model did not pass {', '.join(refused)}" if refused else "its model went its way"
    return f"run {judged.run_id[:8]} has released for this report: {about}"


def _refusals(instance: dg.DagsterInstance, ended: Try) -> list[str]:
    """The checks that stopped this run."""
    entries = instance.all_logs(ended.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    return [each.check_name for each in found if not each.passed and each.severity is dg.AssetCheckSeverity.ERROR]


def release_under_way(platform: PlatformResource, settings: Settings) -> bool:
    """Whether the route object holds a release that has not ended, whichever run looks after it, or none.

    A phase that cannot be read counts as one: nobody knows what is going on, so nothing is started beside it.
    """
    from recsys_assets.platform.interface import PHASE_ANNOTATION, VIRTUAL_SERVICE

    route = platform.get(VIRTUAL_SERVICE, settings.model_name)
    if route is None:
        return False
    annotations = route["metadata"].get("annotations") or {}
    return annotations.get(PHASE_ANNOTATION) not in {phase.value for phase in Phase if phase.is_end}


def last_request(cursor: str | None) -> datetime | None:
    """When this sensor last asked; a cursor that was reset or is not ours means never."""
    try:
        stored = json.loads(cursor or "{}")
        return datetime.fromtimestamp(float(stored["last"]), UTC)
    except (ValueError, KeyError, TypeError):
        return None


def _request(instance: dg.DagsterInstance, work: str, reason: str, now: datetime) -> dg.SensorResult:
    key, tags = run_key(instance, work), {"recsys-assets/reason": "drift", WORK_TAG: work}
    asked = dg.AssetObservation(DRIFT_REPORT, metadata={"asked_for_release": reason, "run_key": key})
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, run_config=ONE_TICK, tags=tags)],
        cursor=json.dumps({"last": now.timestamp()}),
        asset_events=[asked],
    )
