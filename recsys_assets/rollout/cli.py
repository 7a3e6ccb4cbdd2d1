"""The release commands of `recsys-assets`: status, show, a person's words, guard.

Here: arguments, tables and exit codes. Not here: what is done (people.py). The lead command line mounts `app`.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys_assets.rollout.denials import DEFAULT_EXPIRES
from recsys_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.ledger import Audience, Ledger

_T = TypeVar("_T")
app = typer.Typer(help="Releases: where they stand, why, and a person's word on them.", no_args_is_help=True)
out = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False)

ReleaseId = Annotated[str, typer.Argument(help="The release's id, as `status` shows it.")]
Why = Annotated[str, typer.Option(help="The reason; it is kept in the ledger.")]
Who = Annotated[str | None, typer.Option(help="Your name; without it the name of the system's user.")]


@app.command()
def status() -> None:
    """Every release: version, phase, the canary's weight, why it stands there, who saw what; and who waits for you."""
    from recsys_assets.rollout.notices import notices

    settings = load_settings()
    table = releases_table(settings)
    out.print(table if table.row_count else "no release yet")
    for line in notices(_ledger(settings).events(), ui_url=settings.ui_url):
        out.print(line, soft_wrap=True)


def releases_table(settings: Settings) -> Table:
    """One row a release, oldest first."""
    ledger = _ledger(settings)
    table = Table("release", "version", "phase", "canary", "why", "who saw what")
    for row in ledger.releases():
        seen = _told(ledger.audience(row.release_id) or _live_audience(settings, row.release_id))
        weight = f"{row.weight_bp / 100:g} %"
        _add(table, row.release_id, row.version, row.phase.value, weight, row.why, seen)
    return table


@app.command()
def show(release_id: ReleaseId) -> None:
    """All that the ledger knows of one release: what was promised, what happened, who said what, every verdict."""
    from recsys_assets.rollout.story import history, latest_verdicts, opening

    events = _ledger(load_settings()).events(release_id)
    if not events:
        errors.print(f"no release {release_id}; `recsys-assets status` lists them")
        raise typer.Exit(1)
    facts, plan = opening(events)
    for line in facts:
        out.print(line)
    _print(["promised", "value", "meaning"], plan)
    _print(["at", "what", "by", "canary", "why"], history(events))
    _print(["outcome", "check", "reason"], latest_verdicts(events))


def _print(titles: list[str], lines: list[tuple[str, ...]]) -> None:
    table = Table(*titles)
    for line in lines:
        _add(table, *line)
    if lines:
        out.print(table)


def _add(table: Table, *words: str) -> None:
    """Reasons are other people's words: brackets in them are no markup, whoever prints the table."""
    table.add_row(*(Text(word) for word in words))


@app.command()
def approve(release_id: ReleaseId, why: Why = "", who: Who = None) -> None:
    """Let the release that waits for it go to everybody."""
    from recsys_assets.rollout import people

    _say(lambda desk: people.approve(desk, release_id, who=_name(who), why=why))
    out.print(f"{release_id}: approved")


@app.command()
def pause(release_id: ReleaseId, why: Why, who: Who = None) -> None:
    """Stop a release where it stands; harm still rolls it back, its deadline waits."""
    from recsys_assets.rollout import people

    _say(lambda desk: people.pause(desk, release_id, who=_name(who), why=why))
    out.print(f"{release_id}: paused; `recsys-assets resume {release_id} --why ...` lets it go on")


@app.command()
def resume(release_id: ReleaseId, why: Why, who: Who = None) -> None:
    """Let a paused release go on; its deadline moves by as long as it was paused."""
    from recsys_assets.rollout import people

    state = _say(lambda desk: people.resume(desk, release_id, who=_name(who), why=why))
    out.print(f"{release_id}: goes on; its deadline is {state.deadline.isoformat(timespec='seconds')}")


@app.command()
def rollback(release_id: ReleaseId, why: Why, who: Who = None) -> None:
    """Take the canary's weight away now."""
    from recsys_assets.rollout import people

    _say(lambda desk: people.rollback_now(desk, release_id, who=_name(who), why=why))
    out.print(f"{release_id}: no user gets it any more")


@app.command()
def override(
    digest: Annotated[str, typer.Argument(help="The digest that was rolled back, or how it begins.")],
    why: Why,
    who: Who = None,
    expires: Annotated[str, typer.Option(help="For how long: 90m, 24h or 3d; 30 days at the most.")] = DEFAULT_EXPIRES,
) -> None:
    """Let a digest that was rolled back be released again, for some time."""
    from recsys_assets.rollout import people

    full, until = _say(
        lambda desk: people.override(desk, digest, who=_name(who), why=why, expires=people.read_expiry(expires))
    )
    out.print(f"{full} may be released until {until.isoformat(timespec='seconds')}")


@app.command()
def guard() -> None:
    """Run the guard in the foreground: it takes weight from a canary that breached or whose lease ran out."""
    from recsys_assets.rollout.guard import main

    main([])


def _ledger(settings: Settings) -> Ledger:
    from recsys_assets.rollout.ledger import open_ledger

    return open_ledger(settings)


def _desk(settings: Settings) -> Desk:
    """A desk without Dagster: a person's word needs no gate, so this one never passes."""
    from recsys_assets.platform.build import open_platform
    from recsys_assets.records import Outcome, Verdict
    from recsys_assets.resources.registry import ModelRegistryResource
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.metrics import LogMetrics

    return Desk(
        model_name=settings.model_name,
        platform=open_platform(settings),
        ledger=_ledger(settings),
        metrics=LogMetrics(settings.home),
        registry=ModelRegistryResource(home=str(settings.home), model_name=settings.model_name),
        gate=lambda model: Verdict(
            check="offline_gate",
            model_version=model.version,
            outcome=Outcome.INCONCLUSIVE,
            reason="not asked on the command line",
        ),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
    )


def _live_audience(settings: Settings, release_id: str) -> list[Audience]:
    """Who has seen what so far, of the release that is on the route."""
    from recsys_assets.platform.build import has_platform, open_platform
    from recsys_assets.rollout.act import read_state
    from recsys_assets.rollout.ledger import Audience
    from recsys_assets.rollout.metrics import LogMetrics
    from recsys_assets.rollout.settle import audience

    if not has_platform(settings):
        return []
    state = read_state(open_platform(settings), settings.model_name)
    if state is None or state.release.release_id != release_id or not state.weights:
        return []
    since = state.weights[0].since
    logs = LogMetrics(settings.home).gateway_only(since)
    return [Audience(**row) for row in audience(logs, since=since, until=datetime.now(UTC))]


def _told(seen: list[Audience]) -> str:
    return ", ".join(f"{a.variant}: {a.visitors} visitors in {a.seconds:.0f} s" for a in seen) or "nobody saw it"


def _name(who: str | None) -> str:
    return getpass.getuser() if who is None else who


def _say(word: Callable[[Desk], _T]) -> _T:
    """Say a person's word; a refusal is one line and exit code 1."""
    from recsys_assets.platform.interface import PlatformError
    from recsys_assets.rollout.desk import ReleaseRefused
    from recsys_assets.rollout.ledger import LedgerUnavailable

    try:
        return word(_desk(load_settings()))
    except (ReleaseRefused, PlatformError) as refused:
        errors.print(f"refused: {refused}")
        raise typer.Exit(1) from None
    except LedgerUnavailable as away:
        # The route is written first: whoever looks next writes the row.
        errors.print(f"{away}; look at the route before you say it again", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
