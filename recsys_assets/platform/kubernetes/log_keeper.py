"""Keeps the access log of one gateway pod bounded, and removes what gateway pods that are gone have left for too long.

Here: `python -m recsys_assets.platform.kubernetes.log_keeper`, beside Envoy in its pod. Not here: how a log is moved
aside (platform/local/rotation.py), or reading it.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recsys_assets.platform.local.rotation import rotate

LOOK_SECONDS = 5.0
log = logging.getLogger("recsys_assets.log_keeper")


def remove_abandoned(others: Path, own: Path, *, older_than: datetime) -> list[Path]:
    """Remove the folders below `others` in which nothing was written since; never one's own."""
    gone = []
    for folder in sorted(path for path in others.glob("*") if path.is_dir() and path != own):
        newest = max((path.stat().st_mtime for path in [folder, *folder.iterdir()]), default=0.0)
        if newest < older_than.timestamp():
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
    return gone


def reopen_by(admin: str) -> Callable[[], bool]:
    """How Envoy is told to open its log again: True when it says that it did."""

    def reopen() -> bool:
        import httpx

        try:
            return httpx.post(f"{admin}/reopen_logs", timeout=5.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return reopen


def main(argv: list[str] | None = None) -> None:
    from recsys_assets.program_log import start_logging
    from recsys_assets.settings import load_settings

    parser = argparse.ArgumentParser(prog="python -m recsys_assets.platform.kubernetes.log_keeper", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="this gateway's own folder, or a link to it")
    parser.add_argument("--others", type=Path, required=True, help="where every gateway has its folder")
    parser.add_argument("--admin", required=True, help="Envoy's admin interface, on loopback")
    parser.add_argument("--keep-days", type=int, required=True)
    given = parser.parse_args(argv)
    start_logging()
    serving = load_settings(secrets=()).serving
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    own, reopen = given.folder.resolve(), reopen_by(given.admin)
    while not stop.wait(LOOK_SECONDS):
        now = datetime.now(UTC)
        try:
            limits = {"most_bytes": serving.gateway_log_bytes, "most_files": serving.gateway_log_files}
            if moved := rotate(own, **limits, now=now, reopen=reopen):
                log.info("moved aside: %s", moved)
            for folder in remove_abandoned(given.others, own, older_than=now - timedelta(days=given.keep_days)):
                log.info("removed: %s", folder)
        except OSError as broken:
            # The volume may be away for a while: Envoy goes on, and so does this.
            log.error("cannot look after the log: %s", broken)


if __name__ == "__main__":
    main()
