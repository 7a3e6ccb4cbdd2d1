"""The ledger in Postgres: for many machines.

Here: its table, its append-only rule, and one deadline for everything. Not here: what a row means (ledger.py).

A connection lives for one question: a server that was restarted, or failed over, is found again by the next one, and
nothing is left open by many desks. An addition that was given up may still have been made: whoever repeats it with its
key finds that out. A role that may only INSERT and SELECT is enough once the table is there.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any, Final
from urllib.parse import urlsplit

from recsys_assets.rollout.ledger_book import COLUMNS, LedgerUnavailable, Row, Which

SECONDS: Final = 10.0
# Names two advisory locks in the database: of those who make the table, and of those who add to it.
_MAKING, _ADDING = 7_241_990_001, 7_241_990_002
# Two of these side by side, without the lock, may both find no table and one of them fail.
_SCHEMA: Final = f"""
SELECT pg_advisory_xact_lock({_MAKING});
CREATE TABLE IF NOT EXISTS events (seq BIGINT PRIMARY KEY, at TEXT NOT NULL, release_id TEXT NOT NULL,
  kind TEXT NOT NULL, actor TEXT NOT NULL, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_release ON events (release_id, seq);
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
CREATE OR REPLACE TRIGGER no_change BEFORE UPDATE OR DELETE ON events
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
# One message is one transaction. Whoever adds holds the lock to its end: numbers appear in order and without gaps, so
# that a reader who asks for what came after a number never misses a row that was numbered earlier and written later.
_ADD: Final = (
    f"SELECT pg_advisory_xact_lock({_ADDING}); INSERT INTO events (seq, {COLUMNS}) "  # noqa: S608
    "SELECT coalesce(max(seq), 0) + 1, %s, %s, %s, %s, %s, %s FROM events ON CONFLICT (key) DO NOTHING"
)
_NO_TABLE: Final = "42P01"


class PostgresBook:
    """The table `events` of the database that the address names."""

    def __init__(self, url: str, *, seconds: float = SECONDS) -> None:
        self._url, self._seconds = url, seconds
        # The server gives up as well: nothing that waited for a lock is written when nobody waits for it any more.
        self._limit = f"SET LOCAL statement_timeout = {max(int(seconds * 1_000), 1)}; "
        parts = urlsplit(url)
        self._name = f"ledger {parts.hostname or ''}:{parts.port or 5432}{parts.path}"

    def add(self, row: Row) -> bool:
        with self._asking() as ask:
            done = ask(_ADD, astuple(row))
            if done is None:
                ask(_SCHEMA, ())
                done = ask(_ADD, astuple(row))
            if done is None:
                raise LedgerUnavailable(f"{self._name}: its table was made and is gone")
            return bool(done.rowcount == 1)

    def rows(self, which: Which, *values: str | int) -> list[tuple[int, Row]]:
        where = which.value.format("%s")
        with self._asking() as ask:
            found = ask(f"SELECT seq, {COLUMNS} FROM events {where} ORDER BY seq", values)  # noqa: S608
            return [] if found is None else [(seq, Row(*told)) for seq, *told in found.fetchall()]

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """A connection for one question. What it gives answers None where there is no table."""
        import psycopg2  # type: ignore[import-untyped]

        deadline, connection = time.monotonic() + self._seconds, None
        try:
            connection = psycopg2.connect(self._url, async_=True, application_name="recsys-ledger")
            self._wait(connection, deadline)

            def ask(statement: str, values: tuple[Any, ...]) -> Any:
                cursor = connection.cursor()
                try:
                    cursor.execute(self._limit + statement, values or None)
                    self._wait(connection, deadline)
                except psycopg2.Error as refused:
                    if refused.pgcode == _NO_TABLE:
                        return None
                    raise
                return cursor

            yield ask
        except psycopg2.Error as broken:
            told = " ".join(str(broken).split())
            raise LedgerUnavailable(f"{self._name}: {told or type(broken).__name__}") from broken
        finally:
            if connection is not None:
                connection.close()

    def _wait(self, connection: Any, deadline: float) -> None:
        """Until the server has answered. A server that keeps the connection and says nothing is away as well."""
        from psycopg2 import extensions

        while (state := connection.poll()) != extensions.POLL_OK:
            left = deadline - time.monotonic()
            files = [connection.fileno()]
            reading, writing = (files, []) if state == extensions.POLL_READ else ([], files)
            if left <= 0 or not any(select.select(reading, writing, [], left)):
                raise LedgerUnavailable(f"{self._name}: no answer in {self._seconds:g} s")
