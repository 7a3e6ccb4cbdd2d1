"""Dagster's own queue, past which a person's word goes at once.

Here: one exception from the queue. Not here: the queue. Two long runs fill it, and it stands still while the daemon is
dead: "roll back now" must wait for neither. The webserver launches such a run itself.
"""

from __future__ import annotations

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from recsys_assets.rollout.words import AT_ONCE


class PeopleFirstRunCoordinator(QueuedRunCoordinator):
    """Queues every run but those whose job carries the tag of a person's word."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        if AT_ONCE not in run.tags or run.status != DagsterRunStatus.NOT_STARTED:
            return super().submit_run(context)
        self._instance.launch_run(run.run_id, context.workspace)
        launched = self._instance.get_run_by_id(run.run_id)
        return run if launched is None else launched
