"""Keeps the gateway's access log bounded: a file that has grown is moved aside, and the oldest ones go.

Here: the moving. Not here: reading (access_log.py reads what was moved aside, too), other programs' logs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from recsys_assets.platform.local.access_log import FILE


def rotate(folder: Path, *, most_bytes: int, most_files: int, now: datetime, reopen: Callable[[], bool]) -> Path | None:
    """Move the log aside when it has grown beyond `most_bytes`; the path that it has now, or None.

    The writer goes on writing into the moved file until it has reopened, so no line is lost. When it could not be
    told to, the log goes back: a writer that nobody told would write into a file that is deleted some day.
    """
    log = folder / FILE
    if not log.exists() or log.stat().st_size <= most_bytes:
        return None
    stem, suffix = FILE.split(".", 1)
    aside = folder / f"{stem}-{now:%Y%m%dT%H%M%S%f}.{suffix}"
    log.rename(aside)
    if not reopen():
        aside.rename(log)
        return None
    for old in moved_aside(folder)[: -most_files or None]:
        old.unlink(missing_ok=True)
    return aside


def moved_aside(folder: Path) -> list[Path]:
    """What was moved aside, oldest first."""
    stem, suffix = FILE.split(".", 1)
    return sorted(folder.glob(f"{stem}-*.{suffix}"))
