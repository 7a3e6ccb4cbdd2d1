"""What a source file must not be, found before its rows are read: a bomb, or one that names a column twice.

Here: cheap looks at a file's outside. Not here: its rows (contract.py), or where a broken line is (formats.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys_assets.interactions.files.unpacking import FEW_BYTES, MOST_PACKED
from recsys_assets.interactions.formats import SourceUnreadableError

# Real events take some bytes each.
_FEW_ROWS: Final = 1_000_000
# From here on a float names more than one whole number.
_EXACT: Final = 2**53
_MAX_SHOWN: Final = 60


def check_json_lines(path: Path, columns: Sequence[str], texts: Sequence[str]) -> None:
    """Raise SourceUnreadableError, with the row, where a line names a wanted column twice, where one of `texts`
    (columns of identifiers and words) is a list, an object, a truth value or a fraction, or where a text is no Unicode.

    The reader would take the last of two, and the JSON of a list for its text. One fast look finds the lines that may
    be meant; those are parsed.
    """
    line = pl.col("line")
    twice = [line.str.count_matches(rf'"{re.escape(name)}"\s*:') > 1 for name in columns]
    odd = [line.str.contains(rf'"{re.escape(name)}"\s*:\s*(?:[\[{{tf]|-?\d+[.eE])') for name in texts]
    escaped = [line.str.contains(r'(?i)\\u[0-9a-f]{4}[^"]*"\s*:|\\ud[89a-f]')]
    try:
        rows = pl.scan_lines(path, name="line").filter(line.str.contains(r"\S")).with_row_index("row", 1)
        found = rows.filter(pl.any_horizontal(*twice, *odd, *escaped)).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return  # what cannot be read as lines is told by the reader itself
    for row, text in found.iter_rows():
        if fault := _fault(text, columns, texts):
            raise SourceUnreadableError(fault, row=row)


def check_parquet(path: Path) -> int:
    """The rows that the footer names. A few kilobytes may claim a thousand million, or to unpack to a disk full."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    size = path.stat().st_size
    try:
        footer = pyarrow.parquet.read_metadata(path)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        unpacked = sum(group.column(n).total_uncompressed_size for group in groups for n in range(group.num_columns))
    except (pyarrow.ArrowException, OSError, ValueError) as broken:
        raise SourceUnreadableError(f"parquet: {str(broken).splitlines()[0]}") from broken
    if footer.num_rows > max(_FEW_ROWS, size):
        raise SourceUnreadableError(f"claims {footer.num_rows} rows in {size} bytes")
    if unpacked > max(FEW_BYTES, size * MOST_PACKED):
        raise SourceUnreadableError(f"claims to unpack {size} bytes to {unpacked}")
    return int(footer.num_rows)


def check_header(header: Sequence[str], columns: Sequence[str]) -> None:
    """Raise SourceUnreadableError for a wanted column that stands twice: nobody could say which one is meant."""
    for name in columns:
        if header.count(name) > 1:
            raise SourceUnreadableError(f"column {name} stands twice in the header")


def _fault(text: str, columns: Sequence[str], texts: Sequence[str]) -> str | None:
    """What is wrong with one line, or None; one that is no JSON at all is told by the reader."""
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, _Pairs):
        return None
    names = [name for name, _ in pairs]
    for name in columns:
        if names.count(name) > 1:
            return f"column {name} stands twice in the line"
    for name, value in pairs:
        if name in texts and not _is_plain(value):
            return f"column {name} must be a string or a whole number, got {_shown(value)}"
        if name in columns and isinstance(value, str) and not _is_unicode(value):
            return f"column {name} is not Unicode text, got {value[:_MAX_SHOWN]!r}"
    return None


class _Pairs(list[tuple[str, Any]]):
    """An object's names and values as they stand there."""


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer() and abs(value) < _EXACT
    return value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _shown(value: object) -> str:
    if isinstance(value, _Pairs):
        return "an object"
    return repr(value)[:_MAX_SHOWN]


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
