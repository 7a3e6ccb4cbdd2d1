"""Lines written are rows read: whole, in order, from `since` on, and a torn last line is not there yet.

Here: exposures.py, appendlog.py and logs.py together. Not here: the processes that write.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.columns import EXPOSURES, FEEDBACK
from recsys_assets.serving.exposures import ExposureLog, exposure_line
from recsys_assets.serving.feedback_protocol import Event, feedback_line
from recsys_assets.serving.ladder import Answer
from recsys_assets.serving.logs import EXPOSURE_LOG, LogCorrupt, read_exposures, read_feedback
from recsys_assets.tail import Tail

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def line(number: int, *, items: tuple[str, ...] = ("a", "b"), flags: tuple[str, ...] = ()) -> bytes:
    return exposure_line(
        Answer("u", items, [1.0 / (n + 3) for n in range(len(items))], "full", flags),
        request_id=f"r{number}",
        served_at=NOON + timedelta(microseconds=number),
        visitor_id="v",
        model_version="3",
        variant="stable",
        latency_ms=1.25,
    )


def test_no_folder_and_an_empty_file_are_no_rows(tmp_path: Path) -> None:
    assert read_exposures(tmp_path / "absent").schema == EXPOSURES
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert read_feedback(tmp_path).schema == FEEDBACK


def test_rows_of_all_services_come_oldest_first_with_their_very_numbers(tmp_path: Path) -> None:
    for service, numbers in (("v4", (1, 3)), ("v3", (2, 4))):
        log = ExposureLog(tmp_path / f"{service}.jsonl")
        for number in numbers:
            assert log.write(line(number), 1)
        log.close()
    frame = read_exposures(tmp_path)
    assert frame.schema == EXPOSURES
    assert frame["request_id"].to_list() == ["r1", "r2", "r3", "r4"]
    assert frame["scores"].to_list()[0] == [1 / 3, 1 / 4]
    assert frame["served_at"].to_list()[2] == NOON + timedelta(microseconds=3)


def test_since_is_included_and_what_was_before_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(1) + line(2) + line(3))
    assert read_exposures(tmp_path, NOON + timedelta(microseconds=2))["request_id"].to_list() == ["r2", "r3"]


def test_an_answer_without_items_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(1, items=()) + line(2))
    assert read_exposures(tmp_path)["items"].to_list() == [[], ["a", "b"]]


def test_flags_come_back_and_an_answer_without_any_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(1, flags=("unknown_user",)) + line(2))
    assert read_exposures(tmp_path)["flags"].to_list() == [["unknown_user"], []]


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_torn_last_line_is_left_out_and_cut_before_the_next_is_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(1) + line(2)[:cut])
    assert read_exposures(tmp_path).height == 1
    log = ExposureLog(path)
    log.write(line(3), 1)
    assert read_exposures(tmp_path)["request_id"].to_list() == ["r1", "r3"]


@pytest.mark.parametrize("broken", [b"garbage\n", b"{}\n", b'{"request_id": "x"}\n', line(5)[:50] + b"\n", b"[1]\n"])
def test_a_broken_line_in_the_middle_is_named_not_skipped(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(1) + broken + line(2))
    with pytest.raises(LogCorrupt, match=r"a\.jsonl: line 2"):
        read_exposures(tmp_path)


def test_two_processes_of_one_service_write_side_by_side(tmp_path: Path) -> None:
    old, new = ExposureLog(tmp_path / "v3.jsonl"), ExposureLog(tmp_path / "v3.jsonl")
    assert new.write(line(2), 1)
    assert old.write(line(1), 1)
    assert read_exposures(tmp_path)["request_id"].to_list() == ["r1", "r2"]


def test_a_folder_that_cannot_be_written_costs_lines_but_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = ExposureLog(tmp_path / "file" / "v3.jsonl")
    assert log.write(line(1) + line(2), 2) is False
    assert (log.lost, log.written) == (2, 0)
    (tmp_path / "file").unlink()
    assert log.write(line(3), 1) is True


def test_a_disk_that_is_full_is_counted(tmp_path: Path) -> None:
    (tmp_path / "v3.jsonl").symlink_to("/dev/full")
    log = ExposureLog(tmp_path / "v3.jsonl")
    assert log.write(line(1), 1) is False
    assert log.lost == 1


def test_feedback_sent_twice_is_read_once(tmp_path: Path) -> None:
    row = feedback_line(Event(event_id="e", request_id="r", item_id="i", event_type="click"), NOON)
    (tmp_path / "feedback.jsonl").write_bytes(row + row)
    frame = read_feedback(tmp_path, NOON)
    assert frame.height == 1
    assert frame["received_at"].to_list() == [NOON]


def test_the_files_of_many_replicas_are_read_as_one_log_that_grows(tmp_path: Path) -> None:
    """Each pod writes a file of its own on the shared volume, and new pods come while the log is read."""
    logs = [ExposureLog(tmp_path / f"recommender-v3-predictor-{pod}.jsonl") for pod in range(20)]
    tail = Tail(tmp_path, EXPOSURE_LOG)
    for number in range(100):
        logs[number % 20].write(line(number), 1)
    assert tail.read(None)["request_id"].to_list() == [f"r{number}" for number in range(100)]
    logs.append(ExposureLog(tmp_path / "recommender-v3-predictor-late.jsonl"))
    logs[20].write(line(101), 1)
    logs[7].write(line(100), 1)
    assert tail.read(None)["request_id"].to_list() == [f"r{number}" for number in range(102)]
    for log in logs:
        log.close()
