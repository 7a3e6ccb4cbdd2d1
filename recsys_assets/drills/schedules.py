"""A drill a week, another kind each time. Here: when. Off until somebody switches it on: real users meet it."""

import dagster as dg

from recsys_assets.drills.kinds import DRILL_JOB, DRILL_REPORT, KINDS
from recsys_assets.settings import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """`weekly_drill_schedule`: Tuesdays at ten UTC, when people are at work."""

    def config(context: dg.ScheduleEvaluationContext) -> dict[str, object]:
        week = context.scheduled_execution_time.isocalendar().week
        return {"ops": {DRILL_REPORT: {"config": {"play": KINDS[week % len(KINDS)]}}}}

    return [
        dg.ScheduleDefinition(
            name="weekly_drill_schedule",
            job_name=DRILL_JOB,
            cron_schedule="0 10 * * 2",
            execution_timezone="UTC",
            run_config_fn=config,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Plays one drill a week, each kind in turn. Real users meet it: switch it on knowingly.",
        )
    ]
