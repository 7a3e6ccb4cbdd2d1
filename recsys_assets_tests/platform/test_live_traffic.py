"""Users are served as if nothing were: with the reconciler, the guard and the supervisor killed, and with a full disk.

Here: short forms with live traffic. The long one is `python -m benchmarks.control_plane_kills`.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import COLLECTOR, ENVOY, GUARD, KEEPER, RECONCILER
from recsys_assets.settings import Settings
from recsys_assets_tests.platform.homes import Home, make_settings, running_programs
from recsys_assets_tests.waiting import eventually

pytestmark = pytest.mark.slow
STEPS_BP = (0, 2_000, 6_000)
# User, status, version, variant.
Asked = tuple[str, int, str, str]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = make_settings(tmp_path / "home")
    yield made
    stack.stop(made)


@contextmanager
def traffic(home: Home, *, each_seconds: float = 0.005) -> Iterator[list[Asked]]:
    """Requests of 200 users at a steady rate beside the block; the list of all answers."""
    seen, done, draw = list[Asked](), threading.Event(), random.Random(5)

    def send() -> None:
        client = home.client()
        while not done.wait(each_seconds):
            user = str(draw.randrange(200))
            status, body = client.ask(user)
            seen.append((user, status, str(body.get("version")), str(body.get("variant"))))
        client.close()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield seen
    finally:
        done.set()
        sender.join()


def route(home: Home, canary_bp: int) -> Any:
    return home.route({"films-v2": canary_bp, "films-v1": 10_000 - canary_bp} if canary_bp else {"films-v1": 10_000})


def test_nobody_loses_an_answer_or_flips_while_reconciler_and_guard_are_killed(settings: Settings) -> None:
    programs = (KEEPER, RECONCILER, ENVOY, GUARD)
    stack.start(settings, programs)
    home, draw = Home(settings), random.Random(3)
    home.serve("1", "2")
    route(home, 0)
    with traffic(home) as seen:
        for weight in STEPS_BP:
            for name in (RECONCILER, GUARD):
                eventually(lambda name=name: running_programs(settings)[name].pid)
                pid = running_programs(settings)[name].pid
                assert pid
                time.sleep(draw.random() / 5)
                os.kill(pid, 9)
            route(home, weight)
        eventually(lambda: len(seen) > 200)
    assert {status for _, status, _, _ in seen} == {200}
    assert {(version, variant) for _, _, version, variant in seen} == {("1", "stable"), ("2", "canary")}
    back = [u for (u, *_), later in pairs(seen) if later == ("2", "1")]
    assert back == []


def pairs(seen: list[Asked]) -> Iterator[tuple[Asked, tuple[str, str]]]:
    """Each answer with the versions of the one before to the same user, and its own."""
    last: dict[str, str] = {}
    for answer in seen:
        user, version = answer[0], answer[2]
        yield answer, (last.get(user, version), version)
        last[user] = version


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system can be mounted by root only: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_with_a_full_disk_the_gateway_and_the_servers_answer_on(small_disk: Path) -> None:
    settings = make_settings(small_disk / "home")
    programs = (KEEPER, RECONCILER, ENVOY, COLLECTOR)
    try:
        stack.start(settings, programs)
        home = Home(settings)
        home.serve("1", "2")
        route(home, 3_000)
        before = {name: state.pid for name, state in running_programs(settings).items()}
        # The little test server writes each answer down; the real one's log is tested with the server.
        home.mode("1", "quiet")
        home.mode("2", "quiet")
        fill(small_disk)
        with traffic(home) as seen:
            eventually(lambda: len(seen) > 400)
        assert {status for _, status, _, _ in seen} == {200}
        assert {name: state.pid for name, state in running_programs(settings).items()} == before
        (small_disk / "filling").unlink()
        route(home, 6_000)
    finally:
        stack.stop(settings)


def fill(place: Path) -> None:
    """Write until nothing more fits."""
    with (place / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4_096)
        except OSError:
            return
