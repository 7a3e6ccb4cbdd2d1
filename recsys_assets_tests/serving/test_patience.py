"""Waiting no longer than is usual, asking again in the background: dependencies that hang, slow down and come back.

Here: patience.py, threads.py and usual.py with real threads. Not here: a server (test_online_store.py), the whole range
of outages (benchmarks/ladder_outages.py).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.serving.patience import Missed, Patience
from recsys_assets.serving.pulse import BEAT_SECONDS, Pulse
from recsys_assets.serving.usual import DOUBLES_IN_SECONDS, UsualTime
from recsys_assets_tests.waiting import HANG_SECONDS

LEAST, MOST = 0.06, 0.3


class Store:
    """Answers at once, fails at once, takes its time, or hangs until `release` is set."""

    def __init__(self) -> None:
        self.seconds, self.failure, self.hangs, self.fails_late = 0.0, False, False, False
        self.release = threading.Event()
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.hangs:
            self.release.wait()
        if self.failure:
            raise KeyError("gone")
        time.sleep(self.seconds)
        if self.fails_late:
            raise KeyError("locked")
        return "row"


class Still(Pulse):
    """A processor that is always free, whatever else runs on the machine of these tests."""

    def lag(self) -> float:
        return 0.0


def patience(threads: int = 2, pulse: type[Pulse] = Still, least: float = LEAST) -> Patience[str]:
    return Patience(
        "test",
        failures=(KeyError,),
        least_seconds=least,
        most_seconds=MOST,
        now=time.monotonic,
        threads=threads,
        pulse=pulse(time.monotonic),
    )


def play(
    scene: Callable[[Patience[str], Store], Awaitable[None]],
    *,
    threads: int = 2,
    pulse: type[Pulse] = Still,
    least: float = LEAST,
) -> None:
    async def act() -> None:
        store, asked = Store(), patience(threads, pulse, least)
        await asked.prime([store] * 40, within_seconds=1)
        assert asked.deadline_seconds <= MOST
        try:
            await asyncio.wait_for(scene(asked, store), HANG_SECONDS)
        finally:
            store.release.set()
            asked.close()

    asyncio.run(act())


async def until_asked_again(asked: Patience[str]) -> float:
    """Seconds until it is trusted; where that hangs, the scene's own limit ends it."""
    start = time.monotonic()
    while asked.paused:
        await asyncio.sleep(0.005)
    return time.monotonic() - start


def test_a_store_that_hangs_is_left_alone_also_where_the_thread_began_a_moment_late() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.seconds = MOST / 20  # the one thread is busy for so long
        before = asyncio.ensure_future(asked.call(store))
        await asyncio.sleep(0)
        hanging = Store()
        hanging.hangs = True
        try:
            assert await asked.call(hanging) == Missed("slow")
            assert [await asked.call(hanging) for _ in range(3)] == [Missed("paused")] * 3
        finally:
            hanging.release.set()
        assert await before == "row"

    play(scene, threads=1, least=MOST)


def test_an_error_that_comes_quickly_is_told_each_time_and_pauses_nothing() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.failure = True
        for _ in range(20):
            assert await asked.call(store) == Missed("unavailable")
        store.failure = False
        assert await asked.call(store) == "row"

    play(scene)


def test_an_error_that_took_the_whole_deadline_costs_no_second_request_anything() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.fails_late, store.seconds = True, 0.7 * MOST  # a client's own timeout, over before the request's
        assert await asked.call(store) == Missed("unavailable")
        assert [await asked.call(store) for _ in range(3)] == [Missed("paused")] * 3
        await asyncio.sleep(2 * store.seconds)  # trials that fail as slowly do not make it trusted
        assert asked.paused

    play(scene, least=MOST)


def test_what_hangs_costs_one_request_its_deadline_and_no_other_anything() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.hangs = True
        assert asked.deadline_seconds <= MOST
        assert await asked.call(store) == Missed("slow")
        for _ in range(50):
            # What is left alone is not waited for: the answer is there before the event loop does anything else.
            call = asked.call(store)
            with pytest.raises(StopIteration) as at_once:
                call.send(None)
            assert at_once.value.value == Missed("paused")

    play(scene)


def test_it_is_asked_again_by_itself_once_it_answers_though_no_thread_ever_came_back() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.hangs = True
        await asked.call(store)
        await asyncio.sleep(0.5)
        store.hangs = False  # those that hang stay so
        await until_asked_again(asked)
        assert await asked.call(store) == "row"

    play(scene, threads=1)


def test_a_mere_slip_is_forgiven_before_the_next_request_comes() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.seconds = asked.deadline_seconds * 1.5
        assert await asked.call(store) == Missed("slow")
        store.seconds = 0.0
        await until_asked_again(asked)  # by its own trial: nobody calls meanwhile
        assert await asked.call(store) == "row"

    play(scene)


def test_what_hangs_comes_back_and_hangs_again_must_prove_itself_for_longer() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        waited = []
        for _ in range(3):
            store.fails_late, store.seconds = True, 2 * asked.deadline_seconds
            assert await asked.call(store) == Missed("slow")
            await asyncio.sleep(store.seconds)
            store.fails_late, store.seconds = False, 0.0
            waited.append(await until_asked_again(asked))
        assert waited[1] > 0.3
        assert waited[2] > 0.8

    play(scene)


def test_a_process_that_waits_for_a_processor_blames_nobody() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        await asyncio.sleep(2 * BEAT_SECONDS)
        time.sleep(MOST)  # what a busy machine does to an event loop
        await asyncio.sleep(2 * BEAT_SECONDS)
        assert asked.deadline_seconds == MOST
        store.seconds = MOST / 2
        assert await asked.call(store) == "row"

    play(scene, pulse=Pulse)


def test_waiting_behind_others_for_the_only_thread_is_no_outage() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.seconds = 0.008
        assert await asyncio.gather(*(asked.call(store) for _ in range(4))) == ["row"] * 4
        assert not asked.paused

    play(scene, threads=1, least=MOST)


def test_a_queue_longer_than_the_longest_wait_is_cut_and_is_no_outage() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        store.seconds = 0.012
        told = await asyncio.gather(*(asked.call(store) for _ in range(30)))
        assert {"row", Missed("slow")} == set(told)
        assert not asked.paused

    play(scene, threads=1, least=MOST)


def test_an_error_that_nobody_expected_is_raised_and_the_next_call_finds_a_thread() -> None:
    async def scene(asked: Patience[str], store: Store) -> None:
        with pytest.raises(RuntimeError, match="defect"):
            await asked.call(lambda: _unexpected())
        assert await asked.call(store) == "row"

    kept, threading.excepthook = threading.excepthook, lambda _: None
    try:
        play(scene, threads=1)
    finally:
        threading.excepthook = kept


def _unexpected() -> str:
    raise ZeroDivisionError


def test_a_process_ends_though_a_thread_hangs() -> None:
    code = """
import asyncio, threading, time
from recsys_assets.serving.patience import Patience
async def main():
    asked = Patience("x", failures=(), least_seconds=.01, most_seconds=.05, now=time.monotonic)
    print(await asked.call(threading.Event().wait))
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_SECONDS, check=True
    )
    assert "slow" in ended.stdout


def test_the_deadline_is_a_multiple_of_the_usual_time_within_its_bounds() -> None:
    usual = UsualTime(least=0.01, most=0.2)
    assert usual.deadline == 0.2
    for n in range(256):
        usual.learn(0.001, at=n)
    assert usual.deadline == 0.01
    for n in range(2_000):
        usual.learn(0.02, at=300 + n)
    assert usual.deadline == pytest.approx(0.06)


def test_an_outage_does_not_become_the_usual_thing_at_once() -> None:
    usual = UsualTime(least=0.01, most=1.0)
    for n in range(256):
        usual.learn(0.005, at=n * 0.01)
    before = usual.deadline
    for n in range(256):
        usual.learn(0.5, at=3 + n * 0.01)
    assert usual.deadline < before * 2 ** (6 / DOUBLES_IN_SECONDS)


@given(st.lists(st.floats(0, 10), max_size=300))
def test_the_deadline_never_leaves_its_bounds(times: list[float]) -> None:
    usual = UsualTime(least=0.01, most=0.05)
    for n, seconds in enumerate(times):
        usual.learn(seconds, at=n)
        assert 0.01 <= usual.deadline <= 0.05
