"""Where a broken text file is broken: the row and the reason, for a person who has to mend it.

Here: the slow path, taken only after a fast read failed. Not here: reading good files (reader.py).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path


class SourceUnreadableError(ValueError):
    """A file cannot be read; `row` is the first broken one where it can be told (1 is the first row of data)."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.row = row


def locate_broken_line(path: Path, kind: str, separator: str) -> tuple[int | None, str | None]:
    """(row, reason) of the first broken row of a text file; (None, None) where none can be told."""
    try:
        if kind == "csv":
            return _broken_csv(path, separator)
        if kind == "jsonl":
            return _broken_json(path)
    except (OSError, UnicodeDecodeError, csv.Error, RecursionError) as broken:
        return None, str(broken)
    return None, None


def _broken_csv(path: Path, separator: str) -> tuple[int | None, str | None]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, delimiter=separator, strict=True)
        header = next(rows, None)
        if header is None:
            return None, "the file is empty: not even a header"
        row = 0
        try:
            for row, fields in enumerate(rows, start=1):
                if len(fields) > len(header):
                    return row, f"{len(fields)} fields where the header has {len(header)}"
        except csv.Error as broken:
            return row + 1, str(broken)
    return None, None


def _broken_json(path: Path) -> tuple[int | None, str | None]:
    with path.open(encoding="utf-8") as file:
        for row, line in enumerate((text for text in file if text.strip()), start=1):
            try:
                parsed = json.loads(line, parse_constant=_no_number)
            except ValueError as broken:
                return row, f"not a line of JSON: {broken}"
            if not isinstance(parsed, dict):
                return row, "a line of JSON, but not an object"
    return None, None


def _no_number(text: str) -> float:
    """Python would take NaN and Infinity; JSON has neither."""
    raise ValueError(f"{text} is not JSON")
