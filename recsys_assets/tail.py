"""Reading logs that only grow, again and again, for the price of what is new.

Here: places in files, by inode, and the rows since a moment. Not here: what a line says (logs.py, access_log.py).
What is read in steps equals what is read at once: where a file did anything but grow, or change its name, all begins
anew. A torn last line stays where it is until it is whole.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

BLOCK_BYTES: Final = 32 << 20
# The end of what was read, kept to see that the file was not cut off and written on.
_MARK_BYTES: Final = 256
_MAX_CHUNKS: Final = 32
# Device and inode: what stays when a file gets another name.
_File = tuple[int, int]


@dataclass(frozen=True)
class Lines:
    """Whole lines of one file; `first` is the number of the first of them, from 1."""

    path: Path
    first: int
    content: bytes


@dataclass(frozen=True)
class LogFormat:
    """One kind of log: which files of a folder, oldest first, how lines become rows, and by which column they are of a
    time. `order` sorts the rows, stably; without it they stand as they were read. `begin` may skip what is too old."""

    schema: pl.Schema
    time: str
    files: Callable[[Path, datetime | None], Sequence[Path]]
    parse: Callable[[Lines], pl.DataFrame]
    order: tuple[str, ...] = ()
    begin: Callable[[BinaryIO, datetime | None], int] = lambda _file, _since: 0

    def sorted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.sort(*self.order, maintain_order=True) if self.order else rows


@dataclass(frozen=True)
class _Place:
    """How far one file was read: bytes, lines, and the bytes just before that place."""

    offset: int
    lines: int
    mark: bytes


def read_whole(folder: Path, kind: LogFormat, since: datetime | None = None) -> pl.DataFrame:
    """All rows with a time >= `since`; no file means no rows."""
    return Tail(folder, kind).read(since)


class Tail:
    """One log of one folder. Only rows since the last asked moment are kept; asking for an earlier one reads anew."""

    def __init__(self, folder: Path, kind: LogFormat) -> None:
        self._folder, self._kind = folder, kind
        self._lock = threading.Lock()
        self._places: dict[_File, _Place] = {}
        self._rows: pl.DataFrame | None = None
        self._since: datetime | None = None

    def read(self, since: datetime | None) -> pl.DataFrame:
        """As `read_whole`. What `parse` raises is raised, and what was read before stays: the next call looks again."""
        with self._lock:
            if not self._covers(since):
                self._forget()
            if self._rows is not None and since is not None and since != self._since:
                self._rows = self._rows.filter(pl.col(self._kind.time) >= since)
            self._since = since
            if not self._grow():
                self._forget()
                self._since = since
                self._grow()
            assert self._rows is not None
            return self._rows

    def _forget(self) -> None:
        self._places, self._rows, self._since = {}, None, None

    def _covers(self, since: datetime | None) -> bool:
        return self._since is None or (since is not None and since >= self._since)

    def _grow(self) -> bool:
        """Take in what is new; False when a file did anything but grow."""
        with ExitStack() as opened:
            files = self._open(opened)
            if any(not _continues(files.get(key), place) for key, place in self._places.items()):
                return False
            rows, places = [], dict(self._places)
            for key, (path, file) in files.items():
                parts, place = self._read(path, file, places.get(key))
                rows += parts
                places[key] = place
        # Only now, when nothing was raised: places and rows change together.
        self._places, self._rows = places, self._merged(rows)
        return True

    def _open(self, opened: ExitStack) -> dict[_File, tuple[Path, BinaryIO]]:
        """The files by device and inode. One that is moved just now is missing here, and all begins anew with it."""
        files: dict[_File, tuple[Path, BinaryIO]] = {}
        for path in self._kind.files(self._folder, self._since):
            try:
                file = opened.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            about = os.fstat(file.fileno())
            files.setdefault((about.st_dev, about.st_ino), (path, file))
        return files

    def _read(self, path: Path, file: BinaryIO, place: _Place | None) -> tuple[list[pl.DataFrame], _Place]:
        begin = self._kind.begin(file, self._since) if place is None else place.offset
        place = place or _Place(begin, 0, _before(file, begin))
        rows = []
        for content in _whole_lines(file, place.offset):
            lines = Lines(path, place.lines + 1, content)
            rows.append(self._since_then(self._kind.parse(lines)))
            mark = (place.mark + content[-_MARK_BYTES:])[-_MARK_BYTES:]
            place = _Place(place.offset + len(content), place.lines + content.count(b"\n"), mark)
        return rows, place

    def _since_then(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self._since is None else rows.filter(pl.col(self._kind.time) >= self._since)

    def _merged(self, new: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """What was there, and the new rows in their places: nearly always just behind it."""
        fresh = pl.concat([self._kind.schema.to_frame(), *new])
        if self._rows is None:
            return self._kind.sorted(fresh)
        if fresh.is_empty():
            return self._rows
        kept, time = self._rows, self._kind.time
        if self._kind.order:
            behind = kept.select(pl.col(time).search_sorted(pl.lit(fresh[time].min()), side="left")).item()
            fresh = self._kind.sorted(pl.concat([kept[behind:], fresh]))
            kept = kept[:behind]
        merged = pl.concat([kept, fresh], rechunk=False)
        return merged.rechunk() if merged.n_chunks() > _MAX_CHUNKS else merged


def _whole_lines(file: BinaryIO, offset: int) -> Iterator[bytes]:
    """What stands from there on, in blocks that end with a line; a torn last line is left out."""
    size = BLOCK_BYTES
    while content := os.pread(file.fileno(), size, offset):
        end = content.rfind(b"\n") + 1
        if end:
            yield content[:end]
            offset += end
        elif len(content) < size:
            return
        else:
            size *= 2  # one line that is longer than the block


def _continues(found: tuple[Path, BinaryIO] | None, place: _Place) -> bool:
    """Whether the file still holds what was read from it."""
    return found is not None and _before(found[1], place.offset, len(place.mark)) == place.mark


def _before(file: BinaryIO, offset: int, length: int = _MARK_BYTES) -> bytes:
    length = min(length, offset)
    return os.pread(file.fileno(), length, offset - length)
