"""The notifier: tells webhooks what the ledger says. Works with Dagster, MLflow and the gateway all dead.

Here: `python -m recsys_assets.notifications.notifier`: a loop for each receiver, so that a dead one delays nobody else.
Not here: what a loop does (delivery.py).
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from recsys_assets.notifications.delivery import Route, collect, deliver
from recsys_assets.notifications.outbox import Outbox
from recsys_assets.notifications.receivers import receivers
from recsys_assets.program_log import start_logging
from recsys_assets.rollout.ledger import open_ledger
from recsys_assets.settings import ConfigError, Settings, load_settings
from recsys_assets.store_settings import LEDGER_ONLY

INTERVAL_SECONDS = 0.5
log = logging.getLogger("recsys_assets.notifier")


def routes(settings: Settings) -> list[Route]:
    """One for each receiver. Raises ConfigError."""
    return [
        Route(
            receiver=receiver,
            ledger=open_ledger(settings),
            outbox=Outbox(settings.path("notifications.db")),
            model_name=settings.model_name,
            ui_url=settings.ui_url,
            clock=lambda: datetime.now(UTC),
        )
        for receiver in receivers(settings)
    ]


def run(route: Route, *, stop: threading.Event, interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Look and send until stopped. A file that cannot be read or written is told once and tried again."""
    told = ""
    while not stop.wait(interval_seconds):
        try:
            collect(route)
            deliver(route)
            told = ""
        except (OSError, sqlite3.Error) as broken:
            if str(broken) != told:
                log.error("%s: cannot go on: %s", route.receiver.name, broken)
                told = str(broken)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recsys_assets.notifications.notifier", description=__doc__)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args(argv)
    start_logging()
    try:
        found = routes(load_settings(home=given.home, secrets=LEDGER_ONLY))
    except ConfigError as broken:
        log.error("%s", broken)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # A receiver that hangs must not keep this process from ending: what it did not take is sent again later.
    loops = [threading.Thread(target=run, args=(route,), kwargs={"stop": stop}, daemon=True) for route in found]
    for loop in loops:
        loop.start()
    log.info("telling %s", ", ".join(route.receiver.name for route in found) or "nobody: no webhook is configured")
    failed = False
    while not failed and not stop.wait(INTERVAL_SECONDS):
        # One that ended by an error nobody foresaw ends the process: supervisor starts it again, and shows it.
        failed = not all(loop.is_alive() for loop in loops)
    stop.set()
    for loop in loops:
        loop.join(timeout=1.0)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
