"""A CSV file's records counted byte by byte after RFC 4180, or the first place where the file breaks it.

Here: a count and a judgement that share nothing with the reader of values. Not here: the values (reader.py).

Outside quotes a line feed ends a record and a separator a field. A quote may only open a field, close one, or stand
doubled inside one. So every quote is checked by the byte beside it, and what is left needs no guess.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys_assets.interactions.files.pieces import not_utf8, pieces
from recsys_assets.interactions.formats import SourceUnreadableError

_LF: Final = 10
_CR: Final = 13
_STRAY_QUOTE: Final = (
    "a quote stands inside a field. Put the field in quotes and double those within it, "
    "or set `quote` to none if this file uses no quotes"
)
_AFTER_QUOTE: Final = (
    "text follows a closing quote. Double the quotes within a field, or set `quote` to none if this file uses none"
)
_BACKSLASH: Final = (
    "a backslash before a quote does not escape it. Double the quotes within a field (in Spark: escape='\"')"
)
_OPEN_QUOTE: Final = "a quote opens a field and nothing closes it. Close it, or set `quote` to none"
_BARE_CR: Final = "a carriage return without a line feed. Lines must end with LF or CRLF (mac2unix converts them)"
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CsvRecords:
    """`records` counts the rows of data, `blank_tail` the blank lines after the last one."""

    header: tuple[str, ...]
    records: int
    blank_tail: int


@dataclass(frozen=True)
class _Fault:
    place: int
    row: int
    reason: str


def count_csv(path: Path, separator: str, quote: str | None) -> CsvRecords:
    """Raises SourceUnreadableError with the row of the first record that is not strict CSV."""
    counting = _Counting(separator, quote)
    for piece in pieces(path):
        counting.take(piece)
    return counting.result()


class _Counting:
    """The state between two pieces. Record 0 is the header, so a record's number is its row."""

    def __init__(self, separator: str, quote: str | None) -> None:
        self._separator, self._quote = separator, quote
        self._is_open = False
        self._begun = bytearray()  # the header's bytes until it is complete
        self._separators_so_far = 0
        self._expected: int | None = None
        self._ended = 0
        self._blank = 0
        self._header: tuple[str, ...] = ()

    def take(self, piece: bytes) -> None:
        data: Bytes = np.frombuffer(piece, np.uint8)
        quotes = _where(data, self._quote)
        ends = self._outside(_where(data, "\n"), quotes)
        faults = [*self._quote_faults(data, quotes, ends), *self._other_faults(piece, data, quotes, ends)]
        first = min(faults, key=lambda fault: fault.place, default=None)
        trusted = len(data) if first is None else first.place
        self._end_records(data, self._outside(_where(data, self._separator), quotes), ends, trusted, piece)
        if first is not None:
            raise _refused(first.reason, first.row)
        self._is_open ^= bool(len(quotes) % 2)

    def result(self) -> CsvRecords:
        if self._is_open:
            raise _refused(_OPEN_QUOTE, self._ended)
        if self._expected is None:
            raise SourceUnreadableError("the file is empty: not even a header")
        return CsvRecords(self._header, self._ended - 1 - self._blank, self._blank)

    def _outside(self, places: Places, quotes: Places) -> Places:
        """Those that do not stand within quotes."""
        if len(quotes) == 0:
            return places[:0] if self._is_open else places
        quotes_before: Places = np.searchsorted(quotes, places)
        outside: Places = places[(quotes_before + self._is_open) % 2 == 0]
        return outside

    def _row(self, place: int, ends: Places) -> int:
        return self._ended + int(np.searchsorted(ends, place))

    def _quote_faults(self, data: Bytes, quotes: Places, ends: Places) -> Iterator[_Fault]:
        if self._quote is None:
            return
        own, separator = ord(self._quote), ord(self._separator)
        opening, closing = quotes[int(self._is_open) :: 2], quotes[1 - int(self._is_open) :: 2]
        before = data[np.maximum(opening - 1, 0)]
        wrong = opening[(opening > 0) & (before != separator) & (before != _LF) & (before != own)]
        if len(wrong):
            yield _Fault(int(wrong[0]), self._row(int(wrong[0]), ends), _STRAY_QUOTE)
        after = data[closing + 1]
        past = data[np.minimum(closing + 2, len(data) - 1)]
        line_ends = (after == _LF) | ((after == _CR) & (past == _LF))
        wrong = closing[~line_ends & (after != separator) & (after != own)]
        if len(wrong):
            reason = _BACKSLASH if data[wrong[0] - 1] == ord("\\") else _AFTER_QUOTE
            yield _Fault(int(wrong[0]), self._row(int(wrong[0]), ends), reason)

    def _other_faults(self, piece: bytes, data: Bytes, quotes: Places, ends: Places) -> Iterator[_Fault]:
        if broken := not_utf8(piece):
            yield _Fault(broken[0], self._row(broken[0], ends), broken[1])
        returns = self._outside(_where(data, "\r"), quotes)
        bare = returns[data[returns + 1] != _LF]
        if len(bare):
            yield _Fault(int(bare[0]), self._row(int(bare[0]), ends), _BARE_CR)

    def _end_records(self, data: Bytes, separators: Places, ends: Places, trusted: int, piece: bytes) -> None:
        """Every record that ends before `trusted` has as many fields as the header, and no blank line precedes it."""
        ends = ends[ends < trusted]
        if self._expected is None:
            self._begun += piece if len(ends) == 0 else piece[: int(ends[0])]
        found = np.diff(np.searchsorted(separators, ends), prepend=0)
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        lengths = ends - starts
        blank = (lengths == 0) | ((lengths == 1) & (data[starts] == _CR))
        if len(ends):
            found[0] += self._separators_so_far
            blank[0] &= not self._is_open
            if self._expected is None:
                self._expected = int(found[0])
                self._header = self._names(bool(blank[0]))
            self._refuse_ragged(found, blank)
            self._ended += len(ends)
            self._separators_so_far = 0
        rest = separators[separators > ends[-1]] if len(ends) else separators
        self._separators_so_far += len(rest)

    def _refuse_ragged(self, found: Places, blank: npt.NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(~blank)
        wrong = np.flatnonzero((found != self._expected) & ~blank)
        # The blank lines that end the file are no records; one with a record after it is a record that was lost.
        tail = len(blank) - (int(rows[-1]) + 1 if len(rows) else 0)
        inner = np.flatnonzero(blank[: len(blank) - tail])
        lost = -self._blank if self._blank and len(rows) else int(inner[0]) if len(inner) else None
        if lost is not None and (len(wrong) == 0 or lost < wrong[0]):
            raise _refused("a blank line, with further rows after it", self._ended + lost)
        if len(wrong):
            fields = int(found[wrong[0]]) + 1
            wanted = (self._expected or 0) + 1
            reason = f"{fields} fields where the header has {wanted}"
            reason += " (is `separator` right?)" if 1 in (fields, wanted) else ""
            raise _refused(reason, self._ended + int(wrong[0]))
        self._blank = tail if len(rows) else self._blank + tail

    def _names(self, is_blank: bool) -> tuple[str, ...]:
        if is_blank:
            raise SourceUnreadableError("the first line is blank, where the header must stand")
        dialect: dict[str, Any] = {"delimiter": self._separator, "strict": True, "quotechar": self._quote}
        dialect |= {"quoting": csv.QUOTE_NONE} if self._quote is None else {}
        try:
            [names] = csv.reader(io.StringIO(self._begun.decode("utf-8"), newline=""), **dialect)
        except (csv.Error, UnicodeDecodeError, ValueError) as broken:
            raise SourceUnreadableError(f"the header cannot be read: {broken}") from broken
        return tuple(names)


def _where(data: Bytes, character: str | None) -> Places:
    if character is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(data == ord(character))


def _refused(reason: str, row: int) -> SourceUnreadableError:
    return SourceUnreadableError(reason, row=row) if row else SourceUnreadableError(f"header: {reason}")
