"""What the collector acknowledged is there, once, whatever happens to it.

Here: one real process, killed and restarted; the log itself on a file that fails. Not here: reading (test_logs.py).
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from recsys_assets.serving import tokens
from recsys_assets.serving.feedback_log import FeedbackCorrupt, FeedbackLog, FeedbackUnavailable, Receipt
from recsys_assets.serving.logs import read_feedback
from recsys_assets_tests.serving.processes import Running, command, free_port, running
from recsys_assets_tests.waiting import HANG_SECONDS

JSON = {"content-type": "application/json"}


def event(number: object, **change: object) -> dict[str, object]:
    return {"event_id": f"e{number}", "request_id": "r", "item_id": "i", "event_type": "click"} | change


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def collector(folder: Path) -> Iterator[Running]:
    with running("collector", "--log-folder", folder) as started:
        yield started


def send(collector: Running, *events: object) -> httpx.Response:
    return collector.client.post("/v1/feedback", json={"events": list(events)})


def test_an_event_counts_once_however_often_it_is_sent(collector: Running, folder: Path) -> None:
    assert send(collector, event("once")).json() == {"accepted": 1, "duplicates": 0}
    assert send(collector, event("once"), event("once"), event("twice")).json() == {"accepted": 1, "duplicates": 2}
    assert read_feedback(folder)["event_id"].to_list().count("eonce") == 1


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 422, "events"),
        ({"events": []}, 422, "events"),
        ({"events": [event(1), "no"]}, 422, "events[1]"),
        ({"events": [event(1), event(2, event_id="")]}, 422, "events[1].event_id"),
        ({"events": [event(1, item_id=5)]}, 422, "events[0].item_id"),
        ({"events": [event(1, event_type="Click!")]}, 422, "events[0].event_type"),
        ({"events": [event(1, user_id="me")]}, 422, "events[0].user_id"),
        ({"events": [{"event_id": "a"}]}, 422, "events[0].request_id"),
        ({"events": [event(n) for n in range(1_001)]}, 422, "events"),
    ],
)
def test_a_malformed_event_refuses_the_batch_naming_index_and_field(
    collector: Running, folder: Path, body: object, status: int, where: str
) -> None:
    before = read_feedback(folder).height
    response = collector.client.post("/v1/feedback", json=body)
    assert response.status_code == status
    assert where in {fault["where"] for fault in response.json()["faults"]}
    assert read_feedback(folder).height == before


def test_what_is_not_json_or_too_large_is_refused(collector: Running) -> None:
    post = collector.client.post
    assert post("/v1/feedback", content=b"{", headers=JSON).status_code == 400
    assert post("/v1/feedback", content=b" " * (1 << 21), headers=JSON).status_code == 413
    assert post("/v1/nope", json={}).status_code == 404
    assert collector.client.get("/health").json()["ready"] is True


def test_a_second_collector_on_the_same_log_refuses_to_start(collector: Running, folder: Path) -> None:
    second = command("collector", "--port", str(free_port()), "--log-folder", folder)
    ended = subprocess.run(second, capture_output=True, timeout=HANG_SECONDS, check=False)
    assert ended.returncode == 3
    assert b"AppendBusy" in ended.stderr


def test_a_collector_that_may_not_write_says_why_and_goes_on_by_itself(tmp_path: Path) -> None:
    with running("collector", "--log-folder", tmp_path) as collector:
        assert send(collector, event("before")).status_code == 200
        pid, none = collector.process.pid, resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, none))  # the kernel refuses, as it does where a disk is full
        refused = send(collector, event("during"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        health = collector.client.get("/health")
        assert (health.status_code, health.json()["ready"]) == (503, False)
        assert "File too large" in health.json()["reason"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (none, none))
        assert collector.client.get("/health").json()["ready"] is True
        assert send(collector, event("during"), event("before")).json() == {"accepted": 1, "duplicates": 1}
    assert read_feedback(tmp_path)["event_id"].to_list() == ["ebefore", "eduring"]


def test_a_token_is_asked_for_by_the_process_and_is_written_nowhere(tmp_path: Path) -> None:
    token = tokens.add(tmp_path / "tokens.json", "shop", now=datetime(2026, 1, 1, tzinfo=UTC))
    place = ("--log-folder", tmp_path / "logs", "--tokens", tmp_path / "tokens.json")
    with running("collector", *place) as collector:
        assert send(collector, event(1)).status_code == 401
        collector.client.headers["authorization"] = f"Bearer {token}"
        assert send(collector, event(1)).status_code == 200
        assert send(collector, "malformed").status_code == 422
        collector.process.terminate()
        collector.process.wait()
        assert collector.process.stderr is not None
        said = collector.process.stderr.read()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert token.encode() not in said + kept


def test_events_acknowledged_before_kill_9_are_there_and_still_count_once(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with running("collector", "--log-folder", tmp_path) as collector:

        def report(worker: int) -> None:
            with httpx.Client(base_url=collector.client.base_url, trust_env=False) as client:
                for number in range(10_000):
                    name = f"{worker}-{number}"
                    try:
                        answer = client.post("/v1/feedback", json={"events": [event(name)]})
                    except httpx.TransportError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(f"e{name}")

        threads = [threading.Thread(target=report, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 100:
            threads[0].join(0.01)
        collector.process.kill()
        for thread in threads:
            thread.join()
    # A writer that was killed within a line leaves a torn one.
    with (tmp_path / "feedback.jsonl").open("ab") as file:
        file.write(b'{"event_id": "torn", "requ')
    assert set(acknowledged) <= set(read_feedback(tmp_path)["event_id"])
    with running("collector", "--log-folder", tmp_path) as again:
        assert again.client.get("/health").json()["repaired_bytes"] > 0
        name = acknowledged[0].removeprefix("e")
        assert send(again, event(name), event("after")).json() == {"accepted": 1, "duplicates": 1}
    assert read_feedback(tmp_path)["event_id"].is_unique().all()


def test_a_disk_that_is_full_acknowledges_nothing_and_recovers(tmp_path: Path) -> None:
    async def story() -> None:
        log = FeedbackLog(tmp_path / "feedback.jsonl")
        assert await log.add([("a", b'{"event_id":"a"}\n')]) == Receipt(1, 0)
        real = log._log.append
        log._log.append = _full  # type: ignore[method-assign]
        with pytest.raises(FeedbackUnavailable, match="No space"):
            await log.add([("b", b'{"event_id":"b"}\n')])
        log._log.append = real  # type: ignore[method-assign]
        assert await log.add([("b", b'{"event_id":"b"}\n'), ("a", b"")]) == Receipt(1, 1)
        log.close()

    asyncio.run(story())
    assert (tmp_path / "feedback.jsonl").read_bytes() == b'{"event_id":"a"}\n{"event_id":"b"}\n'


def _full(_: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_many_at_once_share_a_sync_and_the_same_event_is_accepted_from_one(tmp_path: Path) -> None:
    async def story() -> list[Receipt]:
        log = FeedbackLog(tmp_path / "feedback.jsonl")
        lines = [(f"e{n % 50}", f'{{"event_id":"e{n % 50}"}}\n'.encode()) for n in range(200)]
        receipts = await asyncio.gather(*(log.add([line]) for line in lines))
        log.close()
        return receipts

    receipts = asyncio.run(story())
    assert sum(receipt.accepted for receipt in receipts) == 50
    assert sum(receipt.duplicates for receipt in receipts) == 150
    assert (tmp_path / "feedback.jsonl").read_bytes().count(b"\n") == 50


def test_a_whole_line_that_is_no_event_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "feedback.jsonl").write_bytes(b'{"event_id":"a"}\nnot json\n{"event_id":"b"}\n')
    with pytest.raises(FeedbackCorrupt, match=r"feedback.jsonl:2"):
        FeedbackLog(tmp_path / "feedback.jsonl")
