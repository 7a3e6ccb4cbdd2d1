"""Dagster's own run launcher, which also knows when a run's process is gone.

Here: one question about one process. Not here: launching. A run that was killed together with the code server that had
started it would else stay STARTED for as long as a run may take, and keep one of the few slots: nothing would move.
"""

from __future__ import annotations

from dagster import DagsterEventType, DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus


class WatchedRunLauncher(DefaultRunLauncher):
    """For runs on this machine, as all of the default launcher's are."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED where the process that said it works on the run is gone; a run of which nobody said so is let be."""
        from recsys_assets.platform.local.processes import is_alive

        told = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        said = [event.engine_event_data.metadata for entry in told if (event := entry.dagster_event) is not None]
        pids = [int(str(metadata["pid"].value)) for metadata in said if "pid" in metadata]
        if not pids or is_alive(pids[-1]):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {pids[-1]} is gone")
