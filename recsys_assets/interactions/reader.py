"""Parquet, CSV and JSON lines, lazily and by time range, as the canonical frame of interactions.

Here: reading columns under our names and converting them. Not here: judging rows (contract.py), entities (entities.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, INTERACTIONS, ITEM, USER, VALUE
from recsys_assets.interactions.calendar import midnight
from recsys_assets.interactions.files.datasets import columns_in_path
from recsys_assets.interactions.files.opening import ROW, OpenFile, open_file
from recsys_assets.interactions.formats import SourceUnreadableError, no_such_column
from recsys_assets.interactions.sources import local_copy, look, patterns
from recsys_assets.interactions.values import time_hint, to_id, to_number, to_text, to_time, within
from recsys_assets.settings import InteractionSource, Settings

Moments = tuple[datetime, datetime]
NONE_BESIDE: Final[Mapping[str, str | None]] = {}


class NoRowsError(SourceUnreadableError):
    """A file that is in order and holds no row."""


class SourceMissingError(FileNotFoundError):
    """No file matches the source's patterns; the message names them."""


def read_interactions(
    settings: Settings, source: InteractionSource, *, start: date | None = None, end: date | None = None
) -> pl.DataFrame:
    """All events of a source in [start, end), by time, as columns.INTERACTIONS. Rows without user, item or time are
    left out: this reads what is trusted (replay, benchmarks); the asset `interactions` goes by the contract."""
    found = look(settings, source)
    if not found.files:
        passed = "".join(f"; {each.path}: {each.reason}" for each in found.passed_over)
        raise SourceMissingError(f"no file matches {', '.join(patterns(settings, source))}{passed}")
    frames = []
    for file in found.files:
        with local_copy(file.path) as path:
            read = read_file(path, source, start=start, end=end, beside=columns_in_path(file.path))
            for ours, theirs in source.columns.items():
                if ours not in read.rows.columns:
                    raise SourceUnreadableError(f"{file.path}: {no_such_column(theirs, ours, read.names)}")
            frames.append(canonical(read.rows, source))
    rows = pl.concat(frames).drop(ROW).drop_nulls([USER, ITEM, EVENT_TIME])
    if start is not None:
        rows = rows.filter(pl.col(DAY) >= start)
    if end is not None:
        rows = rows.filter(pl.col(DAY) < end)
    return rows.sort(EVENT_TIME, USER, ITEM)


def read_raw(
    path: Path,
    source: InteractionSource,
    *,
    start: date | None = None,
    end: date | None = None,
    now: datetime | None = None,
) -> pl.DataFrame:
    """The mapped columns under our names, as the file has them, with ROW: 1 is the first row (a CSV's header is none).

    With `start` and `end` only rows in [start, end) are read, and those whose time is absent, is no time, or lies
    after `now`: nothing that breaks the contract is skipped because of its time. Raises SourceUnreadableError.
    """
    return read_file(path, source, start=start, end=end, now=now).rows


@dataclass(frozen=True)
class RawFile:
    """The mapped columns of a file under our names (one that the file lacks is absent), and all of its columns."""

    rows: pl.DataFrame
    names: tuple[str, ...]


def read_file(
    path: Path,
    source: InteractionSource,
    *,
    start: date | None = None,
    end: date | None = None,
    now: datetime | None = None,
    beside: Mapping[str, str | None] = NONE_BESIDE,
) -> RawFile:
    """As read_raw, with the names of the file's columns. `beside` are columns that its folders' names hold."""
    with _opened(path, source) as file:
        lazy = _mapped(file, source, beside)
        dtype = lazy.collect_schema().get(EVENT_TIME)
        keep = None
        if dtype is not None and (start is not None or end is not None):
            low, high = (None if day is None else midnight(day) for day in (start, end))
            keep = within(EVENT_TIME, dtype, source.time_unit, low=low, high=high, now=now)
        return RawFile(file.collect(lazy, keep), (*file.names, *beside))


def event_times(path: Path, source: InteractionSource, beside: Mapping[str, str | None] = NONE_BESIDE) -> Moments:
    """The first and the last event of a whole log. Raises SourceUnreadableError with the reason where it has no event
    whose time can be read, and NoRowsError where it has none at all."""
    with _opened(path, source) as file:
        lazy = _mapped(file, source, beside)
        dtype = lazy.collect_schema().get(EVENT_TIME)
        if dtype is None:
            names = (*file.names, *beside)
            raise SourceUnreadableError(no_such_column(source.columns[EVENT_TIME], EVENT_TIME, names))
        when = to_time(EVENT_TIME, dtype, source.time_unit)
        given = pl.col(EVENT_TIME).drop_nulls().first()
        found = file.summarise(lazy, first=when.min(), last=when.max(), given=given)
        if file.rows == 0:
            raise NoRowsError("the file has columns and no row")
    if found["first"] is None:
        raise SourceUnreadableError(_no_time(found["given"], source))
    return found["first"], found["last"]


def _no_time(given: object, source: InteractionSource) -> str:
    column = source.columns[EVENT_TIME]
    if given is None:
        return f"column {column} is empty in every row"
    return f"column {column}: no time in unit {source.time_unit}, got {given!r}{time_hint(given, source.time_unit)}"


def _opened(path: Path, source: InteractionSource) -> AbstractContextManager[OpenFile]:
    texts = [source.columns[name] for name in (USER, ITEM, EVENT_TYPE) if name in source.columns]
    return open_file(path, source, list(source.columns.values()), texts)


def _mapped(file: OpenFile, source: InteractionSource, beside: Mapping[str, str | None]) -> pl.LazyFrame:
    there = set(file.lazy.collect_schema().names())
    inside = [pl.col(theirs).alias(ours) for ours, theirs in source.columns.items() if theirs in there]
    around = [
        pl.lit(beside[theirs], pl.String).alias(ours)
        for ours, theirs in source.columns.items()
        if theirs in beside and theirs not in there
    ]
    return file.lazy.select(pl.col(ROW), *inside, *around)


def canonical(raw: pl.DataFrame, source: InteractionSource) -> pl.DataFrame:
    """ROW and columns.INTERACTIONS; what cannot be converted is null. `event_type` is null where not mapped."""
    types = raw.schema
    return raw.select(
        pl.col(ROW).cast(pl.Int64),
        to_id(USER, types.get(USER)),
        to_id(ITEM, types.get(ITEM)),
        to_time(EVENT_TIME, types.get(EVENT_TIME), source.time_unit),
        to_time(EVENT_TIME, types.get(EVENT_TIME), source.time_unit).dt.date().alias(DAY),
        to_number(VALUE, types.get(VALUE)),
        to_text(EVENT_TYPE, types.get(EVENT_TYPE)),
    ).select(ROW, *INTERACTIONS.names())
