"""Runs beside a running stack: one that was launched is dequeued, and no run writes while another does.

Here: two real runs at once, one of the queue and one of a shell. Not here: the lock by itself (test_one_writer.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.resources.one_writer import exclusive
from recsys_assets_tests.journeys.dagster_api import DagsterApi, in_time
from recsys_assets_tests.journeys.house import Story
from recsys_assets_tests.waiting import HANG_SECONDS

pytestmark = [pytest.mark.slow]
WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
DAGSTER = str(Path(sys.executable).with_name("dagster"))


def shell(story: Story, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | home.environment(story.settings)
    return subprocess.Popen(
        [DAGSTER, *words],
        cwd=story.settings.home.parent,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def waiting(story: Story, run_id: str) -> bool:
    said = [entry.user_message for entry in story.stage.instance.all_logs(run_id)]
    return any("exposure_marks: waiting for the test" in message for message in said)


@pytest.fixture
def held(story: Story) -> Iterator[threading.Event]:
    """The test itself writes `exposure_marks`, until it is released."""
    writes, release = threading.Event(), threading.Event()

    def write() -> None:
        with exclusive(story.settings, "exposure_marks", who="the test", tell=print):
            writes.set()
            release.wait(HANG_SECONDS)

    thread = threading.Thread(target=write)
    thread.start()
    assert writes.wait(HANG_SECONDS)
    yield release
    release.set()
    thread.join()


def test_a_launched_run_and_one_of_a_shell_wait_for_each_other_and_both_succeed(
    story: Story, running: DagsterApi, held: threading.Event
) -> None:
    def runs() -> set[str]:
        return {run["runId"] for run in running.latest_runs() if run["jobName"] == "collect_feedback"}

    before = runs()
    launched = shell(story, "job", "launch", "-w", str(WORKSPACE), "-j", "collect_feedback")
    said, _ = launched.communicate(timeout=HANG_SECONDS)
    assert launched.returncode == 0, said
    queued = in_time(lambda: runs() - before, what="the launched run")
    # The queue starts nothing beside a run that writes the same: the shell's may not be the first.
    in_time(lambda: all(running.run(each)["status"] != "QUEUED" for each in queued), what=f"{queued} dequeued")
    executed = shell(story, "job", "execute", "-m", "recsys_assets.definitions", "-j", "collect_feedback")

    def both_wait() -> set[str]:
        wait = {run_id for run_id in runs() if waiting(story, run_id)}
        return wait if queued < wait else set()

    waited = in_time(both_wait, what="both runs waiting for the test")
    held.set()
    told, _ = executed.communicate(timeout=HANG_SECONDS)
    assert executed.returncode == 0, told[-3_000:]
    assert {running.end_of(run_id)["status"] for run_id in waited} == {"SUCCESS"}
