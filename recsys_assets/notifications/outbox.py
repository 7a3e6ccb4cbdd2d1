"""What is still to be sent to whom: one row for each webhook and message, kept until it was taken.

Here: SQLite beside the ledger. Not here: sending, or when it is tried again (delivery.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (webhook TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL,
  body BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '', delivered_at REAL, PRIMARY KEY (webhook, key));
CREATE INDEX IF NOT EXISTS waiting ON deliveries (webhook, seq) WHERE delivered_at IS NULL;
"""


@dataclass(frozen=True)
class Message:
    """One message for one webhook. The body is kept as it was first written: every attempt sends the same bytes."""

    key: str
    seq: int
    body: bytes
    attempts: int = 0


@dataclass(frozen=True)
class Standing:
    """How far one webhook is. `error`, `attempts` and `next_at` are of the oldest message that waits."""

    position: int
    delivered: int
    waiting: int
    error: str = ""
    attempts: int = 0
    next_at: datetime | None = None


class Outbox:
    """One file. Reading one that is not there yet finds nothing and makes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def position(self, webhook: str) -> int | None:
        """The ledger row up to which this webhook's messages were written; None for one never seen."""
        found = self._read("SELECT position FROM webhooks WHERE id = ?", webhook)
        return int(found[0][0]) if found else None

    def put(self, webhook: str, messages: Sequence[Message], *, position: int) -> None:
        """Keep these and the new position, both or neither. A message that stands there is left as it is."""
        with self._connect() as db:
            db.executemany(
                "INSERT OR IGNORE INTO deliveries (webhook, key, seq, body) VALUES (?, ?, ?, ?)",
                [(webhook, m.key, m.seq, m.body) for m in messages],
            )
            db.execute(
                "INSERT INTO webhooks VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET position = excluded.position",
                (webhook, position),
            )

    def due(self, webhook: str, now: datetime, *, longest_wait: timedelta) -> list[Message]:
        """What may be tried now, in the ledger's order. Nothing waits longer than the longest wait: what seems to was
        put off before the clock was set back."""
        found = self._read(
            "SELECT key, seq, body, attempts FROM deliveries "
            "WHERE webhook = ? AND delivered_at IS NULL AND (next_at <= ? OR next_at > ?) ORDER BY seq",
            webhook,
            now.timestamp(),
            (now + longest_wait).timestamp(),
        )
        return [Message(*row) for row in found]

    def delivered(self, webhook: str, key: str, *, at: datetime) -> None:
        with self._connect() as db:
            db.execute(
                "UPDATE deliveries SET delivered_at = ?, attempts = attempts + 1, error = '' "
                "WHERE webhook = ? AND key = ?",
                (at.timestamp(), webhook, key),
            )

    def put_off(self, webhook: str, key: str, *, until: datetime, error: str) -> None:
        """This one was tried and not taken."""
        with self._connect() as db:
            db.execute(
                "UPDATE deliveries SET attempts = attempts + 1, next_at = ?, error = ? WHERE webhook = ? AND key = ?",
                (until.timestamp(), error, webhook, key),
            )

    def put_off_all(self, webhook: str, *, until: datetime) -> None:
        """Nobody is there: the others need not be tried before."""
        with self._connect() as db:
            db.execute(
                "UPDATE deliveries SET next_at = max(next_at, ?) WHERE webhook = ? AND delivered_at IS NULL",
                (until.timestamp(), webhook),
            )

    def standing(self, webhook: str) -> Standing | None:
        """None for a webhook that was never looked after."""
        position = self.position(webhook)
        if position is None:
            return None
        [(delivered, waiting)] = self._read(
            "SELECT count(delivered_at), count(*) - count(delivered_at) FROM deliveries WHERE webhook = ?", webhook
        )
        oldest = self._read(
            "SELECT error, attempts, next_at FROM deliveries WHERE webhook = ? AND delivered_at IS NULL "
            "ORDER BY seq LIMIT 1",
            webhook,
        )
        error, attempts, next_at = oldest[0] if oldest else ("", 0, 0.0)
        at = datetime.fromtimestamp(next_at, UTC) if next_at else None
        return Standing(position, delivered, waiting, error, attempts, at)

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        with self._connect() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=10.0)
        try:
            with db:
                db.executescript(_SCHEMA)
                db.execute("PRAGMA synchronous = FULL")
                yield db
        finally:
            db.close()
