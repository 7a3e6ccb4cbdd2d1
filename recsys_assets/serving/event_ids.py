"""Which event ids were seen: 16 bytes for each, in index files that a start maps into memory instead of reading logs.

Here: digests, one index and the ids of all segments. Not here: the segments themselves (segments.py).
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

from recsys_assets.serving.appendlog import sync_folder

WIDTH = 16
_BUCKETS = 1 << 12
_HEADER = struct.Struct("<8sQQ")
_MAGIC = b"eventid1"


def digest(event_id: str) -> bytes:
    """128 bits: a client that looks for two ids with one digest would have to try 2^64 of them."""
    return blake2b(event_id.encode(), digest_size=WIDTH).digest()


def _bucket(wanted: bytes) -> int:
    return wanted[0] << 4 | wanted[1] >> 4


class SealedIds:
    """Sorted digests of a segment that is not written any more; `starts[b]` is the place of bucket b's first one."""

    def __init__(self, starts: Sequence[int], digests: bytes | mmap.mmap, base: int = 0) -> None:
        self._starts, self._digests, self._base = starts, digests, base

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> SealedIds:
        """The index of these digests, in memory."""
        ordered = sorted(digests)
        counts = array("I", bytes(4 * _BUCKETS))
        for each in ordered:
            counts[_bucket(each)] += 1
        return cls(array("I", accumulate(counts, initial=0)), b"".join(ordered))

    def __len__(self) -> int:
        return self._starts[_BUCKETS]

    def __contains__(self, wanted: bytes) -> bool:
        bucket = _bucket(wanted)
        place = self._base + WIDTH * self._starts[bucket]
        end = self._base + WIDTH * self._starts[bucket + 1]
        while (place := self._digests.find(wanted, place, end)) >= 0:
            if (place - self._base) % WIDTH == 0:
                return True
            place += 1  # across the border of two digests
        return False

    def save(self, path: Path, *, covers: int) -> None:
        """Write aside, make durable, rename. `covers` is the size of the segment that it was made from."""
        draft = path.with_name(f".{path.name}.draft")
        with draft.open("wb") as file:
            file.write(_HEADER.pack(_MAGIC, covers, len(self)))
            file.write(array("I", self._starts).tobytes())
            file.write(self._digests[self._base :])
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync_folder(path.parent)

    @classmethod
    def load(cls, path: Path, *, covers: int) -> SealedIds | None:
        """The index on the disk, or None where there is none that was made from exactly this segment."""
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # absent or unreadable; empty, in the word of mmap
            return None
        base = _HEADER.size + 4 * (_BUCKETS + 1)
        if len(data) < base:
            return None
        magic, size, count = _HEADER.unpack_from(data)
        starts = array("I", data[_HEADER.size : base])
        if (magic, size, count) != (_MAGIC, covers, starts[_BUCKETS]) or len(data) != base + WIDTH * count:
            return None
        return cls(starts, data, base)


@dataclass(frozen=True)
class KnownIds:
    """The ids of the newest segment, which grow, and those of the sealed ones before it, newest first."""

    newest: set[bytes] = field(default_factory=set)
    sealed: tuple[SealedIds, ...] = ()

    def __contains__(self, wanted: bytes) -> bool:
        return wanted in self.newest or any(wanted in ids for ids in self.sealed)

    def __len__(self) -> int:
        return len(self.newest) + sum(map(len, self.sealed))

    def rotated(self, sealed: SealedIds, *, remembered: int) -> KnownIds:
        """With the newest segment sealed, and the oldest ones forgotten."""
        return KnownIds(sealed=tuple(within((sealed, *self.sealed), remembered)))


def within(newest_first: Iterable[SealedIds], remembered: int) -> Iterator[SealedIds]:
    """As many whole indexes as hold `remembered` ids; the one that passes that number is the last."""
    total = 0
    for ids in newest_first:
        if total >= remembered:
            return
        total += len(ids)
        yield ids
