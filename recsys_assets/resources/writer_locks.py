"""The locks of writers: a file of the home, or an advisory lock in Postgres. Both end with the process that holds them.

Here: taking one without waiting, and who has it. Not here: waiting (one_writer.py).
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path
from typing import Any, Final, Self

# The first of an advisory lock's two numbers; the second is the name's.
_CLASS: Final = 724_199
_HOLDER: Final = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.database =
  (SELECT oid FROM pg_database WHERE datname = current_database())"""


class LockUnavailable(RuntimeError):  # noqa: N818 - as the ledger's
    """Nobody can tell who writes, so nothing is written."""


class LockLost(RuntimeError):  # noqa: N818 - named after what happened
    """The lock ended before the writing did: another run may have written at the same time."""


class FileLock:
    """For the processes of one machine. The file says who has it; what counts is the kernel's lock on it."""

    def __init__(self, path: Path, who: str) -> None:
        self._path, self._who = path, who

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._file.truncate(0)
        self._file.write(f"{self._who} (process {os.getpid()})".encode())
        self._file.flush()
        return True

    def holder(self) -> str:
        return self._path.read_text(encoding="utf-8", errors="replace")

    def require_held(self) -> None:
        """The kernel takes a lock from nobody who lives."""


class PostgresLock:
    """For all machines that write to one installation: its ledger's database is what they share."""

    def __init__(self, url: str, name: str, who: str) -> None:
        # Postgres cuts a connection's name at 63 bytes.
        self._url, self._who, self._key = url, who[:63], (_CLASS, zlib.crc32(name.encode()) & 0x7FFF_FFFF)

    def __enter__(self) -> Self:
        import psycopg2  # type: ignore[import-untyped]

        alive = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        try:
            self._connection = psycopg2.connect(self._url, connect_timeout=10, application_name=self._who, **alive)
            self._connection.autocommit = True
        except psycopg2.Error as away:
            raise LockUnavailable(f"the ledger's database does not say who else writes: {_line(away)}") from away
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def take(self) -> bool:
        return bool(self._ask("SELECT pg_try_advisory_lock(%s, %s)", LockUnavailable))

    def holder(self) -> str:
        return str(self._ask(_HOLDER, LockUnavailable) or "")

    def require_held(self) -> None:
        """A server that was restarted, or a connection that was cut, took the lock away."""
        self._ask("SELECT 1 FROM (SELECT %s, %s) AS k", LockLost)

    def _ask(self, query: str, otherwise: type[RuntimeError]) -> Any:
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, self._key)
                row = cursor.fetchone()
        except psycopg2.Error as broken:
            raise otherwise(f"the connection to the ledger's database ended: {_line(broken)}; run it again") from broken
        return row[0] if row else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
