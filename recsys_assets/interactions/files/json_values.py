"""Lists in JSON lines: the reader of columns would write them out as texts, so these columns are parsed line by line.

Here: columns of lists and texts, and columns that hold one value. Not here: the other columns (opening.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from recsys_assets.interactions.attributes import WRITTEN_OUT
from recsys_assets.interactions.files.pieces import pieces
from recsys_assets.interactions.formats import SourceUnreadableError

_SHOWN: Final = 60
_EXACT: Final = 2**53


def list_columns(path: Path, columns: dict[str, str]) -> list[pl.Series]:
    """These columns (each with the separator of its texts) as lists of strings, row by row.

    Raises SourceUnreadableError, with row and column, for a value that is neither a list of texts or whole numbers,
    nor a text, nor null.
    """
    found: dict[str, list[list[str] | None]] = {column: [] for column in columns}
    for row, parsed in _objects(path):
        for column, values in found.items():
            values.append(_listed(parsed.get(column), columns[column], column, row))
    return [pl.Series(column, values, pl.List(pl.String)) for column, values in found.items()]


def check_single(path: Path, columns: Sequence[str]) -> None:
    """Raise SourceUnreadableError, with the row, where one of these columns holds a list or an object."""
    if not columns:
        return
    names = "|".join(re.escape(name) for name in columns)
    suspect = re.compile(rf'"(?:{names})"\s*:\s*[\[{{]|\\u'.encode())
    for row, line in _lines(path):
        if suspect.search(line):
            parsed = _parsed(row, line)
            for column in columns:
                if isinstance(value := parsed.get(column), list | dict):
                    hint = " (`kind: categories` takes lists)" if isinstance(value, list) else ""
                    raise _wrong(row, column, f"must be one value{hint}", value)


def _listed(value: Any, separator: str, column: str, row: int) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        if re.search(WRITTEN_OUT, value.strip()):
            raise _wrong(row, column, "must be a list itself, and not one written out as a text", value)
        return [part.strip() for part in value.split(separator) if part.strip()]
    if not isinstance(value, list):
        raise _wrong(row, column, "must be a list of texts, or a text with `separator` between the values", value)
    for each in value:
        is_whole = isinstance(each, int | float) and not isinstance(each, bool) and each == int(each)
        if not isinstance(each, str) and not (is_whole and abs(each) < _EXACT):
            raise _wrong(row, column, "must hold texts or whole numbers only", each)
    return [text for each in value if (text := each if isinstance(each, str) else str(int(each)))]


def _wrong(row: int, column: str, rule: str, value: Any) -> SourceUnreadableError:
    shown = orjson.dumps(value).decode()
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return SourceUnreadableError(f"column {column} {rule}, got {shown}", row=row)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    row = 0
    for piece in pieces(path):
        for line in piece.split(b"\n"):
            if line.strip():
                row += 1
                yield row, line


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for row, line in _lines(path):
        yield row, _parsed(row, line)


def _parsed(row: int, line: bytes) -> dict[str, Any]:
    """The line's object; one that is none is refused by the reader of columns."""
    try:
        parsed = orjson.loads(line)
    except ValueError as broken:
        raise SourceUnreadableError(f"not a line of JSON: {broken}", row=row) from broken
    return parsed if isinstance(parsed, dict) else {}
