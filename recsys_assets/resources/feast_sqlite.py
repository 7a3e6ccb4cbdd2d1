"""Feast's SQLite online store with its moments in UTC.

Here: what Feast 0.67 gets wrong about time. Not here: its tables and values, which stay Feast's, or our reader
(features/online.py).

Feast takes the zone off each moment and hands it to sqlite3, whose adapter (Feast's own) takes it for local time. The
converter on the way back does the same. So a row that is written under one TZ and read under another is hours off, and
a midnight that does not exist in the local zone is off even in the zone that wrote it.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig


class UtcSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast looks for this class by its name."""

    type: Literal["recsys_assets.resources.feast_sqlite.UtcSqliteOnlineStore"] = (
        "recsys_assets.resources.feast_sqlite.UtcSqliteOnlineStore"  # type: ignore[assignment]
    )


class UtcSqliteOnlineStore(SqliteOnlineStore):
    """Feast's, except that a moment without a zone is UTC when it is written and when it is read."""

    def _get_conn(self, config: Any) -> sqlite3.Connection:
        # sqlite3 keeps both for the whole process: whatever registered others since, these hold for what comes next.
        sqlite3.register_adapter(datetime, _seconds)
        sqlite3.register_converter("timestamp", _moment)
        connection: sqlite3.Connection = super()._get_conn(config)
        return connection


def _seconds(at: datetime) -> int:
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(aware.timestamp())


def _moment(stored: bytes) -> datetime:
    return datetime.fromtimestamp(int(stored), UTC)
