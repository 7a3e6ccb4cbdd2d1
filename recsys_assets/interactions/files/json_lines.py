"""The lines of a JSON lines file counted by bytes, and the columns that they name.

Here: a count that shares nothing with the reader of values. Not here: what stands in a line (limits.py, reader.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.interactions.files.pieces import not_utf8, pieces
from recsys_assets.interactions.formats import SourceUnreadableError

_BLANK: Final = b" \t\r\n"
_FIRST_LINES: Final = 1_000


def count_json_lines(path: Path) -> int:
    """The lines that are not blank. Raises SourceUnreadableError where one is no UTF-8, or where there is none."""
    counted = 0
    for piece in pieces(path):
        data = np.frombuffer(piece, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        starts = np.concatenate(([0], ends[:-1] + 1))
        # Nearly every line begins with a brace. The others are looked at one by one.
        odd = np.flatnonzero(data[starts] <= ord(" "))
        blank = sum(not piece[starts[n] : ends[n]].strip(_BLANK) for n in odd)
        if broken := not_utf8(piece):
            raise SourceUnreadableError(broken[1], row=counted + int(np.searchsorted(ends, broken[0])) + 1)
        counted += len(ends) - blank
    if counted == 0:
        raise SourceUnreadableError("the file has no line")
    return counted


def json_names(path: Path, wanted: list[str]) -> list[str]:
    """The keys of the first lines, and those of `wanted` that stand anywhere as a key."""
    try:
        found = list(pl.scan_ndjson(path, infer_schema_length=_FIRST_LINES, ignore_errors=True).collect_schema())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        found = []
    rest = [name for name in wanted if name not in found]
    if not rest:
        return found
    keys = [json.dumps(name, ensure_ascii=False) for name in rest]
    named = [pl.col("line").str.contains(key, literal=True).any().alias(key) for key in keys]
    try:
        there = pl.scan_lines(path, name="line").select(named).collect().row(0)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return found
    return found + [name for name, is_there in zip(rest, there, strict=True) if is_there]
