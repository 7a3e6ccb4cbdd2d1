"""The stage that scenes play on: jobs run in this process, watched while they run, with time and memory taken.

Here: running one job and saying what came of it. Not here: what the scenes expect (scenes.py).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.console import Console

from recsys_assets.rollout.ledger import PHASES, Event, Ledger, open_ledger
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.execution.plan.objects import StepFailureData

    from recsys_assets.platform.interface import Platform

WATCH_SECONDS = 0.5
# The events are told by the watcher; the whole log stands in the instance.
QUIET: Mapping[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class FailedCheck:
    """A check that stopped a job: its name, and the sentence that says why and by how much."""

    asset: str
    name: str
    why: str


@dataclass(frozen=True)
class JobOutcome:
    """What came of one run: did it succeed, which checks stopped it, what the failed steps said."""

    run_id: str
    success: bool
    failed_checks: tuple[FailedCheck, ...] = ()
    failures: tuple[str, ...] = ()

    def stopped_by(self, check: str) -> bool:
        return any(failed.name == check for failed in self.failed_checks)


@dataclass
class Stage:
    """Settings, console and the one Dagster instance of the home. Use after `home.adopt`."""

    settings: Settings
    console: Console
    runs: list[JobOutcome] = field(default_factory=list)

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        import dagster as dg

        return dg.DagsterInstance.get()

    @cached_property
    def definitions(self) -> dg.Definitions:
        from recsys_assets.definitions import build_defs

        return build_defs(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        return open_ledger(self.settings)

    @cached_property
    def platform(self) -> Platform:
        from recsys_assets.resources.platform import PlatformResource

        return PlatformResource.from_settings(self.settings).connect()

    def run_job(self, name: str, *, days: Sequence[date] = (), config: Mapping[str, Any] | None = None) -> JobOutcome:
        """Run one job to its end, over a range of days where given; a failed job is an outcome, not an exception."""
        tags = {RANGE_START: min(days).isoformat(), RANGE_END: max(days).isoformat()} if days else {}
        run_id = str(uuid.uuid4())  # the watcher must know it before the run starts
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(run_id, done), daemon=True)
        watcher.start()
        try:
            result = self.definitions.resolve_job_def(name).execute_in_process(
                instance=self.instance,
                raise_on_error=False,
                run_config={**QUIET, **(config or {})},
                tags=tags,
                run_id=run_id,
            )
        finally:
            done.set()
            watcher.join()
        outcome = _outcome(result)
        self.runs.append(outcome)
        return outcome

    def _watch(self, run_id: str, done: threading.Event) -> None:
        """Tell each finished step, as its event lands in the instance."""
        import dagster as dg

        cursor, wanted = None, {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
        told = len(self.ledger.events())
        while True:
            last_look = done.wait(WATCH_SECONDS)
            told += self._tell_release(self.ledger.events()[told:])
            page = self.instance.get_records_for_run(run_id, cursor=cursor, of_type=wanted)
            cursor = page.cursor
            for record in page.records:
                event = record.event_log_entry.get_dagster_event()
                failed = event.event_type is dg.DagsterEventType.STEP_FAILURE
                took = "" if failed else f" [dim]{event.step_success_data.duration_ms / 1000:.1f} s[/dim]"
                mark = "[red]x[/red]" if failed else "[green]+[/green]"
                self.console.print(f"    {mark} {event.step_key}{took}")
            if last_look:
                return

    def _tell_release(self, events: Sequence[Event]) -> int:
        """Each move of the release under way, as the ledger writes it down; the number of events looked at."""
        for event in events:
            if event.kind in PHASES:
                share = f" at {event.body['weight_bp'] / 100:g} %" if event.kind == "canary" else ""
                self.console.print(f"      [cyan]{event.kind}{share}[/cyan]: ", end="")
                self.console.print(str(event.body["reason"]), markup=False)
        return len(events)


def _said(data: StepFailureData) -> str:
    """The step's own words where it raised dg.Failure, else the innermost error."""
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error else "failed without a word"


def _outcome(result: dg.ExecuteInProcessResult) -> JobOutcome:
    import dagster as dg

    failed_checks, failures = [], []
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
                failed_checks.append(
                    FailedCheck(check.asset_key.to_user_string(), check.check_name, check.description or "")
                )
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            failures.append(f"{event.step_key}: {_said(event.step_failure_data)}")
    return JobOutcome(result.run_id, result.success, tuple(failed_checks), tuple(failures))
