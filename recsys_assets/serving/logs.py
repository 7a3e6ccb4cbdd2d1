"""Reading exposures and feedback back from the files that the processes append to.

Here: files to frames of columns.EXPOSURES and columns.FEEDBACK. Not here: joining or judging them, or keeping one's
place in a file that grows (tail.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from recsys_assets.columns import EXPOSURES, FEEDBACK, UTC_TIME
from recsys_assets.errors import UserFacingError
from recsys_assets.tail import Lines, LogFormat, read_whole


class LogCorrupt(UserFacingError):  # noqa: N818
    """A whole line of a log is not a row. Only the last line may be torn, by a writer that was killed."""


def read_exposures(folder: Path, since: datetime | None = None) -> pl.DataFrame:
    """All answers in the folder's files with served_at >= `since`, oldest first. No file means no rows."""
    return read_whole(folder, EXPOSURE_LOG, since)


def read_feedback(folder: Path, since: datetime | None = None) -> pl.DataFrame:
    """All events with received_at >= `since`, oldest first, each event_id once."""
    return each_once(read_whole(folder, FEEDBACK_LOG, since))


def each_once(feedback: pl.DataFrame) -> pl.DataFrame:
    """A client that got no answer sends an event again: the first receipt counts."""
    return feedback.unique("event_id", keep="first", maintain_order=True)


def _files(folder: Path, _since: datetime | None) -> Sequence[Path]:
    return sorted(folder.glob("*.jsonl"))


def _parser(schema: pl.Schema, time: str) -> Callable[[Lines], pl.DataFrame]:
    raw = pl.Schema({**schema, time: pl.String()})

    def parse(lines: Lines) -> pl.DataFrame:
        whole = lines.content
        try:
            frame = pl.read_ndjson(whole, schema=raw)
            parsed = frame.with_columns(pl.col(time).str.to_datetime(time_unit="us", time_zone="UTC").cast(UTC_TIME))
        except pl.exceptions.PolarsError as broken:
            raise LogCorrupt(f"{lines.path}: {_first_broken_line(lines, schema)}: {broken}") from None
        if parsed.height != whole.count(b"\n") or sum(parsed.null_count().row(0)):
            raise LogCorrupt(f"{lines.path}: {_first_broken_line(lines, schema)}")
        return parsed.select(schema.names())

    return parse


def _first_broken_line(lines: Lines, schema: pl.Schema) -> str:
    for number, line in enumerate(lines.content.split(b"\n")[:-1], start=lines.first):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as broken:
            return f"line {number} is not JSON ({broken})"
        absent = [name for name in schema if not isinstance(row, dict) or row.get(name) is None]
        if absent:
            return f"line {number} has no {', '.join(absent)}"
    return f"from line {lines.first} on, a value is of another type"


EXPOSURE_LOG: Final = LogFormat(
    EXPOSURES, "served_at", _files, _parser(EXPOSURES, "served_at"), order=("served_at", "request_id")
)
FEEDBACK_LOG: Final = LogFormat(
    FEEDBACK, "received_at", _files, _parser(FEEDBACK, "received_at"), order=("received_at", "event_id")
)
