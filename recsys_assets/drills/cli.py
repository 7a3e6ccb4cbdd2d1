"""`recsys-assets drill`. Here: arguments, words and exit codes. Not here: what is done (play.py, records.py)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from recsys_assets.drills.kinds import DRILL_JOB, DRILL_REPORT, KINDS, TELLS, Kind
from recsys_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from recsys_assets.drills.reading import DrillRow
    from recsys_assets.drills.webserver import Webserver
    from recsys_assets.rollout.ledger import Event

app = typer.Typer(no_args_is_help=True)
out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@app.command()
def drill(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")] = "",
    wait: Annotated[bool, typer.Option(help="Stay until it is over; exit 0 only if it was caught.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="How many seconds to stay at the most.")] = 900.0,
    report: Annotated[bool, typer.Option("--report", help="Show what the drills so far came to.")] = False,
) -> None:
    """Let a bad model into the running system on purpose, and see how fast it is found and gone."""
    settings = load_settings()
    if report:
        raise typer.Exit(show(settings))
    chosen = next((each for each in KINDS if each == kind), None)
    if chosen is None:
        errors.print(f"drill: no kind {kind!r}; there are {', '.join(KINDS)}", markup=False)
        raise typer.Exit(2)
    raise typer.Exit(start(settings, chosen, wait=wait, timeout_seconds=timeout))


def start(settings: Settings, kind: Kind, *, wait: bool, timeout_seconds: float) -> int:
    """Have the job `drill` play it, and follow it where that is wished."""
    from recsys_assets.drills.play import DrillRefused, refuse_unless_ready, route_now
    from recsys_assets.drills.webserver import DagsterAway, Webserver

    webserver = Webserver.of(settings)
    try:
        if under_way := webserver.under_way(DRILL_JOB):
            raise DrillRefused(f"a drill is under way: run {under_way[0]}")
        refuse_unless_ready(settings, webserver, route_now(settings))
        config = {"ops": {DRILL_REPORT: {"config": {"play": kind, "timeout_seconds": timeout_seconds}}}}
        run_id = webserver.launch(DRILL_JOB, config=config, tags={})
        out.print(f"{kind}: {TELLS[kind]}\n{webserver.url}/runs/{run_id}", markup=False)
        return follow(settings, webserver, kind, run_id, timeout_seconds) if wait else 0
    except (DrillRefused, DagsterAway) as refused:
        hint = " (`recsys-assets up` starts everything)" if isinstance(refused, DagsterAway) else ""
        errors.print(f"drill: {refused}{hint}", markup=False, soft_wrap=True)
        return 1


def follow(settings: Settings, webserver: Webserver, kind: Kind, run_id: str, timeout_seconds: float) -> int:
    """Tell each move of the release until the run has ended; 0 only if the drill was caught."""
    from recsys_assets.drills.play import LOOK_SECONDS, opened_since
    from recsys_assets.drills.records import kept
    from recsys_assets.drills.webserver import ENDED
    from recsys_assets.rollout.ledger import open_ledger

    ledger, began = open_ledger(settings), datetime.now(UTC)
    seen, deadline = len(ledger.events()), time.monotonic() + timeout_seconds
    while (status := webserver.status(run_id)) not in ENDED and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        seen += _tell(ledger.events()[seen:])
    _tell(ledger.events()[seen:])
    release = opened_since(ledger.events(), kind, began)
    row = next((row for row in kept(settings) if row.release_id == release), None)
    if row is None:
        told = f"came to no end that can be told: run {run_id} is {status}"
        if status not in ENDED:
            told = f"is not over after {timeout_seconds:.0f} s; it goes on, guarded as any release"
        errors.print(f"drill: {kind} {told}; see {webserver.url}/runs/{run_id}", markup=False, soft_wrap=True)
        return 1
    _print([row])
    return 0 if row.caught else 1


def show(settings: Settings) -> int:
    """The drills so far; 0 only if the latest of each kind was caught."""
    from recsys_assets.drills.records import collect
    from recsys_assets.drills.verdicts import judge_drills

    rows = collect(settings, now=datetime.now(UTC))
    verdict = judge_drills(rows)
    if rows:
        _print(rows)
    out.print(f"{verdict.outcome.value}: {verdict.reason}", markup=False)
    return 0 if verdict.passed else 1


def table(rows: Sequence[DrillRow], *, width: int | None) -> list[str]:
    """One row a drill; what caught it stands beside it, or below."""
    from recsys_assets.drills.showing import cells
    from recsys_assets.rollout.shown.layout import Row
    from recsys_assets.rollout.shown.layout import table as laid_out

    heads = {
        "kind": "kind",
        "version": "version",
        "ended_as": "ended as",
        "by": "by",
        "detection_seconds": "found (s)",
        "rollback_seconds": "gone (s)",
        "users_exposed": "users",
    }
    told = [cells(row) for row in rows]
    lines = [Row(tuple(str(each[name]) for name in heads), (f"caught by {each['caught_by']}",)) for each in told]
    return laid_out([*heads.values(), "caught by"], lines, width=width)


def _print(rows: Sequence[DrillRow]) -> None:
    from recsys_assets.rollout.shown.printing import terminal_width

    typer.echo("\n".join(table(rows, width=terminal_width())))


def _tell(events: Sequence[Event]) -> int:
    from recsys_assets.drills.play import told

    for line in filter(None, map(told, events)):
        out.print(line, markup=False, soft_wrap=True)
    return len(events)
