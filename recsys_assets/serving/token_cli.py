"""The `recsys-assets collector-token` command: give a client a token, take it away, say who has one.

Here: arguments and messages. Not here: the file (tokens.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    name="collector-token", help="Client tokens of the feedback collector.", no_args_is_help=True, add_completion=False
)
Name = Annotated[str, typer.Argument(help="The client: lower case letters, digits, dots and dashes.")]


def _file() -> Path:
    from recsys_assets import home
    from recsys_assets.settings import load_settings

    settings = load_settings()
    home.make_folder(settings)
    return settings.collector_tokens_file


@app.command()
def add(name: Name) -> None:
    """Print a new token, once; its hash is kept. From the first token on, the collector asks for one."""
    from pydantic import ValidationError

    from recsys_assets.serving import tokens

    try:
        token = tokens.add(_file(), name, now=datetime.now(UTC))
    except (tokens.TokenNameTaken, tokens.TokensBroken) as refused:
        raise _refused(str(refused)) from None
    except ValidationError:
        raise _refused(f"{name!r} is not a name: lower case letters, digits, dots and dashes") from None
    typer.echo(token)


@app.command()
def revoke(name: Name) -> None:
    """Take a client's token away; a collector that runs sees it at the next request."""
    from recsys_assets.serving import tokens

    try:
        found = tokens.revoke(_file(), name)
    except tokens.TokensBroken as refused:
        raise _refused(str(refused)) from None
    if not found:
        raise _refused(f"no client {name!r} has a token")
    typer.echo(f"{name}: revoked")


@app.command("list")
def listed() -> None:
    """Name the clients that have a token."""
    from recsys_assets.serving import tokens

    try:
        found = tokens.names(_file())
    except tokens.TokensBroken as refused:
        raise _refused(str(refused)) from None
    for name in found:
        typer.echo(name)


def _refused(why: str) -> typer.Exit:
    typer.echo(f"collector-token: {why}", err=True)
    return typer.Exit(1)
