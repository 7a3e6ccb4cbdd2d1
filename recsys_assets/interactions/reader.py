"""Parquet, CSV and JSON lines, lazily and by time range, as the canonical frame of interactions.

Here: reading columns under our names and converting them. Not here: judging rows (contract.py), entities (entities.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, INTERACTIONS, ITEM, USER, VALUE
from recsys_assets.interactions.calendar import midnight
from recsys_assets.interactions.formats import SourceUnreadableError, locate_broken_line
from recsys_assets.interactions.limits import check_json_lines, check_outside
from recsys_assets.interactions.sources import Span, list_files, local_copy, patterns
from recsys_assets.interactions.values import to_id, to_number, to_text, to_time, within
from recsys_assets.settings import InteractionSource, Settings

# No file has a column of this name; one called "row" is a file's own.
ROW: Final = "__row__"
FORMATS: Final[dict[str, Literal["parquet", "csv", "jsonl"]]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}

# A broken Parquet file can make the reader panic, which is an exception of its own kind.
UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)


class SourceMissingError(FileNotFoundError):
    """No file matches the source's patterns; the message names them."""


def read_interactions(
    settings: Settings, source: InteractionSource, *, start: date | None = None, end: date | None = None
) -> pl.DataFrame:
    """All events of a source in [start, end), by time, as columns.INTERACTIONS. Rows without user, item or time are
    left out: this reads what is trusted (replay, benchmarks); the asset `interactions` goes by the contract."""
    files = list_files(settings, source)
    if not files:
        raise SourceMissingError(f"no file matches {', '.join(patterns(settings, source))}")
    frames = []
    for file in files:
        with local_copy(file.path) as path:
            frames.append(canonical(read_raw(path, source, start=start, end=end), source))
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
    after `now`: nothing that breaks the contract is skipped because of its time.
    """
    lazy = scan_raw(path, source)
    dtype = lazy.collect_schema().get(EVENT_TIME)
    if dtype is not None and (start is not None or end is not None):
        low, high = (None if day is None else midnight(day) for day in (start, end))
        lazy = lazy.filter(within(EVENT_TIME, dtype, source.time_unit, low=low, high=high, now=now))
    return _collect(lazy, path, source)


def scan_raw(path: Path, source: InteractionSource) -> pl.LazyFrame:
    """The mapped columns, lazily. Raises SourceUnreadableError; a column that the file lacks is left out."""
    try:
        kind = format_of(path, source.format)
        lazy = open_file(path, kind, source.separator, list(source.columns.values()))
        if kind == "jsonl":
            texts = [source.columns[name] for name in (USER, ITEM, EVENT_TYPE) if name in source.columns]
            check_json_lines(path, list(source.columns.values()), texts)
        there = set(lazy.collect_schema().names())
    except UNREADABLE as broken:
        raise _unreadable(path, source, broken) from broken
    mapped = {ours: theirs for ours, theirs in source.columns.items() if theirs in there}
    return lazy.select(pl.col(ROW), *(pl.col(theirs).alias(ours) for ours, theirs in mapped.items()))


def open_file(path: Path, kind: str, separator: str, columns: Sequence[str]) -> pl.LazyFrame:
    """A lazy frame of the file with ROW. Text formats come as strings, so that no leading zero is lost. Raises
    SourceUnreadableError for a file that must not even be opened."""
    check_outside(path, kind, separator, columns)
    if kind == "parquet":
        return pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1, glob=False)
    if kind == "csv":
        return pl.scan_csv(
            path, separator=separator, infer_schema=False, row_index_name=ROW, row_index_offset=1, glob=False
        )
    there = _json_names(path)
    schema = {name: pl.String for name in columns if name in there} or {columns[0]: pl.String}
    return pl.scan_ndjson(path, schema=schema, row_index_name=ROW, row_index_offset=1)


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


def event_span(path: Path, source: InteractionSource) -> Span | None:
    """The days of the first and the last event of a whole log; None where it has no readable event."""
    try:
        lazy = scan_raw(path, source)
        dtype = lazy.collect_schema().get(EVENT_TIME)
        when = to_time(EVENT_TIME, dtype, source.time_unit)
        ends = lazy.select(first=when.min(), last=when.max()).collect()
    except (SourceUnreadableError, *UNREADABLE):
        return None
    first, last = ends.row(0)
    return None if first is None else (first.date(), last.date())


def format_of(path: Path | str, declared: str | None) -> str:
    """The declared format, else by the file's ending."""
    if declared:
        return declared
    suffix = PurePosixPath(str(path)).suffix.lower()
    if suffix not in FORMATS:
        raise SourceUnreadableError(f"cannot tell the format of {path}: set `format` to parquet, csv or jsonl")
    return FORMATS[suffix]


def _json_names(path: Path) -> set[str]:
    """The keys in the first thousand lines; a wrong line there is found when the file is read."""
    try:
        return set(pl.scan_ndjson(path, infer_schema_length=1_000, ignore_errors=True).collect_schema().names())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return set()


def _collect(lazy: pl.LazyFrame, path: Path, source: InteractionSource) -> pl.DataFrame:
    try:
        return lazy.collect()
    except UNREADABLE as broken:
        raise _unreadable(path, source, broken) from broken


def _unreadable(path: Path, source: InteractionSource, broken: Exception) -> SourceUnreadableError:
    row, why = locate_broken_line(path, format_of(path, source.format), source.separator)
    first_line = str(broken).strip().splitlines()[0] if str(broken).strip() else type(broken).__name__
    return SourceUnreadableError(why or first_line, row=row)
