"""Which versions of which tables a training run read, and up to when: decided once, kept everywhere.

Here: the record, and taking it from the newest tables. Not here: reading rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict

from recsys_assets.interactions.calendar import as_of
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.feedback import Learned, learned, with_feedback

REQUIRED = ("interactions", "user_features", "item_features")
OPTIONAL = ("items", "users")
FEEDBACK = ("exposures", "feedback")


class NotReady(ValueError):  # noqa: N818 - a state of the data, told to a person
    """There is no data that a model may be trained on; the message says what is missing."""


class Tables(Protocol):
    """What is used of the tables resource."""

    def exists(self, name: str) -> bool: ...
    def version(self, name: str) -> int: ...
    def days(self, name: str) -> list[date]: ...
    def read(self, name: str, *, version: int | None = None) -> pl.DataFrame: ...


class Pins(BaseModel):
    """Delta versions by table name; `as_of` is the end of the newest complete day (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: datetime
    tables: dict[str, int]

    @classmethod
    def newest(cls, tables: Tables, *, feedback: bool = False) -> Pins:
        """Pin what stands in the tables now, or NotReady where a day or a table is missing.

        With `feedback`, also what was shown and reported, where any of it was reported before that moment.
        """
        if absent := [name for name in REQUIRED if not tables.exists(name)]:
            raise NotReady(f"no table {', '.join(absent)} yet: materialize it first")
        days = tables.days("interactions")
        if not days:
            raise NotReady("table interactions has no complete day: land a day and materialize it first")
        for name in ("user_features", "item_features"):
            _must_reach(name, tables.days(name), days[-1])
        found = [*REQUIRED, *(name for name in OPTIONAL if tables.exists(name))]
        newest = as_of(days)
        found += FEEDBACK if feedback and _reported_before(newest, tables) else ()
        return cls(as_of=newest, tables={name: tables.version(name) for name in sorted(found)})

    def with_table(self, name: str, version: int) -> Pins:
        return Pins(as_of=self.as_of, tables={**self.tables, name: version})

    def agrees_with(self, other: Pins) -> bool:
        """Same moment, and the same version of every table that both name."""
        shared = self.tables.keys() & other.tables.keys()
        return self.as_of == other.as_of and all(self.tables[name] == other.tables[name] for name in shared)

    def read(self, tables: Tables, name: str) -> pl.DataFrame:
        """The pinned rows of one table."""
        return tables.read(name, version=self.tables[name])

    def read_optional(self, tables: Tables, name: str) -> pl.DataFrame | None:
        return self.read(tables, name) if name in self.tables else None

    def learned(self, tables: Tables, settings: TrainingSettings) -> Learned | None:
        """What the pinned feedback adds to the interactions; None where none is pinned."""
        if not set(FEEDBACK) <= self.tables.keys():
            return None
        frames = {name: partial(self.read, tables, name) for name in (*FEEDBACK, "interactions")}
        return learned(**frames, as_of=self.as_of, wanted=settings.feedback)

    def sources(self, tables: Tables, taken: Learned | None) -> dict[str, Any]:
        """The pinned frames, under the names that the builders take them; `taken` is among the interactions."""
        required = {name: self.read(tables, name) for name in REQUIRED}
        required["interactions"] = with_feedback(required["interactions"], taken)
        return required | {name: self.read_optional(tables, name) for name in OPTIONAL}


def require_rows(interactions: pl.DataFrame, settings: TrainingSettings) -> None:
    """NotReady where the whole table holds fewer events than one training set needs rows."""
    if interactions.height < settings.min_rows:
        raise NotReady(
            f"table interactions has {interactions.height} rows, training.min_rows asks for {settings.min_rows}"
        )


def _reported_before(moment: datetime, tables: Tables) -> bool:
    """Without it no run depends on tables that change every ten minutes: a replay of old data has its clicks today."""
    if not all(map(tables.exists, FEEDBACK)):
        return False
    return any(day < moment.date() for day in tables.days("feedback"))


def _must_reach(name: str, days: Sequence[date], newest: date) -> None:
    if not days or days[-1] < newest:
        seen = days[-1].isoformat() if days else "none"
        raise NotReady(f"table {name} ends on {seen}, interactions on {newest.isoformat()}: materialize {name} first")
