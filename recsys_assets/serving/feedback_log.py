"""Events that are durable when they are acknowledged, and that count once.

Here: group commit over the newest of a row of files. Not here: their names and ids (segments.py), HTTP, or what an
event says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys_assets.serving.appendlog import AppendLog
from recsys_assets.serving.event_ids import KnownIds, SealedIds, digest, within
from recsys_assets.serving.segments import FeedbackCorrupt, after, digests_in, index_of, sealed_ids, segments

__all__ = ["FeedbackBusy", "FeedbackCorrupt", "FeedbackLog", "FeedbackUnavailable", "Receipt"]

SEGMENT_BYTES: Final = 16 << 20
REMEMBERED_IDS: Final = 2_000_000
MAX_PENDING_BYTES: Final = 16 << 20
# Room for this much must be there again before a log that failed counts as well. It holds no newline: wherever the
# process dies, the next one cuts it off as a torn tail, and readers leave it out.
_PROBE: Final = b" " * (1 << 16)


class FeedbackUnavailable(Exception):  # noqa: N818
    """The events could not be made durable; none of them was acknowledged, and sending them again is right."""


class FeedbackBusy(FeedbackUnavailable):
    """As many events as memory is set aside for wait for the disk already."""


@dataclass(frozen=True)
class Receipt:
    """What became of a batch."""

    accepted: int
    duplicates: int


class _Commit:
    """Lines that become durable together, by their ids' digests. `done` holds None, or why they did not."""

    def __init__(self) -> None:
        self.lines: dict[bytes, bytes] = {}
        self.size = 0
        self.done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()


class FeedbackLog:
    """One process's files. While one commit is synced the next one gathers, so that a sync serves many requests."""

    def __init__(
        self,
        path: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        remembered_ids: int = REMEMBERED_IDS,
        max_pending_bytes: int = MAX_PENDING_BYTES,
    ) -> None:
        self._first, self._segment_bytes, self._remembered = path, segment_bytes, remembered_ids
        self._max_pending = max_pending_bytes
        with ExitStack() as held:
            # The newest segment is locked as well, but it changes; this file does not.
            lock = held.enter_context(AppendLog(path.with_suffix(".lock")))
            *sealed, newest = segments(path)
            self._log = held.enter_context(AppendLog(newest))
            # A line that a killed process wrote and never synced is about to count as durable: make it so.
            self._log.sync()
            older = within(map(sealed_ids, reversed(sealed)), remembered_ids)
            self._ids = KnownIds(set(digests_in(newest)), tuple(older))
            held.pop_all()
        self._lock = lock
        self.repaired_bytes = self._log.repaired_bytes
        self._durable_bytes = self._log.size
        self._gathering: _Commit | None = None
        self._syncing: _Commit | None = None
        self._committer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._untaken = False
        self.failing: str | None = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def pending_bytes(self) -> int:
        """What waits for the disk."""
        return sum(commit.size for commit in (self._syncing, self._gathering) if commit is not None)

    async def add(self, lines: Sequence[tuple[str, bytes]]) -> Receipt:
        """Return once every event of the batch is durable, whoever sent it first; else raise FeedbackUnavailable."""
        if self.pending_bytes + sum(len(line) for _, line in lines) > self._max_pending:
            raise FeedbackBusy(f"{self.pending_bytes} bytes wait for the disk")
        new, commits = 0, set()
        for event_id, line in lines:
            key = digest(event_id)
            if key in self._ids:
                continue
            commit = self._holding(key)
            if commit is None:
                new += 1
                commit = self._gather(key, line)
            commits.add(commit.done)
        # Shielded: a client that goes away must not cancel what others wait for.
        for reason in await asyncio.gather(*map(asyncio.shield, commits)):
            if reason is not None:
                raise FeedbackUnavailable(reason)
        return Receipt(accepted=new, duplicates=len(lines) - new)

    async def look_again(self) -> None:
        """After a failure, find out whether there is room now: nobody may send events to a log that is not ready."""
        if self.failing is not None:
            self.failing = await asyncio.get_running_loop().run_in_executor(self._thread, self._probe)

    def _holding(self, key: bytes) -> _Commit | None:
        for commit in (self._syncing, self._gathering):
            if commit is not None and key in commit.lines:
                return commit
        return None

    def _gather(self, key: bytes, line: bytes) -> _Commit:
        if self._gathering is None:
            self._gathering = _Commit()
        self._gathering.lines[key] = line
        self._gathering.size += len(line)
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_all())
        return self._gathering

    async def _commit_all(self) -> None:
        run = asyncio.get_running_loop().run_in_executor
        while (commit := self._gathering) is not None:
            self._syncing, self._gathering = commit, None
            if self._durable_bytes >= self._segment_bytes and not self._untaken:
                # Taken up here and not in the thread: requests look into the ids between any two of its steps.
                self._ids = await run(self._thread, self._rotate)
            reason = await run(self._thread, self._write, b"".join(commit.lines.values()))
            if reason is None:
                self._ids.newest.update(commit.lines)
            self.failing, self._syncing = reason, None
            commit.done.set_result(reason)

    def _rotate(self) -> KnownIds:
        """Seal the segment and begin the next; where the disk has no room for that, this one goes on growing."""
        index, size = index_of(self._log.path), self._durable_bytes
        try:
            SealedIds.of(self._ids.newest).save(index, covers=size)
            sealed = sealed_ids(self._log.path)
            following = AppendLog(after(self._log.path, self._first))
        except OSError:
            return self._ids
        self._log.close()
        self._log, self._durable_bytes = following, following.size
        return self._ids.rotated(sealed, remembered=self._remembered)

    def _write(self, lines: bytes) -> str | None:
        def append() -> None:
            self._log.append(lines)
            self._log.sync()
            self._durable_bytes = self._log.size

        return self._attempt(append)

    def _probe(self) -> str | None:
        def there_and_back() -> None:
            self._log.append(_PROBE)
            self._log.sync()
            self._take_back()

        return self._attempt(there_and_back)

    def _attempt(self, what: Callable[[], None]) -> str | None:
        """None, or why it failed; then what was written goes, now or before the next attempt."""
        try:
            if self._untaken:
                self._take_back()
            what()
        except OSError as failed:
            reason = f"cannot be made durable: {failed}"
            try:
                self._take_back()
            except OSError as again:
                self._untaken = True
                return f"{reason}; and not taken back: {again}"
            return reason
        return None

    def _take_back(self) -> None:
        """What was written but not acknowledged goes: after a failed sync nobody knows which pages reached the disk."""
        self._log.truncate(self._durable_bytes)
        self._log.sync()
        self._untaken = False

    def close(self) -> None:
        """Wait for the sync that runs, then let the files go."""
        self._thread.shutdown(wait=True)
        self._log.close()
        self._lock.close()
