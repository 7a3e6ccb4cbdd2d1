"""Which files there are, their content digests, and which days have arrived in them.

Here: expanding local and s3:// globs, and the pure rule of arrival. Not here: what stands in a file (reader.py).
"""

from __future__ import annotations

import glob
import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from recsys_assets.settings import InteractionSource, Settings

_DAY_IN_NAME: Final = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_S3: Final = "s3://"
Span = tuple[date, date]


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. `digest` changes with its content; `day` is the one in its name, None for a whole log."""

    path: str
    digest: str
    size: int
    day: date | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


def list_files(settings: Settings, source: InteractionSource) -> list[SourceFile]:
    """Every file that the source's patterns match, in order of path, each once."""
    found: dict[str, SourceFile] = {}
    for pattern in patterns(settings, source):
        found |= {file.path: file for file in list_matching(pattern)}
    return [found[path] for path in sorted(found)]


def list_matching(pattern: str) -> list[SourceFile]:
    """Every file that one resolved glob matches."""
    return list(_list_s3(pattern) if pattern.startswith(_S3) else _list_local(pattern))


def patterns(settings: Settings, source: InteractionSource) -> list[str]:
    """The source's globs with `{home}` and relative places filled in."""
    return [settings.resolve(pattern) for pattern in source.paths]


def day_in_name(name: str) -> date | None:
    """The day that a file name such as `clicks-2024-05-01.csv` carries."""
    for text in _DAY_IN_NAME.findall(name):
        try:
            return date.fromisoformat(text)
        except ValueError:
            continue
    return None


def arrived_days(files: Sequence[SourceFile], spans: Mapping[str, Span | None]) -> dict[date, str]:
    """Every day that has arrived, with the digest of all that carries it.

    A file with a day in its name brings that day; a whole log brings all days of its span, first to last event
    (`spans` by the file's digest; None or absent where the log cannot be read: then it brings none).
    """
    carriers: dict[date, set[str]] = {}
    for file in files:
        for day in covered_days(file, spans.get(file.digest)):
            carriers.setdefault(day, set()).add(file.digest)
    return {day: day_digest(carriers[day]) for day in sorted(carriers)}


def covered_days(file: SourceFile, span: Span | None) -> list[date]:
    """The days that one file is about."""
    first, last = (file.day, file.day) if file.day else span or (None, None)
    if first is None or last is None:
        return []
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def day_digest(digests: set[str] | Sequence[str]) -> str:
    """One digest for all files of a day; that of the file itself where it is the only one."""
    ordered = sorted(set(digests))
    return ordered[0] if len(ordered) == 1 else hashlib.sha256("\n".join(ordered).encode()).hexdigest()


@contextmanager
def local_copy(path: str) -> Iterator[Path]:
    """The file on this machine: itself, or for s3:// a copy that lives as long as the block."""
    if not path.startswith(_S3):
        yield Path(path)
        return
    bucket, key = _bucket_and_key(path)
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        here = Path(folder) / PurePosixPath(key).name
        _s3_client().download_file(bucket, key, str(here))
        yield here


def _list_local(pattern: str) -> Iterator[SourceFile]:
    for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - the pattern is absolute
        stat = Path(path).stat()
        if Path(path).is_file():
            yield SourceFile(path, _digest(path, stat.st_size, stat.st_mtime_ns), stat.st_size, _day(path))


@lru_cache(maxsize=65_536)
def _digest(path: str, size: int, changed_ns: int) -> str:
    """SHA-256 of the content. Size and time of change are arguments so that an unchanged file is hashed once."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_s3(pattern: str) -> Iterator[SourceFile]:
    bucket, wanted = _bucket_and_key(pattern)
    prefix = re.split(r"[*?\[]", wanted, maxsplit=1)[0]
    for page in _s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if _matches(entry["Key"], wanted):
                # The store's own content tag: reading every object on every tick would be far too much.
                digest = hashlib.sha256(f"{entry['ETag']}:{entry['Size']}".encode()).hexdigest()
                yield SourceFile(f"{_S3}{bucket}/{entry['Key']}", digest, entry["Size"], _day(entry["Key"]))


def _matches(key: str, wanted: str) -> bool:
    """As in a folder: `*` stays below one prefix, `**` does not."""
    return fnmatchcase(key, wanted) and ("**" in wanted or key.count("/") == wanted.count("/"))


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(_S3).partition("/")
    return bucket, key


def _s3_client() -> Any:
    import boto3  # type: ignore[import-untyped]

    return boto3.client("s3")


def _day(path: str) -> date | None:
    return day_in_name(PurePosixPath(path).name)
