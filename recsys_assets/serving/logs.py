"""Reading exposures and feedback back from the files that the processes append to.

Here: files to frames of columns.EXPOSURES and columns.FEEDBACK. Not here: joining or judging them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson
import polars as pl

from recsys_assets.columns import EXPOSURES, FEEDBACK, UTC_TIME


class LogCorrupt(Exception):  # noqa: N818
    """A whole line of a log is not a row. Only the last line may be torn, by a writer that was killed."""


def read_exposures(folder: Path, since: datetime | None = None) -> pl.DataFrame:
    """All answers in the folder's files with served_at >= `since`, oldest first. No file means no rows."""
    frame = _read(folder, EXPOSURES, time="served_at", since=since)
    return frame.sort("served_at", "request_id", maintain_order=True)


def read_feedback(folder: Path, since: datetime | None = None) -> pl.DataFrame:
    """All events with received_at >= `since`, oldest first, each event_id once."""
    frame = _read(folder, FEEDBACK, time="received_at", since=since)
    return frame.sort("received_at", "event_id").unique("event_id", keep="first", maintain_order=True)


def _read(folder: Path, schema: pl.Schema, *, time: str, since: datetime | None) -> pl.DataFrame:
    frames = [_read_file(path, schema, time) for path in sorted(folder.glob("*.jsonl"))]
    frame = pl.concat([schema.to_frame(), *frames])
    return frame if since is None else frame.filter(pl.col(time) >= since)


def _read_file(path: Path, schema: pl.Schema, time: str) -> pl.DataFrame:
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        return schema.to_frame()
    raw = pl.Schema({**schema, time: pl.String()})
    try:
        frame = pl.read_ndjson(whole, schema=raw)
        parsed = frame.with_columns(pl.col(time).str.to_datetime(time_unit="us", time_zone="UTC").cast(UTC_TIME))
    except pl.exceptions.PolarsError as broken:
        raise LogCorrupt(f"{path}: {_first_broken_line(whole, schema)}: {broken}") from None
    if parsed.height != whole.count(b"\n") or sum(parsed.null_count().row(0)):
        raise LogCorrupt(f"{path}: {_first_broken_line(whole, schema)}")
    return parsed.select(schema.names())


def _first_broken_line(whole: bytes, schema: pl.Schema) -> str:
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as broken:
            return f"line {number} is not JSON ({broken})"
        absent = [name for name in schema if not isinstance(row, dict) or row.get(name) is None]
        if absent:
            return f"line {number} has no {', '.join(absent)}"
    return "a value is of another type"
