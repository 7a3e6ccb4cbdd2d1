"""The schedule that brings exposures and feedback back into tables.

Here: when. Not here: what the job does (serving/assets.py, marks.py).
"""

import dagster as dg

from recsys_assets.rollout.jobs import COLLECT_JOB
from recsys_assets.settings import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """`collect_feedback_schedule`, running by default: every ten minutes, once anything has been served."""

    def anything_served(context: dg.ScheduleEvaluationContext) -> bool:
        return any(settings.path("logs", "exposures").glob("*.jsonl"))

    return [
        dg.ScheduleDefinition(
            name=f"{COLLECT_JOB}_schedule",
            job_name=COLLECT_JOB,
            cron_schedule="*/10 * * * *",
            execution_timezone="UTC",
            should_execute=anything_served,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Exposures and feedback into their tables.",
        )
    ]
