"""Runs that were asked for before: which are under way, which have ended, and when the same work is asked for again.

Here: Dagster's runs of one piece of work, and the rule of tries. Not here: whether there is work at all. Sensors ask
the tables and the world for that, never a run: what was done once may have been undone since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

# Names the work that a run is for, its content included.
WORK_TAG: Final = "recsys-assets/work"
# What a try waits for after the end of the one before it.
WAITS: Final = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1))
UNDER_WAY: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
# A run that was created and not even queued after so long was left behind by a daemon that died.
LEFT_BEHIND: Final = timedelta(minutes=10)
# So many of the newest runs are looked at for earlier tries.
LOOKED_AT: Final = 200


@dataclass(frozen=True)
class Try:
    """One run that has ended."""

    run_id: str
    status: str
    ended_at: datetime


def now_utc() -> datetime:
    """The sensors' clock; tests give another."""
    return datetime.now(UTC)


def runs_under_way(instance: dg.DagsterInstance, now: datetime, job_name: str | None = None) -> list[dg.DagsterRun]:
    """Runs that wait or run, whoever asked for them."""
    filters = dg.RunsFilter(job_name=job_name, statuses=list(UNDER_WAY))
    return [
        record.dagster_run
        for record in instance.get_run_records(filters)
        if record.dagster_run.status is not dg.DagsterRunStatus.NOT_STARTED
        or now - record.create_timestamp.astimezone(UTC) < LEFT_BEHIND
    ]


def run_key(instance: dg.DagsterInstance, work: str) -> str:
    """A key that no run has: the work, and the newest run for it.

    Dagster ignores a second request with one key for ever and without a word. A key of content alone would ignore what
    came back, and what failed once.
    """
    newest = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: work}), limit=1)
    return f"{work}:after-{newest[0].dagster_run.run_id[:8]}" if newest else f"{work}:first"


def newest_runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """The newest runs, newest first, for `tries_of`."""
    return instance.get_run_records(limit=LOOKED_AT)


def tries_of(
    instance: dg.DagsterInstance,
    work: str,
    *,
    newest: Sequence[dg.RunRecord] = (),
    concerns: Callable[[dg.DagsterRun], bool] = lambda run: True,
) -> list[Try]:
    """The ended runs for this work, newest first, back to the last run that did something else to the same things.

    `concerns` says whether a run among the `newest` touches them: after one by hand, or one for other content, the work
    is new again. Without those the name of the work says everything.
    """
    others = (r for r in newest if r.dagster_run.tags.get(WORK_TAG) != work and concerns(r.dagster_run))
    before = next((record.storage_id for record in others), 0)
    ours = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: work}), limit=LOOKED_AT)
    return [
        Try(record.dagster_run.run_id, record.dagster_run.status.value, _ended(record))
        for record in ours
        if record.storage_id > before and record.dagster_run.is_finished
    ]


def not_now(tries: Sequence[Try], now: datetime, waits: Sequence[timedelta] = WAITS) -> str:
    """Why the work is not asked for now, in words; empty where it is. `tries` come newest first."""
    if not tries:
        return ""
    last, most = tries[0], len(waits) + 1
    told = f"run {last.run_id[:8]} ended with {last.status} (try {len(tries)} of {most})"
    if len(tries) >= most:
        return f"{told}: it is not asked for again until something changes; look at that run, then start one by hand"
    again = last.ended_at + waits[len(tries) - 1]
    return f"{told}: again at {again:%Y-%m-%d %H:%M:%S} UTC" if now < again else ""


def _ended(record: dg.RunRecord) -> datetime:
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.astimezone(UTC)
