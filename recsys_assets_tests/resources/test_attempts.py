"""Tries of one piece of work: later each time, a few times, and anew after something else was done to the same things.

Here: the rule over a real instance's runs. Not here: the sensors that go by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.resources.attempts import (
    WAITS,
    WORK_TAG,
    Try,
    newest_runs,
    not_now,
    run_key,
    runs_under_way,
    tries_of,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@dg.job
def nothing() -> None:
    @dg.op
    def do() -> None: ...

    do()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def ran(instance: dg.DagsterInstance, work: str | None, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    tags = {WORK_TAG: work, "of": "items"} if work else {"of": "items"}
    return instance.create_run_for_job(nothing, status=status, tags=tags)


def of_items(run: dg.DagsterRun) -> bool:
    return run.tags.get("of") == "items"


FAILED, CANCELED, DONE = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS


def test_tries_are_counted_back_to_another_work(instance: dg.DagsterInstance) -> None:
    for work, status in (("a", FAILED), ("b", DONE), ("a", FAILED), ("a", CANCELED)):
        ran(instance, work, status)
    assert [each.status for each in tries_of(instance, "a", newest=newest_runs(instance), concerns=of_items)] == [
        "CANCELED",
        "FAILURE",
    ]
    assert len(tries_of(instance, "a")) == 3
    ran(instance, None, DONE)
    assert tries_of(instance, "a", newest=newest_runs(instance), concerns=of_items) == []


def test_a_key_is_new_after_each_run_and_after_each_deletion(instance: dg.DagsterInstance) -> None:
    runs, keys = [], []
    for _ in range(3):
        keys.append(run_key(instance, "a"))
        tags = {WORK_TAG: "a", "dagster/run_key": keys[-1]}
        runs.append(instance.create_run_for_job(nothing, status=FAILED, tags=tags))
    assert len(set(keys)) == 3
    for gone in (1, 2, 0):
        instance.delete_run(runs[gone].run_id)
        taken = {run.tags["dagster/run_key"] for run in instance.get_runs()}
        assert run_key(instance, "a") not in taken


def tried(count: int, ended: datetime = NOON) -> list[Try]:
    return [Try(f"run{n}", "FAILURE", ended) for n in range(count)]


def test_each_try_waits_longer_and_the_last_one_is_the_last() -> None:
    assert not_now([], NOON) == ""
    for count, wait in enumerate(WAITS, 1):
        assert f"try {count} of {len(WAITS) + 1}" in not_now(tried(count), NOON + wait - timedelta(seconds=1))
        assert not_now(tried(count), NOON + wait) == ""
    assert "until something changes" in not_now(tried(len(WAITS) + 1), NOON + timedelta(days=999))


def test_a_run_that_was_never_queued_is_under_way_for_some_minutes_only(instance: dg.DagsterInstance) -> None:
    ran(instance, "a", dg.DagsterRunStatus.NOT_STARTED)
    ran(instance, "a", dg.DagsterRunStatus.STARTED)
    now = datetime.now(UTC)
    assert len(runs_under_way(instance, now)) == 2
    assert [run.status for run in runs_under_way(instance, now + timedelta(minutes=11))] == [
        dg.DagsterRunStatus.STARTED
    ]
