"""Events that are durable when they are acknowledged, and that count once.

Here: group commit over one append-only file, and the ids that stand in it. Not here: HTTP, or what an event says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import orjson

from recsys_assets.serving.appendlog import AppendLog


class FeedbackUnavailable(Exception):  # noqa: N818
    """The events could not be made durable; none of them was acknowledged, and sending them again is right."""


class FeedbackCorrupt(Exception):  # noqa: N818
    """A whole line of the file is not an event: a person must look before anything is appended."""


@dataclass(frozen=True)
class Receipt:
    """What became of a batch."""

    accepted: int
    duplicates: int


class _Commit:
    """Lines that become durable together. `done` holds None, or why they did not."""

    def __init__(self) -> None:
        self.lines: dict[str, bytes] = {}
        self.done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()


class FeedbackLog:
    """One process's file. While one commit is synced the next one gathers, so that a sync serves many requests."""

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path)
        # A line that a killed process wrote and never synced is about to count as durable: make it so.
        self._log.sync()
        self._durable_bytes = self._log.size
        self._ids = set(_ids(path))
        self._gathering: _Commit | None = None
        self._syncing: _Commit | None = None
        self._committer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self.broken: str | None = None

    @property
    def repaired_bytes(self) -> int:
        """How much of a torn last line was cut off when the file was opened."""
        return self._log.repaired_bytes

    def __len__(self) -> int:
        return len(self._ids)

    async def add(self, lines: Sequence[tuple[str, bytes]]) -> Receipt:
        """Return once every event of the batch is durable, whoever sent it first; else raise FeedbackUnavailable."""
        new, commits = 0, set()
        for event_id, line in lines:
            if event_id in self._ids:
                continue
            commit = self._holding(event_id)
            if commit is None:
                new += 1
                commit = self._gather(event_id, line)
            commits.add(commit.done)
        # Shielded: a client that goes away must not cancel what others wait for.
        for reason in await asyncio.gather(*map(asyncio.shield, commits)):
            if reason is not None:
                raise FeedbackUnavailable(reason)
        return Receipt(accepted=new, duplicates=len(lines) - new)

    def _holding(self, event_id: str) -> _Commit | None:
        for commit in (self._syncing, self._gathering):
            if commit is not None and event_id in commit.lines:
                return commit
        return None

    def _gather(self, event_id: str, line: bytes) -> _Commit:
        if self._gathering is None:
            self._gathering = _Commit()
        self._gathering.lines[event_id] = line
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_all())
        return self._gathering

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        while (commit := self._gathering) is not None:
            self._syncing, self._gathering = commit, None
            reason = await loop.run_in_executor(self._thread, self._write, b"".join(commit.lines.values()))
            if reason is None:
                self._ids.update(commit.lines)
            self._syncing = None
            commit.done.set_result(reason)

    def _write(self, lines: bytes) -> str | None:
        try:
            if self.broken:
                self._take_back()
            self._log.append(lines)
            self._log.sync()
        except OSError as failed:
            return self._undo(f"cannot be made durable: {failed}")
        self._durable_bytes = self._log.size
        return None

    def _undo(self, reason: str) -> str:
        try:
            self._take_back()
        except OSError as failed:
            self.broken = f"{reason}; and not taken back: {failed}"
            return self.broken
        return reason

    def _take_back(self) -> None:
        """What was written but not acknowledged goes: after a failed sync nobody knows which pages reached the disk."""
        self._log.truncate(self._durable_bytes)
        self._log.sync()
        self.broken = None

    def close(self) -> None:
        """Wait for the sync that runs, then let the file go."""
        self._thread.shutdown(wait=True)
        self._log.close()


def _ids(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield str(orjson.loads(line)["event_id"])
            except (orjson.JSONDecodeError, LookupError, TypeError) as broken:
                raise FeedbackCorrupt(f"{path}:{number}: not an event: {broken}") from None
