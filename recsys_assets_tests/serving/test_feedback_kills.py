"""A process that is killed at any of its writes leaves a log from which every acknowledged event is read once.

Here: every call into the kernel that changes a file, killed before and after, one by one. Not here: random kills of
the whole collector (test_collector.py, benchmarks/collector_durability.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from recsys_assets.serving.feedback_log import FeedbackLog, Receipt
from recsys_assets.serving.segments import segments

NAMES = [f"e{number}" for number in range(4)]
CALLS = ("write", "fsync", "ftruncate", "rename", "open")
DONE = 0


def line(name: str) -> tuple[str, bytes]:
    return name, f'{{"event_id":"{name}"}}\n'.encode()


def child(path: Path, at: int, after: bool, told: int) -> NoReturn:
    """Report every event; die at the call number `at`, which happens or not. Acknowledged names go to `told`."""
    left, write = [at], os.write

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if after:
                    real(*given, **named)
                elif real is write:
                    write(given[0], given[1][:-7])  # torn
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        return call

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))

    async def report() -> None:
        log = FeedbackLog(path, segment_bytes=30)
        for name in NAMES:
            await log.add([line(name)])
            write(told, f"{name}\n".encode())
        log.close()

    asyncio.run(report())
    os._exit(DONE)


def killed_at(path: Path, at: int, after: bool) -> tuple[bool, list[str]]:
    """(whether it came to the call, what it had acknowledged by then)."""
    read, told = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            child(path, at, after, told)
        finally:  # whatever it raised: a second pytest must not go on from here
            os._exit(1)
    os.close(told)
    with os.fdopen(read) as words:
        acknowledged = words.read().split()
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == DONE
    return os.WIFSIGNALED(status), acknowledged


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_write_loses_and_doubles_nothing(tmp_path: Path, after: bool) -> None:
    deaths = 0
    for at in range(1, 1_000):
        path = tmp_path / str(at) / "feedback.jsonl"
        was_killed, acknowledged = killed_at(path, at, after)
        asyncio.run(goes_on(path, acknowledged))
        if not was_killed:
            break
        deaths += 1
    assert acknowledged == NAMES
    assert deaths > 15


async def goes_on(path: Path, acknowledged: list[str]) -> None:
    """The next process: whatever was acknowledged is known, and after all is sent again each stands there once."""
    log = FeedbackLog(path, segment_bytes=30)
    if acknowledged:
        assert await log.add([line(name) for name in acknowledged]) == Receipt(0, len(acknowledged))
    await log.add([line(name) for name in NAMES])
    log.close()
    stored = b"".join(file.read_bytes() for file in segments(path))
    assert sorted(stored.splitlines(keepends=True)) == [line(name)[1] for name in NAMES]
