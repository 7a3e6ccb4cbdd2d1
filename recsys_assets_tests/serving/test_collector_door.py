"""How much may be reported and what a collector answers to too much, and to strangers.

Here: rates, the door, and the application over a real log. Not here: tokens (test_tokens.py), durability.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.serving import tokens
from recsys_assets.serving.admission import Door, Refused
from recsys_assets.serving.collector import DoorOpen, _require_closed, build_app, main
from recsys_assets.serving.feedback_log import FeedbackLog
from recsys_assets.serving.rate import TokenBucket, take_all
from recsys_assets.serving.tokens import TokenGate
from recsys_assets.settings import CollectorSettings

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "collector_tokens.json"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(10, 20, now=100)
    assert take_all([bucket], 20, now=100) == 0
    assert take_all([bucket], 5, now=100) == 0.5
    assert take_all([bucket], 5, now=100.5) == 0
    assert take_all([bucket], 20, now=1_000) == 0  # no more than the burst is held
    assert take_all([bucket], 1, now=1_000) == pytest.approx(0.1)


def test_more_than_the_burst_passes_when_the_bucket_is_full_and_is_paid_for_afterwards() -> None:
    bucket = TokenBucket(10, 20, now=0)
    assert take_all([bucket], 50, now=0) == 0
    assert take_all([bucket], 1, now=0) == pytest.approx(3.1)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1, 1, now=100)
    assert take_all([bucket], 1, now=100) == 0
    assert take_all([bucket], 1, now=50) == 1
    assert take_all([bucket], 1, now=100.5) == 0.5


def test_of_several_buckets_all_give_or_none() -> None:
    small, large = TokenBucket(1, 1, now=0), TokenBucket(1, 3, now=0)
    assert take_all([small, large], 1, now=0) == 0
    assert take_all([small, large], 1, now=0) == 1
    assert take_all([large], 2, now=0) == 0  # nothing was taken out of it above
    assert take_all([large], 1, now=0) == 1


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), max_size=40))
def test_never_more_than_burst_and_rate_allow(asked: list[tuple[float, int]]) -> None:
    bucket, at, given_out = TokenBucket(10, 20, now=0), 0.0, 0
    for pause, cost in asked:
        at += pause
        if take_all([bucket], cost, now=at) == 0:
            given_out += cost
    assert given_out <= 20 + 10 * at + 10  # ten more may be owed: a cost of 30 passes a full bucket of 20


def door(file: Path | None = None, clock: Callable[[], float] = lambda: 0.0, **limits: Any) -> Door:
    return Door(TokenGate(file), CollectorSettings(**limits), clock=clock)


def test_each_client_has_a_rate_and_all_together_have_one(tmp_path: Path) -> None:
    time = [0.0]
    limits = {"client_events_per_second": 10, "events_per_second": 15, "burst_seconds": 1}
    entrance = door(clock=lambda: time[0], **limits)
    entrance.charge("a", 10)
    with pytest.raises(Refused) as own:
        entrance.charge("a", 1)
    assert (own.value.status, own.value.headers) == (429, {"retry-after": "1"})
    entrance.charge("b", 5)
    with pytest.raises(Refused):
        entrance.charge("b", 1)  # within its own rate, but not within everybody's
    time[0] = 0.2
    entrance.charge("b", 3)


def test_no_more_bodies_are_read_at_once_than_memory_is_set_aside_for() -> None:
    entrance = door(max_in_flight=1)
    with entrance.inside():
        with pytest.raises(Refused) as full, entrance.inside():
            raise AssertionError("inside")
        assert (full.value.status, full.value.headers) == (503, {"retry-after": "1"})
    with pytest.raises(KeyError), entrance.inside():
        raise KeyError  # whatever happens inside, the place is free again
    with entrance.inside():
        pass


# --- the application -----------------------------------------------------------------------------------------------


def event(number: int) -> dict[str, str]:
    return {"event_id": f"e{number}", "request_id": "r", "item_id": "i", "event_type": "click"}


Talk = Callable[[httpx.AsyncClient, FeedbackLog], Awaitable[None]]


def talk(folder: Path, what: Talk, file: Path | None = None, **limits: Any) -> None:
    async def whole() -> None:
        log = FeedbackLog(folder / "feedback.jsonl")
        app = build_app(log, TokenGate(file), CollectorSettings(**limits), now=lambda: NOON)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            await what(client, log)
        log.close()

    asyncio.run(whole())


async def post(client: httpx.AsyncClient, *events: object, token: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return await client.post("/v1/feedback", json={"events": list(events)}, headers=headers)


def test_without_a_token_nothing_is_taken_and_with_one_the_line_says_whose(tmp_path: Path, file: Path) -> None:
    token = tokens.add(file, "shop", now=NOON)

    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        stranger = await post(client, event(1))
        assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")
        assert (await post(client, event(1), token="wrong")).status_code == 401
        assert (await client.get("/health")).json()["events"] == 0
        assert (await post(client, event(1), token=token)).status_code == 200
        file.write_text("broken")
        assert (await post(client, event(2), token=token)).status_code == 503
        assert (await client.get("/health")).json()["tokens"] is True

    talk(tmp_path, story, file)
    [line] = (tmp_path / "feedback.jsonl").read_text().splitlines()
    assert json.loads(line)["client"] == "shop"
    assert token not in line


def test_an_anonymous_line_names_nobody(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        assert (await post(client, event(1))).status_code == 200

    talk(tmp_path, story)
    assert "client" not in json.loads((tmp_path / "feedback.jsonl").read_text())


def test_too_many_events_are_refused_with_a_time_and_none_of_them_is_kept(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, log: FeedbackLog) -> None:
        assert (await post(client, *map(event, range(10)))).status_code == 200
        refused = await post(client, *map(event, range(10, 20)))
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
        assert len(log) == 10

    talk(tmp_path, story, client_events_per_second=0.001, burst_seconds=10_000)


def test_a_malformed_request_costs_one_event_and_a_stranger_none(tmp_path: Path, file: Path) -> None:
    token = tokens.add(file, "shop", now=NOON)

    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        for _ in range(5):
            assert (await post(client, event(1))).status_code == 401
        for _ in range(2):
            assert (await post(client, "no", token=token)).status_code == 422
        assert (await post(client, "no", token=token)).status_code == 429

    talk(tmp_path, story, file, events_per_second=0.001, burst_seconds=2_000)


@pytest.mark.parametrize(
    ("field", "longest"), [("event_id", 600), ("request_id", 256), ("item_id", 256), ("event_type", 32)]
)
def test_fields_have_a_longest_value(tmp_path: Path, field: str, longest: int) -> None:
    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        assert (await post(client, event(1) | {field: "a" * longest})).status_code == 200
        refused = await post(client, event(1) | {field: "a" * (longest + 1)})
        assert (refused.status_code, refused.json()["faults"][0]["where"]) == (422, f"events[0].{field}")

    talk(tmp_path, story)


def test_a_body_has_a_largest_size_whether_or_not_it_says_it_beforehand(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        async def pieces() -> Any:
            for _ in range(3):
                yield b" " * 50

        headers = {"content-type": "application/json"}
        for body in (b" " * 101, pieces()):
            assert (await client.post("/v1/feedback", content=body, headers=headers)).status_code == 413
        assert (await client.post("/v1/feedback", content=b" " * 100, headers=headers)).status_code == 400

    talk(tmp_path, story, max_body_bytes=100)


def test_while_as_many_bodies_arrive_as_are_read_at_once_the_next_is_refused(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, _: FeedbackLog) -> None:
        arriving, let_go = asyncio.Event(), asyncio.Event()

        async def slow() -> Any:
            yield b"{"
            arriving.set()
            await let_go.wait()
            yield b"}"

        headers = {"content-type": "application/json"}
        first = asyncio.create_task(client.post("/v1/feedback", content=slow(), headers=headers))
        await arriving.wait()
        refused = await post(client, event(1))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        let_go.set()
        assert (await first).status_code == 422
        assert (await post(client, event(1))).status_code == 200

    talk(tmp_path, story, max_in_flight=1)


def test_a_log_that_has_no_memory_left_answers_503_with_a_time(tmp_path: Path) -> None:
    async def whole() -> None:
        log = FeedbackLog(tmp_path / "feedback.jsonl", max_pending_bytes=10)
        app = build_app(log, TokenGate(None), CollectorSettings(), now=lambda: NOON)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as client:
            busy = await post(client, event(1))
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert "nothing was acknowledged" in busy.json()["error"]
        log.close()

    asyncio.run(whole())


# --- the start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "collector.example"])
def test_an_open_door_stands_on_loopback_only(host: str, file: Path) -> None:
    with pytest.raises(DoorOpen, match="not loopback"):
        _require_closed(host, TokenGate(None))
    tokens.add(file, "shop", now=NOON)
    _require_closed(host, TokenGate(file))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_nobody_is_asked_until_there_is_a_token(host: str) -> None:
    _require_closed(host, TokenGate(None))


def test_a_start_that_is_refused_says_why_in_one_line(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--port", "1", "--log-folder", str(tmp_path / "logs"), "--tokens", str(file)]
    assert main([*place, "--host", "0.0.0.0"]) == 3
    assert json.loads(capsys.readouterr().err)["refused"] == "DoorOpen"
    file.parent.mkdir()
    file.write_text("broken")
    assert main(place) == 3
    assert json.loads(capsys.readouterr().err)["refused"] == "TokensBroken"
    assert not (tmp_path / "logs").exists()
