"""The files of one log: `feedback.jsonl`, then `feedback-000002.jsonl` and so on; only the last one is written.

Here: their names, and the ids that stand in them. Not here: writing lines, or when a segment is full.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from recsys_assets.errors import UserFacingError
from recsys_assets.serving.event_ids import SealedIds, digest


class FeedbackCorrupt(UserFacingError):  # noqa: N818
    """A whole line of the file is not an event: a person must look before anything is appended."""


def segments(first: Path) -> list[Path]:
    """The files that are there, oldest first; a file never changes its name, so that a reader may keep its place."""
    named = re.compile(re.escape(first.stem) + r"-(\d{6,})" + re.escape(first.suffix))
    found = {int(m.group(1)): p for p in first.parent.glob(f"{first.stem}-*") if (m := named.fullmatch(p.name))}
    numbered = [found[number] for number in sorted(found)]
    return numbered if numbered and not first.exists() else [first, *numbered]


def after(segment: Path, first: Path) -> Path:
    """The name of the segment that follows."""
    number = 1 if segment == first else int(segment.stem.removeprefix(f"{first.stem}-"))
    return first.with_name(f"{first.stem}-{number + 1:06}{first.suffix}")


def sealed_ids(segment: Path) -> SealedIds:
    """The index of a segment that is not written any more, made again where it is missing."""
    size = segment.stat().st_size
    if (found := SealedIds.load(index_of(segment), covers=size)) is not None:
        return found
    made = SealedIds.of(set(digests_in(segment)))
    with contextlib.suppress(OSError):  # a disk that is full: the next start makes it again
        made.save(index_of(segment), covers=size)
    return made


def index_of(segment: Path) -> Path:
    """Where the index of a segment stands."""
    return segment.with_suffix(".ids")


def digests_in(segment: Path) -> Iterator[bytes]:
    """The digest of each line's event id, or FeedbackCorrupt."""
    with segment.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield digest(orjson.loads(line)["event_id"])
            except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as broken:
                raise FeedbackCorrupt(f"{segment}:{number}: not an event: {broken}") from None
