"""The replay process: reads the later events, draws visitors and sends them until they are through or it is stopped.

Here: `python -m recsys_assets.traffic.replay`. Not here: the drawing itself (visitors.py) nor HTTP (client.py).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import uuid
from pathlib import Path

import polars as pl

from recsys_assets.columns import ITEM, USER
from recsys_assets.interactions.calendar import as_of
from recsys_assets.interactions.reader import read_interactions
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import ConfigError, Settings, load_settings
from recsys_assets.traffic.client import Tally, replay
from recsys_assets.traffic.visitors import NoVisitorsError, draw_visitors, wanted_by_user

NEW_USERS_SHARE = 0.1


def population(settings: Settings) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """What each later user wants, and who is known already: (wanted by user, known users)."""
    if settings.traffic.future is None:
        raise NoVisitorsError(f"{settings.config_file}: traffic.future names no later events to replay")
    tables = TablesResource.of(settings)
    history = tables.scan("interactions").select(USER, ITEM).unique().group_by(USER).agg(ITEM).collect()
    seen = {user: frozenset(items) for user, items in history.iter_rows()}
    future = read_interactions(settings, settings.traffic.future)
    wanted = wanted_by_user(future, after=as_of(tables.days("interactions")), seen=seen)
    return wanted, frozenset(seen)


def client_token(settings: Settings) -> str | None:
    """The token that the replayed users' clicks are reported with; None where the settings name no file of one."""
    named = settings.traffic.token_file
    if named is None:
        return None
    try:
        return Path(settings.resolve(named)).read_text(encoding="utf-8").strip()
    except OSError as absent:
        raise ConfigError(f"{settings.config_file}: traffic.token_file: {absent}") from None


def run(settings: Settings, *, rate: float, users: int, seed: int, quiet: bool = False) -> Tally:
    """Replay `users` visits at `rate` a second; returns the counts."""
    wanted, known = population(settings)
    visitors = draw_visitors(wanted, known, count=users, new_share=NEW_USERS_SHARE, seed=seed, run=uuid.uuid4().hex[:8])
    gateway = settings.gateway_url

    def progress(tally: Tally) -> None:
        if not quiet:
            sys.stderr.write(f"\r{tally.line()}")
            sys.stderr.flush()

    tally = asyncio.run(
        replay(
            visitors,
            gateway=gateway,
            model=settings.model_name,
            rate=rate,
            top_k=settings.serving.top_k,
            seed=seed,
            token=client_token(settings),
            on_progress=progress,
        )
    )
    if not quiet:
        sys.stderr.write("\n")
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recsys_assets.traffic.replay", description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument(
        "--rate", type=float, help="visits a second at most; fewer come where the gateway answers slowly"
    )
    parser.add_argument("--users", type=int, help="visits in all")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = load_settings(home=given.home, config=given.config)
        tally = run(
            settings,
            rate=given.rate or settings.traffic.rate,
            users=given.users or settings.traffic.visitors,
            seed=settings.traffic.seed if given.seed is None else given.seed,
            quiet=given.quiet,
        )
    except (ConfigError, NoVisitorsError, LookupError, pl.exceptions.PolarsError) as refused:
        sys.stderr.write(f"traffic: {refused}\n")
        return 2
    return 0 if tally.requests else 1


if __name__ == "__main__":
    sys.exit(main())
