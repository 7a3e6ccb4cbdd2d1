"""A file that only grows by whole lines, whatever happens to the process that writes it.

Here: opening with the torn tail cut off, and appending with undo. Not here: what a line says, or when it is durable.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


class AppendFailed(OSError):  # noqa: N818
    """Nothing of these lines stands in the file."""


class AppendBusy(OSError):  # noqa: N818
    """Another process writes this file."""


class AppendLog:
    """One writer's file, locked while the process lives. After a failed append it ends as it did before."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.repaired_bytes = _cut_torn_tail(self._descriptor)
            sync_folder(path.parent)
        except OSError as failed:
            os.close(self._descriptor)  # and with it the lock
            if isinstance(failed, BlockingIOError):
                raise AppendBusy(f"{path}: another process writes it") from failed
            raise

    def append(self, lines: bytes) -> None:
        """Write whole lines in one call: a process that is killed leaves all of them, or a tail that is cut later."""
        before = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, lines)
        except OSError as failed:
            raise AppendFailed(failed.errno, f"{self.path}: {failed.strerror}") from failed
        if written != len(lines):
            os.ftruncate(self._descriptor, before)
            raise AppendFailed(f"{self.path}: only {written} of {len(lines)} bytes fitted")

    def sync(self) -> None:
        """Return when everything appended so far would survive a power cut."""
        os.fsync(self._descriptor)

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """Take back everything behind `size`."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cut_torn_tail(descriptor: int) -> int:
    """Cut what stands behind the last newline; returns how many bytes that were."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _CHUNK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return size - end


def sync_folder(folder: Path) -> None:
    """Return when the names in the folder would survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
