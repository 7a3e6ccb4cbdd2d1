"""A source file opened for reading, with the number of its rows counted by other means than the reader's own.

Here: the reader's options, and the proof that it found every row. Not here: what the values mean (values.py).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import polars as pl

from recsys_assets.interactions.files.csv_records import count_csv
from recsys_assets.interactions.files.json_lines import count_json_lines, json_names
from recsys_assets.interactions.files.unpacking import for_json_reader, plain_text
from recsys_assets.interactions.formats import SourceUnreadableError, locate_broken_line
from recsys_assets.interactions.limits import check_header, check_json_lines, check_parquet
from recsys_assets.settings import TextLayout

Kind = Literal["parquet", "csv", "jsonl"]
# No file has a column of this name; one called "row" is a file's own.
ROW: Final = "__row__"
FORMATS: Final[dict[str, Kind]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
PACKINGS: Final = (".gz", ".gzip", ".zst", ".zstd")
# A broken Parquet file can make the reader panic, which is an exception of its own kind.
UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)
# Faults of this machine, which say nothing about the file.
_OUR_FAULT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True)
class OpenFile:
    """A lazy frame of all columns with ROW, the columns' names, and how many rows the file holds.

    `filler` counts blank lines at the end, of which the CSV reader makes rows. `json_lines` is the plain file, where it
    is one of JSON lines.
    """

    lazy: pl.LazyFrame
    names: tuple[str, ...]
    rows: int
    filler: int = 0
    json_lines: Path | None = None

    def collect(self, lazy: pl.LazyFrame, keep: pl.Expr | None = None) -> pl.DataFrame:
        """The rows of `lazy` (this file's, with ROW) that `keep` chooses. Raises SourceUnreadableError where the
        reader's last row is not the file's last row: then it merged rows or made some."""
        last = self.rows + self.filler
        frame = (lazy if keep is None else lazy.filter(keep | (pl.col(ROW) >= last))).collect()
        self._believe(frame.select(pl.col(ROW).max()))
        frame = frame.filter(pl.col(ROW) <= self.rows)
        return frame if keep is None else frame.filter(keep)

    def summarise(self, lazy: pl.LazyFrame, **values: pl.Expr) -> dict[str, Any]:
        """One value of each expression over all rows of `lazy`, as well proven, without holding the rows."""
        found = lazy.select(pl.col(ROW).max(), **values).collect()
        self._believe(found.select(ROW))
        return found.drop(ROW).row(0, named=True)

    def _believe(self, newest: pl.DataFrame) -> None:
        last = self.rows + self.filler
        found = newest.select(pl.col(ROW).cast(pl.Int64).fill_null(0)).item()
        if found != last:
            raise SourceUnreadableError(f"the reader found {found} rows where the file holds {last}: none is used")


@contextmanager
def open_file(path: Path, layout: TextLayout, columns: Sequence[str], texts: Sequence[str]) -> Iterator[OpenFile]:
    """Raises SourceUnreadableError for a file that cannot be read, with the row where one is to blame; also for what
    goes wrong while the caller reads. `columns` are those wanted; a list is no value of those in `texts`.
    """
    kind = format_of(path, layout.format)
    with _named(path, kind), plain_text(path, kind) as plain:
        if kind == "jsonl":
            with for_json_reader(plain) as here, _named(here, kind):
                yield _json_lines(here, columns, texts)
            return
        with _named(plain, kind):
            yield _parquet(plain) if kind == "parquet" else _csv(plain, layout, columns)


@contextmanager
def _named(path: Path, kind: Kind) -> Iterator[None]:
    """What a reader cannot read becomes SourceUnreadableError, with the row while the file is still there."""
    try:
        yield
    except UNREADABLE as broken:
        if isinstance(broken, OSError) and broken.errno in _OUR_FAULT:
            raise
        raise _unreadable(path, kind, broken) from broken


def format_of(path: Path | str, declared: Kind | None) -> Kind:
    """The declared format, else by the file's ending; `.gz` and `.zst` behind it say nothing."""
    if declared:
        return declared
    suffixes = [suffix.lower() for suffix in PurePosixPath(str(path)).suffixes]
    kinds = [suffix for suffix in suffixes if suffix not in PACKINGS]
    if not kinds or kinds[-1] not in FORMATS:
        raise SourceUnreadableError(f"cannot tell the format of {path}: set `format` to parquet, csv or jsonl")
    return FORMATS[kinds[-1]]


def _parquet(path: Path) -> OpenFile:
    rows = check_parquet(path)
    lazy = pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1, glob=False)
    return OpenFile(lazy, _names(lazy), rows)


def _csv(path: Path, layout: TextLayout, columns: Sequence[str]) -> OpenFile:
    counted = count_csv(path, layout.separator, layout.quote)
    check_header(counted.header, columns)
    # All values come as strings, so that no leading zero is lost.
    lazy = pl.scan_csv(
        path,
        separator=layout.separator,
        quote_char=layout.quote,
        infer_schema=False,
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )
    return OpenFile(lazy, _names(lazy), counted.records, counted.blank_tail)


def _json_lines(path: Path, columns: Sequence[str], texts: Sequence[str]) -> OpenFile:
    rows = count_json_lines(path)
    there = json_names(path, list(columns))
    schema = {name: pl.String for name in columns if name in there} or {columns[0]: pl.String}
    check_json_lines(path, columns, texts)
    lazy = pl.scan_ndjson(path, schema=schema, row_index_name=ROW, row_index_offset=1)
    return OpenFile(lazy, tuple(there), rows, json_lines=path)


def _names(lazy: pl.LazyFrame) -> tuple[str, ...]:
    return tuple(name for name in lazy.collect_schema().names() if name != ROW)


def _unreadable(path: Path, kind: Kind, broken: Exception) -> SourceUnreadableError:
    row, why = locate_broken_line(path, kind)
    said = str(broken).strip().splitlines()
    return SourceUnreadableError(why or (said[0] if said else type(broken).__name__), row=row)
