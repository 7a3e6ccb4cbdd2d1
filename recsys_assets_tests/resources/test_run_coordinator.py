"""A person's word passes the queue, everything else waits in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.test_utils import create_run_for_test, instance_for_test

from recsys_assets.definitions import build_defs
from recsys_assets.resources.run_coordinator import PeopleFirstRunCoordinator
from recsys_assets.rollout.words import AT_ONCE, OPS
from recsys_assets.settings import Settings

OURS = yaml.safe_load((Path(__file__).parents[2] / "dagster.yaml").read_text(encoding="utf-8"))
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository"), "job")
LAUNCHED_BY_NOBODY = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    settings = {"run_coordinator": OURS["run_coordinator"], "run_launcher": LAUNCHED_BY_NOBODY}
    with instance_for_test(overrides=settings) as made:
        yield made


def submit(instance: dg.DagsterInstance, tags: dict[str, str], **changes: Any) -> tuple[str, bool]:
    """Status afterwards, and whether it was launched past the queue."""
    run = create_run_for_test(instance, tags=tags, remote_job_origin=ORIGIN, **changes)
    after = instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]
    launched = [each.run_id for each in instance.run_launcher.queue()]  # type: ignore[attr-defined]
    return after.status.value, run.run_id in launched


def test_the_instance_uses_it_and_its_daemon_still_empties_the_queue(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, PeopleFirstRunCoordinator)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert "QUEUED_RUN_COORDINATOR" in instance.get_required_daemon_types()


def test_a_persons_word_is_launched_at_once(instance: dg.DagsterInstance) -> None:
    status, launched = submit(instance, {AT_ONCE: "a person's word"})
    assert status != "QUEUED"
    assert launched


def test_every_other_run_waits_for_its_turn(instance: dg.DagsterInstance) -> None:
    assert submit(instance, {"another": "tag"}) == ("QUEUED", False)


def test_what_was_launched_before_is_not_launched_again(instance: dg.DagsterInstance) -> None:
    _, launched = submit(instance, {AT_ONCE: "x"}, status=dg.DagsterRunStatus.STARTED)
    assert not launched


def test_exactly_the_jobs_of_people_carry_the_tag(settings: Settings) -> None:
    jobs = build_defs(settings).get_repository_def().get_all_jobs()
    assert {job.name for job in jobs if AT_ONCE in job.tags} == {*OPS, "override_rolled_back_digest"}
