"""The guard's loop: how often it looks at everything, what it tells when it cannot look, how it starts and ends.

Here: `run` on a clock that stands still between looks, and `main` as a program. Not here: what a look decides.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recsys_assets.platform.interface import PlatformError
from recsys_assets.rollout import guard
from recsys_assets.rollout.guarding import Beat, guard_lock, is_guarded
from recsys_assets.settings import load_settings
from recsys_assets_tests.waiting import eventually

POST = cast("guard.Post", None)


class Looks(threading.Event):
    """Stops a loop after so many looks, and lets no time pass between them."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        return self.left < 0


def look_around(lock: Path, monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Any], looks: int) -> None:
    monkeypatch.setattr(guard, "watch", watch)
    guard.run(POST, Beat(lock), interval_seconds=1.0, stop=Looks(looks))


def test_full_looks_take_a_fifth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = [0.0], list[bool]()

    def watch(post: guard.Post, *, full: bool) -> None:
        seen.append(full)
        now[0] += 1.0 if full else 0.5

    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: now[0]))
    look_around(tmp_path / "lock", monkeypatch, watch, 12)
    # A full look of one second is a fifth of five: the next one begins at 5.0, after eight short ones from 1.0 on.
    assert seen == [True, *[False] * 8, True, False, False]


def test_why_it_cannot_look_is_told_once_and_again_after_it_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = iter(["gone", "gone", "garbage", None, "garbage", "garbage"])

    def watch(post: guard.Post, *, full: bool) -> None:
        if (broken := next(ends)) is not None:
            raise PlatformError("VirtualService", "recommender", broken)

    with caplog.at_level(logging.ERROR, logger="recsys_assets.rollout.guard"):
        look_around(tmp_path / "lock", monkeypatch, watch, 6)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot look: VirtualService/recommender: gone",
        "cannot look: VirtualService/recommender: garbage",
        "cannot look: VirtualService/recommender: garbage",
    ]


def test_what_is_no_trouble_of_the_platform_ends_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(post: guard.Post, *, full: bool) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_around(tmp_path / "lock", monkeypatch, watch, 1)


@pytest.fixture
def _handlers() -> Iterator[None]:
    """A signal that the guard does not take fails the test, and ends nothing else."""

    def not_taken(number: int, _frame: object) -> None:
        raise AssertionError(f"nobody took signal {number}")

    kept = {number: signal.signal(number, not_taken) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_guards_the_home_it_was_given_until_it_is_asked_to_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    lock, seen = guard_lock(load_settings(home=tmp_path)), list[bool]()

    def ask() -> None:
        try:
            seen.append(eventually(lambda: is_guarded(lock)))
        finally:
            os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    guard.main(["--home", str(tmp_path)])
    asking.join()
    assert seen == [True]
