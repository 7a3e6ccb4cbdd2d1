"""Rows of words for a terminal or a pipe: aligned columns, and reasons that break between words only.

Here: pure, text into lines. Not here: what the words are (view.py, story.py), or printing them (cli.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

GAP: Final = 2
INDENT: Final = 4
# A reason in a narrower column is no reading: it goes below the row instead.
NARROWEST: Final = 32


@dataclass(frozen=True)
class Row:
    """`cells` stay on one line, each whole; `notes` are sentences of any length."""

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()


def table(titles: Sequence[str], rows: Sequence[Row], *, width: int | None) -> list[str]:
    """One title for each cell and perhaps one more, of the notes. `width` None: lines of any length, as a pipe wants.

    Notes stand in a column of their own where that leaves room to read, else indented below their row.
    """
    if not rows:
        return []
    cells = [tuple(titles[: len(rows[0].cells)]), *(row.cells for row in rows)]
    widths = [max(cell_len(line[place]) for line in cells) for place in range(len(cells[0]))]
    left = sum(widths) + GAP * len(widths)
    beside = any(row.notes for row in rows) and (width is None or width - left >= NARROWEST)
    indent = left if beside else INDENT
    head = _line(cells[0], widths)
    lines = [f"{head}{' ' * (left - cell_len(head))}{''.join(titles[len(widths) :])}".rstrip() if beside else head]
    for row in rows:
        first = _line(row.cells, widths)
        notes = [line for note in row.notes for line in wrapped(note, indent=indent, width=width)]
        if beside and notes:
            lines.append(f"{first}{' ' * (left - cell_len(first))}{notes[0].lstrip()}")
            notes = notes[1:]
        else:
            lines.append(first)
        lines += notes
    return lines


def wrapped(text: str, *, indent: int, width: int | None, label: str = "") -> list[str]:
    """The text in lines of at most this width, all indented, and those after the first by the label as well.

    A word that is longer is whole, on a line of its own.
    """
    hang = indent + cell_len(label)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (width is None or cell_len(longer) + hang <= width):
            lines[-1] = longer
        else:
            lines.append(word)
    return [f"{' ' * indent}{label}{line}" if n == 0 else f"{' ' * hang}{line}" for n, line in enumerate(lines)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
    return (" " * GAP).join(padded).rstrip()
