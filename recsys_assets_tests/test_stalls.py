"""A process that stood still says so: one line in its log, one row in a file, read back by whoever asks why.

Here: stalls.py by itself, in the guard's loop, and a model server's pulse. Not here: what an analysis makes of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.serving.pulse import BEAT_SECONDS, Pulse
from recsys_assets.stalls import KEPT_LINES, Beats, Stall, StallLog, read_stalls, stalls_folder
from recsys_assets_tests.rollout.build import T0, later


def noted(home: Path, at: float = 100) -> StallLog:
    return StallLog(home, "recommender-v2", clock=lambda: later(at))


def test_a_beat_that_came_five_seconds_late_is_one_row_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        noted(tmp_path).late(5.4)
    assert read_stalls(tmp_path, T0) == [Stall("recommender-v2", later(94.6), 5.4)]
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("stalled 5.4 s at 00:01:34 UTC: {")
    assert json.loads(line.partition(": ")[2]) == {
        "process": "recommender-v2",
        "began": later(94.6).isoformat(),
        "seconds": 5.4,
    }


@pytest.mark.parametrize(("seconds", "count"), [(0.99, 0), (1.0, 1), (-3.0, 0)])
def test_a_busy_moment_is_no_stall(tmp_path: Path, seconds: float, count: int) -> None:
    noted(tmp_path).late(seconds)
    assert len(read_stalls(tmp_path, T0)) == count


def test_only_stalls_that_were_not_over_by_then_are_read_and_in_order(tmp_path: Path) -> None:
    for at in (300, 200, 100):
        StallLog(tmp_path, f"p{at}", clock=lambda at=at: later(at)).late(5)
    assert [s.process for s in read_stalls(tmp_path, later(200))] == ["p200", "p300"]
    assert [s.process for s in LogMetrics(tmp_path).stalls(later(200.1))] == ["p300"]


def test_a_torn_line_and_one_of_somebody_else_are_left_out(tmp_path: Path) -> None:
    noted(tmp_path).late(2)
    with (stalls_folder(tmp_path) / "recommender-v2.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"process": "x", "began": "2026-01-01T00:00:00"}\n[]\n{"process": "y", "began"')
    assert len(read_stalls(tmp_path, T0)) == 1
    noted(tmp_path, at=200).late(2)
    assert [s.began for s in read_stalls(tmp_path, T0)] == [later(98), later(198)]


def test_a_process_that_stalls_all_the_time_fills_no_disk(tmp_path: Path) -> None:
    folder = stalls_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "recommender-v2.jsonl").write_text("{}\n" * (KEPT_LINES + 500), encoding="utf-8")
    noted(tmp_path).late(2)
    assert len((folder / "recommender-v2.jsonl").read_text().splitlines()) == KEPT_LINES
    assert len(read_stalls(tmp_path, T0)) == 1


def test_a_disk_that_takes_nothing_leaves_the_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        assert noted(tmp_path).late(2) is not None
    assert [r.getMessage()[:13] for r in caplog.records] == ["stalled 2.0 s", "the stall can"]


@pytest.mark.parametrize(("took", "count"), [(0.5, 0), (1.4, 0), (5.5, 1)])
def test_a_rest_that_took_longer_than_it_should_is_noted(tmp_path: Path, took: float, count: int) -> None:
    now = [0.0]

    def wait(seconds: float) -> bool:
        now[0] += took
        return False

    assert Beats(noted(tmp_path), lambda: now[0]).rest(wait, 0.5) is False
    assert len(read_stalls(tmp_path, T0)) == count


def test_an_event_loop_that_stood_still_notes_it(tmp_path: Path) -> None:
    now = [0.0]

    async def stand_still() -> None:
        pulse = Pulse(lambda: now[0], late=noted(tmp_path).late)
        pulse.lag()
        now[0] += 5.0 + BEAT_SECONDS
        while not read_stalls(tmp_path, T0):
            await asyncio.sleep(BEAT_SECONDS)
        pulse.stop()

    asyncio.run(asyncio.wait_for(stand_still(), 60))
    (stall,) = read_stalls(tmp_path, T0)
    assert (stall.process, round(stall.seconds, 3)) == ("recommender-v2", 5.0)
    assert stall.ended == later(100)
    assert stall.ended - stall.began == timedelta(seconds=stall.seconds)
