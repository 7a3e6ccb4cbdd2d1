"""What keeps the ledger's rows: the one Protocol that SQLite and Postgres implement, held to one contract suite.

Here: its two verbs and its error. Not here: what a row means (ledger.py), or any connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from recsys_assets.errors import UserFacingError


class LedgerUnavailable(UserFacingError, OSError):  # noqa: N818 - as the platform's and the registry's
    """The ledger does not answer, or refuses: what happened is not known, so nothing may go on."""


class Which(Enum):
    """The questions that are asked. The value is the condition, with a place for the one value that is bound."""

    ALL = ""
    OF_RELEASE = "WHERE release_id = {}"
    WITH_KEY = "WHERE key = {}"
    AFTER = "WHERE seq > {}"
    LATEST = "WHERE seq = (SELECT max(seq) FROM events)"


COLUMNS = "at, release_id, kind, actor, key, body"


@dataclass(frozen=True)
class Row:
    """One row as it is written: the time with its zone, and the body as JSON."""

    at: str
    release_id: str
    kind: str
    actor: str
    key: str
    body: str


class Book(Protocol):
    """Rows that can be added and read, never changed. Every call may raise LedgerUnavailable."""

    def add(self, row: Row) -> bool:
        """Write it durably; False when its key already stands there. Rows appear in the order of their numbers."""

    def rows(self, which: Which, *values: str | int) -> list[tuple[int, Row]]:
        """Numbers and rows in order. A book that nobody wrote yet has none, and is not made by asking."""
