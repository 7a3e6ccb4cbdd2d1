"""Which files there are, their content digests, and which days have arrived in them.

Here: expanding local and s3:// globs, and the pure rule of arrival. Not here: what stands in a file (reader.py).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from recsys_assets.interactions.files.datasets import day_in_path
from recsys_assets.interactions.files.listing import S3, PassedOver, find_keys, find_local, fixed_prefix
from recsys_assets.settings import InteractionSource, Settings

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


@dataclass(frozen=True)
class Listing:
    """The files that a source's patterns find, in order of path, each once; and what is passed over."""

    files: tuple[SourceFile, ...]
    passed_over: tuple[PassedOver, ...] = ()


def look(settings: Settings, source: InteractionSource) -> Listing:
    """Everything that the source's patterns find."""
    return look_at(*patterns(settings, source))


def look_at(*resolved: str) -> Listing:
    """Everything that these resolved globs find."""
    files: dict[str, SourceFile] = {}
    passed: dict[str, PassedOver] = {}
    for pattern in resolved:
        for found in _list_s3(pattern) if pattern.startswith(S3) else _list_local(pattern):
            if isinstance(found, PassedOver):
                passed[found.path] = found
            else:
                files[found.path] = found
    return Listing(tuple(files[path] for path in sorted(files)), tuple(passed[path] for path in sorted(passed)))


def list_files(settings: Settings, source: InteractionSource) -> list[SourceFile]:
    """Every file that the source's patterns match, in order of path, each once."""
    return list(look(settings, source).files)


def list_matching(pattern: str) -> list[SourceFile]:
    """Every file that one resolved glob matches."""
    return list(look_at(pattern).files)


def patterns(settings: Settings, source: InteractionSource) -> list[str]:
    """The source's globs with `{home}` and relative places filled in."""
    return [settings.resolve(pattern) for pattern in source.paths]


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
    if not path.startswith(S3):
        yield Path(path)
        return
    bucket, key = _bucket_and_key(path)
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        here = Path(folder) / PurePosixPath(key).name
        _s3_client().download_file(bucket, key, str(here))
        yield here


def _list_local(pattern: str) -> Iterator[SourceFile | PassedOver]:
    for found in find_local(pattern):
        if isinstance(found, PassedOver):
            yield found
            continue
        try:
            stat = found.stat()
            # A copy that keeps the old time of change, as rsync and tar make, still has its own place and moment.
            digest = _digest(str(found), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        except OSError as broken:
            yield PassedOver(str(found), f"cannot be read: {broken.strerror}")
            continue
        yield SourceFile(str(found), digest, stat.st_size, day_in_path(_below(str(found), pattern)))


@lru_cache(maxsize=65_536)
def _digest(path: str, *unchanged: int) -> str:
    """SHA-256 of the content. What changes with a file is an argument, so that an unchanged one is hashed once."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_s3(pattern: str) -> Iterator[SourceFile | PassedOver]:
    bucket, wanted = _bucket_and_key(pattern)
    entries: dict[str, Any] = {}
    for page in _s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=fixed_prefix(wanted)):
        entries |= {entry["Key"]: entry for entry in page.get("Contents", [])}
    for found in find_keys(entries, wanted):
        if isinstance(found, PassedOver):
            yield PassedOver(f"{S3}{bucket}/{found.path}", found.reason)
            continue
        # The store's own content tag: reading every object on every tick would be far too much.
        entry = entries[found]
        digest = hashlib.sha256(f"{entry['ETag']}:{entry['Size']}".encode()).hexdigest()
        yield SourceFile(f"{S3}{bucket}/{found}", digest, entry["Size"], day_in_path(_below(found, wanted)))


def _below(path: str, pattern: str) -> str:
    """The part of a path that the pattern leaves open: a day above it is none of the file's."""
    above = fixed_prefix(pattern).rpartition("/")[0]
    return path.removeprefix(f"{above}/") if above else path


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(S3).partition("/")
    return bucket, key


def _s3_client() -> Any:
    import boto3  # type: ignore[import-untyped]

    return boto3.client("s3")
