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

from recsys_assets.rollout.denials import DEFAULT_EXPIRES
from recsys_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from recsys_assets.rollout.desk import Desk

_T = TypeVar("_T")
app = typer.Typer(help="Releases: where they stand, why, and a person's word on them.", no_args_is_help=True)
out = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False)

ReleaseId = Annotated[str, typer.Argument(help="The release's id, as `status` shows it.")]
Why = Annotated[str, typer.Option(help="The reason; it is kept in the ledger.")]
Who = Annotated[str | None, typer.Option(help="Your name; without it the name of the system's user.")]


@app.command()
def status() -> None:
    """Every release: version, phase, the canary's weight, what it waits for, who saw what; and who waits for you."""
    from recsys_assets.rollout.shown.looking import looking_desk
    from recsys_assets.rollout.shown.printing import status_lines

    settings = load_settings()
    _tell(lambda width: status_lines(looking_desk(settings), ui_url=settings.ui_url, width=width))


@app.command()
def show(release_id: ReleaseId) -> None:
    """All about one release: where it is now, what was promised, what happened, who said what, every verdict."""
    from recsys_assets.rollout.shown.looking import looking_desk
    from recsys_assets.rollout.shown.printing import show_lines

    try:
        _tell(lambda width: show_lines(looking_desk(load_settings()), release_id, width=width))
    except LookupError:
        errors.print(f"no release {release_id}; `recsys-assets status` lists them", soft_wrap=True)
        raise typer.Exit(1) from None


def _tell(lines: Callable[[int | None], list[str]]) -> None:
    """Print them; where the route cannot be read that is said, and the exit code is 1."""
    from recsys_assets.rollout.shown.printing import RouteUnread, terminal_width

    try:
        found = lines(terminal_width())
    except RouteUnread as unread:
        errors.print(str(unread), soft_wrap=True)
        typer.echo("\n".join(unread.lines))
        raise typer.Exit(1) from None
    typer.echo("\n".join(found))


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


def _desk(settings: Settings) -> Desk:
    """A desk without Dagster and MLflow: a person's word needs no gate, so this one never passes, and no registry."""
    from recsys_assets import home
    from recsys_assets.platform.build import open_platform
    from recsys_assets.records import Outcome, Verdict
    from recsys_assets.rollout.desk import Desk
    from recsys_assets.rollout.ledger import open_ledger
    from recsys_assets.rollout.metrics import LogMetrics
    from recsys_assets.rollout.shown.looking import Nothing

    home.make_folder(settings)
    return Desk(
        model_name=settings.model_name,
        platform=open_platform(settings),
        ledger=open_ledger(settings),
        metrics=LogMetrics(settings.home),
        registry=Nothing(),  # type: ignore[arg-type]
        gate=lambda model: Verdict(
            check="offline_gate",
            model_version=model.version,
            outcome=Outcome.INCONCLUSIVE,
            reason="not asked on the command line",
        ),
        top_k=settings.serving.top_k,
        clock=lambda: datetime.now(UTC),
    )


def _name(who: str | None) -> str:
    if who is not None:
        return who
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("the system has no name for this user: say it with --who") from None


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
