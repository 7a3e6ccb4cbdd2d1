"""The `recsys-assets` command line. Here: arguments, messages and exit codes. Not here: the work itself.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or broken configuration.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recsys_assets.command_line import run
from recsys_assets.drills import cli as drills
from recsys_assets.rollout import cli as releases
from recsys_assets.serving import token_cli
from recsys_assets.settings import Settings, load_settings

app = typer.Typer(
    name="recsys-assets",
    help="Safe updates for recommenders: data, model, evaluation, canary and decision as one graph.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
errors = Console(stderr=True, highlight=False)


def _settings() -> Settings:
    return load_settings()


@app.command()
def demo(
    keep_running: Annotated[bool, typer.Option(help="Leave the gateway and the services up at the end.")] = False,
) -> None:
    """Play the whole story on MovieLens-100K; exits 0 only if every step ended as told."""
    from recsys_assets.demo.play import play

    raise typer.Exit(play(_settings(), keep_running=keep_running))


@app.command()
def init() -> None:
    """Make the home folder with its Dagster instance; print the variables that `dagster` needs, for `eval`."""
    from recsys_assets import home

    settings = _settings()
    home.prepare(settings)
    for name, value in home.environment(settings).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def up() -> None:
    """Start everything on loopback: Dagster, MLflow, Envoy, the model servers, the guard. Prints the URLs."""
    from recsys_assets.processes import start_everything

    for line in start_everything(_settings()):
        typer.echo(line)


@app.command()
def down() -> None:
    """Stop everything that runs on this home; nothing is left behind but its files."""
    from recsys_assets.processes import stop_everything

    stop_everything(_settings())
    typer.echo("stopped")


@app.command()
def traffic(
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Visits a second at most; fewer come where the gateway answers slowly."),
    ] = None,
    users: Annotated[int | None, typer.Option(min=1, help="Visits in all.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same visitors.")] = None,
) -> None:
    """Replay users of the data set's later days against the gateway."""
    from recsys_assets.traffic import replay
    from recsys_assets.traffic.visitors import NoVisitorsError

    settings = _settings()
    wished = settings.traffic
    try:
        tally = replay.run(
            settings,
            rate=rate or wished.rate,
            users=users or wished.visitors,
            seed=wished.seed if seed is None else seed,
        )
    except (NoVisitorsError, LookupError) as refused:
        errors.print(f"traffic: {refused}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    typer.echo(tally.line())
    if not tally.statuses[200]:
        errors.print("traffic: the gateway gave no answer; is it running? (`recsys-assets up`)")
        raise typer.Exit(1)


@app.command()
def check_config(
    path: Annotated[Path | None, typer.Argument(help="A config file; without it the one in force.")] = None,
) -> None:
    """Read the configuration and say what is wrong with it, all at once; then what is allowed but may be a slip."""
    from recsys_assets.config_rules.book import doubts
    from recsys_assets.notifications.receivers import receivers

    settings = load_settings(config=path)
    receivers(settings)
    found = doubts(settings)
    for said in found:
        errors.print(f"warning: {said}", markup=False, soft_wrap=True)
    count = f" ({len(found)} warning(s))" if found else ""
    typer.echo(f"{settings.config_file}: in order{count}; state lives in {settings.home}")


app.registered_commands.extend(c for c in releases.app.registered_commands if c.callback is not releases.status)


@app.command()
def status() -> None:
    """Every release: version, phase, the canary's weight, what it waits for, who saw what; and who waits for you.
    Last, what of the interactions' files was not read, and what each sensor said when it looked."""
    from recsys_assets.interactions.survey import intake_lines
    from recsys_assets.notifications.standing import standing_lines
    from recsys_assets.resources.ticks import sensor_lines
    from recsys_assets.rollout.shown.layout import wrapped
    from recsys_assets.rollout.shown.printing import terminal_width

    releases.status()
    settings = _settings()
    for said in [*standing_lines(settings), *intake_lines(settings.home), *sensor_lines(settings)]:
        indent = len(said) - len(said.lstrip())
        for line in wrapped(said, indent=indent, width=terminal_width()):
            typer.echo(line)


app.add_typer(token_cli.app)
app.registered_commands.extend(drills.app.registered_commands)


def main() -> None:
    """Entry point: what a person can mend is one message and an exit code (command_line.py)."""
    run(app)


if __name__ == "__main__":
    main()
