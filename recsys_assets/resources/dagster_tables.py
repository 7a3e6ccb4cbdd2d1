"""Dagster's local databases: made whole before any process opens them.

Here: their making. Not here: the lock around it (home.py), Postgres (Dagster's chart makes its tables), any reading.
Two processes that find no SQLite tables both make them, and both write the version of the schema: from then on Dagster
finds two versions and never opens that database again.
"""

from __future__ import annotations

import errno
from pathlib import Path


def make(dagster_home: Path) -> None:
    """Make the databases of an instance that has none. Only one process at a time may be in here.

    Raises OSError where the file system does not take them.
    """
    made = dagster_home / "tables.made"
    if made.exists() and (dagster_home / "schedules" / "schedules.db").exists():
        return
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
    from sqlalchemy.exc import OperationalError

    try:
        storage = DagsterSqliteStorage(str(dagster_home))  # opening them makes them
    except OperationalError as refused:
        raise OSError(errno.EIO, str(refused.orig), str(dagster_home)) from refused
    storage.dispose()
    made.touch()
