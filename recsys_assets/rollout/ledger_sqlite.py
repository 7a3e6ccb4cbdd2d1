"""The ledger in one SQLite file: for one machine.

Here: the file and its append-only rule. Not here: what a row means (ledger.py). Never on a volume that several machines
share: SQLite's locks do not hold there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from recsys_assets.rollout.ledger_book import COLUMNS, LedgerUnavailable, Row, Which

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, release_id TEXT NOT NULL,
  kind TEXT NOT NULL, actor TEXT NOT NULL, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_release ON events (release_id, seq);
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class SqliteBook:
    """One file. SQLite has one writer at a time, so no row appears before an earlier one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, row: Row) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as db:
            insert = f"INSERT OR IGNORE INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            return db.execute(insert, astuple(row)).rowcount == 1

    def rows(self, which: Which, *values: str | int) -> list[tuple[int, Row]]:
        if not self._path.exists():
            return []
        with self._connect() as db:
            where = which.value.format("?")
            found = db.execute(f"SELECT seq, {COLUMNS} FROM events {where} ORDER BY seq", values)  # noqa: S608
            return [(seq, Row(*told)) for seq, *told in found]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=10.0)
            try:
                with db:
                    db.executescript(_SCHEMA)
                    db.execute("PRAGMA synchronous = FULL")
                    yield db
            finally:
                db.close()
        except sqlite3.Error as broken:
            raise LedgerUnavailable(f"ledger {self._path}: {broken}") from broken
