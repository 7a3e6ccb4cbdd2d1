"""The append-only record of every release: what happened, when, by whom and why.

Here: the rows, the questions asked of them, and where they are kept by the settings. Not here: SQLite and Postgres
(ledger_sqlite.py, ledger_postgres.py), or decisions: the route object is the truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from recsys_assets.records import Episode, Phase
from recsys_assets.rollout.denials import OVERRIDE, denied_at, episodes_of
from recsys_assets.rollout.ledger_book import Book, LedgerUnavailable, Row, Which
from recsys_assets.rollout.ledger_sqlite import SqliteBook
from recsys_assets.settings import ConfigError, Settings

__all__ = ["Audience", "Event", "Ledger", "LedgerUnavailable", "Mark", "ReleaseRow", "open_ledger"]

OPENED, AUDIENCE, MARKED, SETTLED, WAITING = "opened", "audience", "exposures_marked", "settled", "waiting"
# A person's words, and what a person is asked for.
APPROVAL_ASKED, APPROVED, PAUSED, RESUMED = "approval_asked", "approved", "paused", "resumed"
# Neither arm may be trusted: nothing moves until a person looks.
FROZEN = "frozen"
PHASES: Final = frozenset(phase.value for phase in Phase)


@dataclass(frozen=True)
class Event:
    """One row. `key` makes it count once: whoever writes it again writes nothing."""

    seq: int
    at: datetime
    release_id: str
    kind: str
    actor: str
    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class ReleaseRow:
    """Where a release stands by its rows: the phase, the canary's weight and why it came there."""

    release_id: str
    version: str
    digest: str
    phase: Phase
    weight_bp: int
    why: str
    actor: str
    opened_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class Audience:
    """How many visitors one variant answered during a release, and over how many seconds."""

    variant: str
    visitors: int
    seconds: float


@dataclass(frozen=True)
class Mark:
    """Exposures of this version in this time were of a model that was rolled back."""

    release_id: str
    model_version: str
    since: datetime
    until: datetime


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of these settings: Postgres where a variable with its address is named, else a file of the home."""
    if settings.stores.ledger_url_env is None:
        return Ledger(settings.path("ledger.db"))
    from recsys_assets.rollout.ledger_postgres import PostgresBook

    if settings.secrets.ledger_url is None:
        raise ConfigError(f"these settings were read without {settings.stores.ledger_url_env}, which holds the ledger")
    return Ledger(PostgresBook(settings.secrets.ledger_url.get_secret_value()))


class Ledger:
    """A book of rows, or the file of one. Reading one that is not there yet finds nothing and makes nothing."""

    def __init__(self, book: Path | Book) -> None:
        self._book = SqliteBook(book) if isinstance(book, Path) else book

    def append(
        self, kind: str, *, release_id: str, actor: str, at: datetime, key: str, body: Mapping[str, Any]
    ) -> bool:
        """Write a row; False when the key already stands there."""
        if at.tzinfo is None:
            raise ValueError(f"{key}: a moment of the ledger has its time zone, found {at.isoformat()}")
        return self._book.add(Row(at.isoformat(), release_id, kind, actor, key, json.dumps(body, sort_keys=True)))

    def has(self, key: str) -> bool:
        return bool(self._book.rows(Which.WITH_KEY, key))

    def events(self, release_id: str | None = None) -> list[Event]:
        """All rows in order, or those of one release."""
        return self._read(Which.OF_RELEASE, release_id) if release_id else self._read(Which.ALL)

    def after(self, seq: int) -> list[Event]:
        """The rows that came after this one, in order. Books have one writer at a time: no row appears before it."""
        return self._read(Which.AFTER, seq)

    def last_seq(self) -> int:
        """The number of the latest row, 0 where there is none."""
        latest = self._book.rows(Which.LATEST)
        return latest[0][0] if latest else 0

    def releases(self) -> list[ReleaseRow]:
        """Every release, oldest first, as its latest row tells."""
        rows: dict[str, ReleaseRow] = {}
        for event in self.events():
            before = rows.get(event.release_id)
            if event.kind == OPENED:
                rows[event.release_id] = _opened_row(event)
            elif before is not None and event.kind in PHASES:
                rows[event.release_id] = _changed_row(before, event)
        return list(rows.values())

    def denied(self, now: datetime, *, for_release: str = "") -> dict[str, str]:
        """Digests that were rolled back and that no override allows at `now`, with the release that did it."""
        return denied_at(self.events(), now, for_release=for_release)

    def episodes(self, digest: str) -> list[Episode]:
        """Those that ended releases of this digest, since it was last promoted or overridden."""
        return episodes_of(self.events(), digest)

    def overrides(self) -> list[Event]:
        return [event for event in self.events() if event.kind == OVERRIDE]

    def approved(self, release_id: str) -> bool:
        return any(event.kind == APPROVED for event in self.events(release_id))

    def waited_for_approval(self, release_id: str, now: datetime) -> timedelta:
        """From the question to its answer, or to now; nothing where nobody was asked first."""
        at = {event.kind: event.at for event in self.events(release_id)}
        asked = at.get(APPROVAL_ASKED)
        return timedelta(0) if asked is None else max(at.get(APPROVED, now) - asked, timedelta(0))

    def promoted(self, version: str, digest: str) -> bool:
        """Whether the latest release of exactly this version and digest ended as champion."""
        phases = [r.phase for r in self.releases() if (r.version, r.digest) == (version, digest)]
        return bool(phases) and phases[-1] is Phase.CHAMPION

    def audience(self, release_id: str) -> list[Audience]:
        """Who saw what, as counted when the release ended."""
        rows = [event.body["variants"] for event in self.events(release_id) if event.kind == AUDIENCE]
        return [Audience(**row) for row in rows[-1]] if rows else []

    def marks(self) -> list[Mark]:
        """The exposures that training may leave out."""
        return [
            Mark(
                event.release_id,
                event.body["model_version"],
                datetime.fromisoformat(event.body["since"]),
                datetime.fromisoformat(event.body["until"]),
            )
            for event in self.events()
            if event.kind == MARKED
        ]

    def _read(self, which: Which, *values: str | int) -> list[Event]:
        return [
            Event(
                seq,
                datetime.fromisoformat(row.at),
                row.release_id,
                row.kind,
                row.actor,
                row.key,
                json.loads(row.body),
            )
            for seq, row in self._book.rows(which, *values)
        ]


def _opened_row(event: Event) -> ReleaseRow:
    body = event.body
    return ReleaseRow(
        release_id=event.release_id,
        version=body["version"],
        digest=body["digest"],
        phase=Phase(body["phase"]),
        weight_bp=0,
        why=body["reason"],
        actor=event.actor,
        opened_at=event.at,
        changed_at=event.at,
    )


def _changed_row(before: ReleaseRow, event: Event) -> ReleaseRow:
    return ReleaseRow(
        release_id=before.release_id,
        version=before.version,
        digest=before.digest,
        phase=Phase(event.kind),
        weight_bp=int(event.body["weight_bp"]),
        why=str(event.body["reason"]),
        actor=event.actor,
        opened_at=before.opened_at,
        changed_at=event.at,
    )
