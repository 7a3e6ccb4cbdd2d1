"""A full segment is sealed and the next is begun; ids are known again, and a start reads no more than it must.

Here: FeedbackLog over several files. Not here: disks that fail (test_feedback_log.py), one index (test_event_ids.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_assets.serving.appendlog import AppendBusy
from recsys_assets.serving.event_ids import SealedIds, digest
from recsys_assets.serving.feedback_log import (
    FeedbackCorrupt,
    FeedbackLog,
    Receipt,
)
from recsys_assets.serving.segments import after, index_of, segments
from recsys_assets_tests.serving.playing import batch, knows, play, written


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
    play(path, knows(names), segment_bytes=40)
    for index in path.parent.glob("*.ids"):
        index.unlink()
    play(path, knows(names), segment_bytes=40)
    assert len(list(path.parent.glob("*.ids"))) == 3


def test_an_index_of_another_state_of_the_segment_is_made_again(path: Path) -> None:
    path.write_bytes(b"".join(line for _, line in batch("a", "b")))
    after(path, path).write_bytes(b"")
    SealedIds.of([digest("a")]).save(index_of(path), covers=path.stat().st_size - 1)
    play(path, knows(["a", "b"]))


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 40_000])
def test_an_index_that_is_damaged_is_made_again(path: Path, damage: bytes) -> None:
    path.write_bytes(batch("a")[0][1])
    after(path, path).write_bytes(b"")
    index_of(path).write_bytes(damage)
    play(path, knows(["a"]))
    assert SealedIds.load(index_of(path), covers=path.stat().st_size) is not None


def test_a_start_needs_no_room_for_an_index_that_is_missing(path: Path) -> None:
    path.write_bytes(batch("a")[0][1])
    after(path, path).write_bytes(b"")
    index_of(path).mkdir()  # in the way of reading and of writing
    play(path, knows(["a"]))


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
    play(path, knows(["b"]))
    assert not path.exists()


def test_files_of_another_kind_are_no_segments(path: Path) -> None:
    for name in ("feedback-2.jsonl", "feedback-000003.ids", "feedback-00000x.jsonl", "feedback-1000000.jsonl"):
        (path.parent / name).touch()
    assert [each.name for each in segments(path)] == ["feedback-1000000.jsonl"]
    assert after(segments(path)[0], path).name == "feedback-1000001.jsonl"
