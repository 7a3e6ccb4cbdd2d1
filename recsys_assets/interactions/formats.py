"""Where a broken text file is broken: the row and the reason, for a person who has to mend it.

Here: the slow path, taken only after a fast read failed. Not here: reading good files (reader.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MOST_NAMED: Final = 30
_ONE_A_LINE: Final = " (write one object a line; jq -c '.[]' does it for an array, jq -c . for spread-out objects)"


class SourceUnreadableError(ValueError):
    """A file cannot be read; `row` is the first broken one where it can be told (1 is the first row of data)."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.row = row


def no_such_column(column: str, ours: str, names: Sequence[str]) -> str:
    """What to say of a mapped column that a file lacks: which columns it has, quoted where blanks could hide."""
    shown = ", ".join(name if name.isidentifier() else repr(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"the file has no column {column} (mapped to {ours}); it has {shown or 'none'}{more}"


def locate_broken_line(path: Path, kind: str) -> tuple[int | None, str | None]:
    """(row, reason) of the first broken line of JSON; (None, None) where none can be found."""
    try:
        return _broken_json(path) if kind == "jsonl" else (None, None)
    except (OSError, UnicodeDecodeError, RecursionError) as broken:
        return None, str(broken)


def _broken_json(path: Path) -> tuple[int | None, str | None]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for row, line in enumerate((text for text in file if text.strip()), start=1):
            try:
                parsed = json.loads(line, parse_constant=_no_number)
            except ValueError as broken:
                return row, f"not a line of JSON: {broken}{_ONE_A_LINE if line.lstrip()[:1] in '[{' else ''}"
            if not isinstance(parsed, dict):
                return row, f"a line of JSON, but not an object{_ONE_A_LINE if isinstance(parsed, list) else ''}"
    return None, None


def _no_number(text: str) -> float:
    """Python would take NaN and Infinity; JSON has neither."""
    raise ValueError(f"{text} is not JSON")
