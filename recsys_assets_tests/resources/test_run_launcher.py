"""A run whose process was killed is seen to be dead, and one that lives is let be.

Here: the question with real processes and a real instance. Not here: Dagster's own monitoring, which asks it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
from dagster._core.launcher import WorkerStatus

from recsys_assets.resources.run_launcher import WatchedRunLauncher


@dg.job
def nothing() -> None:
    pass


def asked(*pids: int) -> WorkerStatus:
    """What is said of a run on which these processes worked, one after the other."""
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = WatchedRunLauncher()
        launcher.register_instance(instance)
        run = instance.create_run_for_job(nothing)
        for pid in pids:
            event = dg._core.events.EngineEventData.in_process(pid)
            instance.report_engine_event("Started process for run", run, event)
        return launcher.check_run_worker_health(run).status


def test_a_run_whose_process_was_killed_has_failed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    child.communicate()
    assert asked(os.getpid(), child.pid) is WorkerStatus.FAILED


def test_a_run_whose_process_lives_is_running() -> None:
    assert asked(os.getpid()) is WorkerStatus.RUNNING


def test_a_run_that_no_process_took_up_yet_is_not_judged() -> None:
    assert asked() is WorkerStatus.RUNNING
