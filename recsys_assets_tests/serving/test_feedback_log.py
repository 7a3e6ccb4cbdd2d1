"""The log under a collector: batches on a disk that fails, segments that are sealed, ids that are known again.

Here: FeedbackLog, segments and ids in one process. Not here: a process that is killed (test_collector.py).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.serving.appendlog import AppendBusy, AppendFailed, AppendLog
from recsys_assets.serving.event_ids import WIDTH, KnownIds, SealedIds, digest, within
from recsys_assets.serving.feedback_log import (
    FeedbackBusy,
    FeedbackCorrupt,
    FeedbackLog,
    FeedbackUnavailable,
    Receipt,
)
from recsys_assets.serving.segments import after, index_of, segments

Story = Callable[[FeedbackLog], Coroutine[Any, Any, None]]
FULL = OSError(28, "No space left on device")


def batch(*names: str) -> list[tuple[str, bytes]]:
    return [(name, f'{{"event_id":"{name}"}}\n'.encode()) for name in names]


def play(path: Path, story: Story, **limits: int) -> None:
    async def whole() -> None:
        log = FeedbackLog(path, **limits)
        try:
            await story(log)
        finally:
            log.close()

    asyncio.run(whole())


def written(folder: Path) -> list[str]:
    lines = [line for path in segments(folder / "feedback.jsonl") for line in path.read_text().splitlines()]
    return [line.removeprefix('{"event_id":"').removesuffix('"}') for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.jsonl"


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


# --- a disk that fails ---------------------------------------------------------------------------------------------


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
            assert let_go.wait(60)
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB that can really be full."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk; a failing file stands in for it above")
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here; a failing file stands in for it above")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


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
    play(small_disk / "feedback.jsonl", _knows(acknowledged), segment_bytes=100_000)


def _knows(names: list[str]) -> Story:
    async def story(log: FeedbackLog) -> None:
        assert await log.add(batch(*names)) == Receipt(0, len(names))

    return story


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


# --- segments ------------------------------------------------------------------------------------------------------


def test_a_full_segment_is_sealed_and_its_events_are_known_before_and_after_a_restart(path: Path) -> None:
    names = [f"e{number}" for number in range(10)]

    async def fills(log: FeedbackLog) -> None:
        for name in names:
            assert await log.add(batch(name)) == Receipt(1, 0)
        assert await log.add(batch(*names)) == Receipt(0, 10)

    play(path, fills, segment_bytes=40)
    found = [each.name for each in segments(path)]
    assert found == ["feedback.jsonl", *(f"feedback-{n:06}.jsonl" for n in range(2, 5))]
    assert written(path.parent) == names
    play(path, _knows(names), segment_bytes=40)
    for index in path.parent.glob("*.ids"):
        index.unlink()
    play(path, _knows(names), segment_bytes=40)
    assert len(list(path.parent.glob("*.ids"))) == 3


def test_an_index_of_another_state_of_the_segment_is_made_again(path: Path) -> None:
    path.write_bytes(b"".join(line for _, line in batch("a", "b")))
    after(path, path).write_bytes(b"")
    SealedIds.of([digest("a")]).save(index_of(path), covers=path.stat().st_size - 1)
    play(path, _knows(["a", "b"]))


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 40_000])
def test_an_index_that_is_damaged_is_made_again(path: Path, damage: bytes) -> None:
    path.write_bytes(batch("a")[0][1])
    after(path, path).write_bytes(b"")
    index_of(path).write_bytes(damage)
    play(path, _knows(["a"]))
    assert SealedIds.load(index_of(path), covers=path.stat().st_size) is not None


def test_where_there_is_no_room_for_a_new_segment_the_old_one_goes_on(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        await log.add(batch("a"))
        index_of(path).mkdir()  # in the way
        assert await log.add(batch("b", "a")) == Receipt(1, 1)
        index_of(path).rmdir()
        assert await log.add(batch("c", "b", "a")) == Receipt(1, 2)

    play(path, story, segment_bytes=1)
    assert [each.read_bytes().count(b"\n") for each in segments(path)] == [2, 1]


def test_only_the_newest_ids_are_remembered_in_whole_segments(path: Path) -> None:
    async def story(log: FeedbackLog) -> None:
        for name in "abcd":
            await log.add(batch(name))
        assert len(log) == 3  # two remembered ones, and those of the newest segment
        assert await log.add(batch("b", "c", "d")) == Receipt(0, 3)

    play(path, story, segment_bytes=1, remembered_ids=2)

    async def again(log: FeedbackLog) -> None:
        assert len(log) == 3
        assert await log.add(batch("a")) == Receipt(1, 0)  # forgotten: the table takes it out

    play(path, again, segment_bytes=1, remembered_ids=2)


def test_a_torn_tail_is_cut_off_and_counted_but_a_broken_line_stops_the_start(path: Path) -> None:
    path.write_bytes(batch("a")[0][1])
    after(path, path).write_bytes(batch("b")[0][1] + b'{"event_id": "torn')

    async def story(log: FeedbackLog) -> None:
        assert log.repaired_bytes == 18
        assert await log.add(batch("a", "b", "torn")) == Receipt(1, 2)

    play(path, story)
    with after(path, path).open("ab") as file:
        file.write(b"[1]\n")
    with pytest.raises(FeedbackCorrupt, match=r"feedback-000002\.jsonl:3"):
        FeedbackLog(path)
    path.write_bytes(b"no event\n")
    with pytest.raises(FeedbackCorrupt, match=r"feedback-000002|feedback\.jsonl:1"):
        FeedbackLog(path)


def test_one_folder_has_one_writer_and_a_start_that_failed_holds_nothing(path: Path) -> None:
    path.write_bytes(b"no event\n")
    with pytest.raises(FeedbackCorrupt):
        FeedbackLog(path)
    path.unlink()
    first = FeedbackLog(path)
    with pytest.raises(AppendBusy):
        FeedbackLog(path)
    first.close()
    FeedbackLog(path).close()


def test_old_files_that_a_person_took_away_are_not_missed(path: Path) -> None:
    path.write_bytes(batch("a")[0][1])
    after(path, path).write_bytes(batch("b")[0][1])
    path.unlink()
    play(path, _knows(["b"]))
    assert not path.exists()


def test_files_of_another_kind_are_no_segments(path: Path) -> None:
    for name in ("feedback-2.jsonl", "feedback-000003.ids", "feedback-00000x.jsonl", "feedback-1000000.jsonl"):
        (path.parent / name).touch()
    assert [each.name for each in segments(path)] == ["feedback-1000000.jsonl"]
    assert after(segments(path)[0], path).name == "feedback-1000001.jsonl"


# --- ids -----------------------------------------------------------------------------------------------------------


@given(st.sets(st.binary(min_size=WIDTH, max_size=WIDTH), max_size=60), st.binary(min_size=WIDTH, max_size=WIDTH))
def test_an_index_knows_exactly_what_it_was_made_of(inside: set[bytes], other: bytes) -> None:
    index = SealedIds.of(inside)
    assert len(index) == len(inside)
    assert all(each in index for each in inside)
    assert (other in index) == (other in inside)


def test_an_id_across_the_border_of_two_others_is_not_known() -> None:
    # All in one bucket: the bytes of `across` stand in the index, but between two digests.
    one, two = b"\0\0" + b"\1" * 12 + b"\0\0", b"\0\0" + b"\2" * 14
    across = (one + two)[14:30]
    index = SealedIds.of([one, two])
    assert across not in index
    assert [one in index, two in index] == [True, True]
    assert across in SealedIds.of([one, two, across])


def test_an_index_on_the_disk_is_the_one_that_was_saved(tmp_path: Path) -> None:
    ids = [digest(f"e{number}") for number in range(5_000)]
    SealedIds.of(ids[:4_000]).save(tmp_path / "a.ids", covers=77)
    loaded = SealedIds.load(tmp_path / "a.ids", covers=77)
    assert loaded is not None
    assert [each in loaded for each in ids] == [True] * 4_000 + [False] * 1_000
    assert SealedIds.load(tmp_path / "a.ids", covers=78) is None
    assert SealedIds.load(tmp_path / "none.ids", covers=77) is None
    with (tmp_path / "a.ids").open("ab") as file:
        file.write(b"more")
    assert SealedIds.load(tmp_path / "a.ids", covers=77) is None


def test_as_many_whole_indexes_are_kept_as_hold_the_number() -> None:
    three = [SealedIds.of([digest(f"{n}{m}") for m in range(2)]) for n in range(3)]
    assert [len(list(within(three, most))) for most in (0, 1, 2, 3, 4, 5, 99)] == [0, 1, 1, 2, 2, 3, 3]
    assert len(KnownIds({b"x"}, tuple(three))) == 7


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_torn_tail_of_any_length_is_cut_back_to_the_last_whole_line(tmp_path: Path, length: int) -> None:
    for whole in (b"", b"line\n", b"x" * 70_000 + b"\nline\n"):
        (tmp_path / "log").write_bytes(whole + b"t" * length)
        with AppendLog(tmp_path / "log") as log:
            assert (log.repaired_bytes, log.size) == (length, len(whole))
            log.append(b"next\n")
        assert (tmp_path / "log").read_bytes() == whole + b"next\n"


def test_an_append_that_only_half_fitted_leaves_the_file_as_it_was(small_disk: Path) -> None:
    with AppendLog(small_disk / "log") as log:
        log.append(b"first\n")
        with pytest.raises(AppendFailed, match="fitted"):
            log.append(b"x" * (2 << 20) + b"\n")
        assert log.size == len(b"first\n")
        log.append(b"second\n")
    assert (small_disk / "log").read_bytes() == b"first\nsecond\n"


def test_a_file_that_could_not_be_opened_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr("recsys_assets.serving.appendlog.sync_folder", broken)
        with pytest.raises(OSError, match="No space"):
            AppendLog(tmp_path / "log")
    AppendLog(tmp_path / "log").close()
