"""The log under a collector: batches on a disk that fails, and on one that is full.

Here: FeedbackLog in one process. Not here: segments (test_segments.py), a process that is killed.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.serving.appendlog import AppendLog
from recsys_assets.serving.feedback_log import (
    FeedbackBusy,
    FeedbackLog,
    FeedbackUnavailable,
    Receipt,
)
from recsys_assets.serving.segments import after, index_of, segments
from recsys_assets_tests.serving.playing import batch, knows, play, written
from recsys_assets_tests.waiting import HANG_SECONDS

FULL = OSError(28, "No space left on device")


class Failing:
    """An AppendLog whose named step fails a number of times, as a disk does; the rest of it is real."""

    def __init__(self, log: AppendLog, step: str, times: int) -> None:
        self._log, self._step, self.left = log, step, times

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._log, name)
        if name != self._step or not self.left:
            return real

        def fails(*given: Any) -> None:
            self.left -= 1
            if name == "append":  # half of the lines reached the file, and nobody took them back
                os.write(self._log._descriptor, given[0][: len(given[0]) // 2])
            raise FULL

        return fails


def fail(log: FeedbackLog, step: str, times: int = 1) -> None:
    log._log = Failing(log._log, step, times)  # type: ignore[assignment]


@pytest.mark.parametrize("step", ["append", "sync"])
def test_what_could_not_be_made_durable_is_taken_back_and_may_be_sent_again(path: Path, step: str) -> None:
    async def story(log: FeedbackLog) -> None:
        assert await log.add(batch("a")) == Receipt(1, 0)
        fail(log, step)
        with pytest.raises(FeedbackUnavailable, match="No space"):
            await log.add(batch("b", "c"))
        assert "No space" in (log.failing or "")
        assert path.read_bytes() == batch("a")[0][1]
        assert len(log) == 1
        assert await log.add(batch("b", "a", "c")) == Receipt(2, 1)
        assert log.failing is None

    play(path, story)
    assert written(path.parent) == ["a", "b", "c"]


def test_what_could_not_even_be_taken_back_goes_before_the_next_is_written(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        await log.add(batch("a"))
        fail(log, "sync", times=2)  # of the lines, and of taking them back
        with pytest.raises(FeedbackUnavailable, match="not taken back"):
            await log.add(batch("b"))
        assert await log.add(batch("c")) == Receipt(1, 0)

    play(path, story)
    assert written(path.parent) == ["a", "c"]


def test_lines_that_could_not_be_taken_back_do_not_end_up_in_a_sealed_segment(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        await log.add(batch("a"))
        index_of(path).mkdir()  # so that this segment, full as it is, goes on
        fail(log, "truncate", times=2)
        log._log._log.sync = _fails_once(log._log._log.sync)  # type: ignore[attr-defined]
        with pytest.raises(FeedbackUnavailable, match="not taken back"):
            await log.add(batch("b"))
        index_of(path).rmdir()
        with pytest.raises(FeedbackUnavailable):
            await log.add(batch("c"))
        assert await log.add(batch("d")) == Receipt(1, 0)
        assert await log.add(batch("e")) == Receipt(1, 0)

    play(path, story, segment_bytes=1)
    assert written(path.parent) == ["a", "d", "e"]
    assert len(segments(path)) == 3  # once it was cut, segments are sealed as before


def _fails_once(real: Callable[[], None]) -> Callable[[], None]:
    left = [1]

    def sync() -> None:
        if left:
            left.pop()
            raise FULL
        real()

    return sync


def test_a_log_that_failed_is_ready_again_once_there_is_room_though_nobody_sends_anything(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        await log.add(batch("a"))
        fail(log, "append", times=2)
        with pytest.raises(FeedbackUnavailable):
            await log.add(batch("b"))
        await log.look_again()
        assert log.failing is not None
        await log.look_again()
        assert log.failing is None
        assert path.read_bytes() == batch("a")[0][1]

    play(path, story)


def test_a_log_in_order_is_not_written_to_by_looking(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        fail(log, "append")
        await log.look_again()
        assert log.failing is None

    play(path, story)


def test_more_than_memory_is_set_aside_for_is_refused_and_nothing_of_it_is_kept(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        size = len(batch("a0")[0][1])
        adding = [asyncio.create_task(log.add(batch(f"a{n}"))) for n in range(3)]
        await asyncio.sleep(0)  # each of them is waiting now
        assert log.pending_bytes == 3 * size
        with pytest.raises(FeedbackBusy, match="wait for the disk"):
            await log.add(batch("b0"))
        assert await asyncio.gather(*adding) == [Receipt(1, 0)] * 3
        assert log.pending_bytes == 0
        assert await log.add(batch("b0")) == Receipt(1, 0)

    play(path, story, max_pending_bytes=3 * len(batch("a0")[0][1]))
    assert written(path.parent) == ["a0", "a1", "a2", "b0"]


def test_a_client_that_goes_away_takes_nobody_elses_events_along(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        gone, stays = (asyncio.create_task(log.add(batch("same"))) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == Receipt(0, 1)

    play(path, story)
    assert written(path.parent) == ["same"]


def test_an_event_that_is_being_synced_is_waited_for_and_not_written_again(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        entered, let_go, real = threading.Event(), threading.Event(), log._log.append

        def slow(lines: bytes) -> None:
            entered.set()
            assert let_go.wait(HANG_SECONDS)
            real(lines)

        log._log.append = slow  # type: ignore[method-assign]
        first = asyncio.create_task(log.add(batch("a")))
        await asyncio.to_thread(entered.wait, 60)
        second = asyncio.create_task(log.add(batch("a", "b")))
        await asyncio.sleep(0)
        assert not second.done()
        let_go.set()
        assert await asyncio.gather(first, second) == [Receipt(1, 0), Receipt(1, 1)]

    play(path, story)
    assert written(path.parent) == ["a", "b"]


def test_a_disk_that_is_really_full_loses_and_doubles_nothing_and_recovers_by_itself(small_disk: Path) -> None:
    acknowledged: list[str] = []

    async def story(log: FeedbackLog) -> None:
        with pytest.raises(FeedbackUnavailable, match=r"No space|fitted"):  # noqa: PT012 - until it is full
            for number in range(10_000):
                names = [f"{number:06}-{place:04}" for place in range(200)]
                await log.add(batch(*names))
                acknowledged.extend(names)
        assert log.failing
        await log.look_again()
        assert log.failing
        (small_disk / "ballast").unlink()
        await log.look_again()
        assert log.failing is None
        assert await log.add(batch("new", acknowledged[0], acknowledged[-1])) == Receipt(1, 2)

    (small_disk / "ballast").write_bytes(b"\0" * (512 << 10))
    play(small_disk / "feedback.jsonl", story, segment_bytes=100_000)
    assert written(small_disk) == [*acknowledged, "new"]
    play(small_disk / "feedback.jsonl", knows(acknowledged), segment_bytes=100_000)


def test_whatever_is_acknowledged_was_synced_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut cannot be played here; that the kernel was asked can be seen."""
    synced: list[tuple[int, int]] = []
    real = os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", seen)
    path.write_bytes(batch("a")[0][1])  # of a process that was killed before it could
    size = path.stat().st_size

    async def story(log: FeedbackLog) -> None:
        assert (path.stat().st_ino, size) in synced
        await log.add(batch("b"))
        assert synced[-1] == (path.stat().st_ino, 2 * size)
        await log.add(batch("c"))  # in a new segment
        assert (index_of(path).stat().st_ino, index_of(path).stat().st_size) in synced
        assert synced[-1] == (after(path, path).stat().st_ino, size)
        fail(log, "append")
        synced.clear()
        with pytest.raises(FeedbackUnavailable):
            await log.add(batch("d"))
        assert synced[-1] == (after(path, path).stat().st_ino, size)

    play(path, story, segment_bytes=2 * size)
