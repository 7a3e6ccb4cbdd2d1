"""The gateway's log is bounded, and no request is missing from it.

Here: moving aside with a real Envoy behind it, and the rules. Not here: reading single lines (test_access_log.py).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.platform.local.gateway import Gateway, gateway_place
from recsys_assets.platform.local.rotation import moved_aside, rotate
from recsys_assets.tail import read_whole
from recsys_assets_tests.platform.homes import Client, Home
from recsys_assets_tests.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_requests_before_and_after_a_rotation_are_all_read(home: Home, client: Client) -> None:
    home.route({"films-v1": 10_000})
    gateway = Gateway(gateway_place(home.settings))
    folder = gateway.place.access_log.parent
    before = read_whole(folder, GATEWAY_LOG).height
    for number in range(20):
        assert client.ask(str(number))[0] == 200
        if number == 9:
            assert rotate(folder, most_bytes=0, most_files=3, now=datetime.now(UTC), reopen=gateway.reopen_logs)
    gateway.close()
    eventually(lambda: read_whole(folder, GATEWAY_LOG).height == before + 20)
    assert gateway.place.access_log.stat().st_size > 0


def test_the_oldest_go_and_a_small_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    for hour in range(4):
        log.write_text(f"{hour}\n")
        moved = rotate(tmp_path, most_bytes=1, most_files=2, now=NOW + timedelta(hours=hour), reopen=lambda: True)
        assert moved is not None
    assert [path.read_text() for path in moved_aside(tmp_path)] == ["2\n", "3\n"]
    log.write_text("4")
    assert rotate(tmp_path, most_bytes=1, most_files=2, now=NOW, reopen=lambda: True) is None
    assert log.exists()


def test_a_log_whose_writer_was_not_told_goes_back(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    log.write_text("much\n")
    assert rotate(tmp_path, most_bytes=1, most_files=2, now=NOW, reopen=lambda: False) is None
    assert log.read_text() == "much\n"
    assert moved_aside(tmp_path) == []


def test_without_a_log_there_is_nothing_to_move(tmp_path: Path) -> None:
    assert rotate(tmp_path, most_bytes=1, most_files=2, now=NOW, reopen=lambda: True) is None
