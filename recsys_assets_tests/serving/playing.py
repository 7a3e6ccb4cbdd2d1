"""A feedback log played with in one process, for the tests of its parts.

Here: batches, one life of a log, what stands in its files. Not here: any test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from recsys_assets.serving.feedback_log import (
    FeedbackLog,
    Receipt,
)
from recsys_assets.serving.segments import segments

Story = Callable[[FeedbackLog], Coroutine[Any, Any, None]]


def batch(*names: str) -> list[tuple[str, bytes]]:
    return [(name, f'{{"event_id":"{name}"}}\n'.encode()) for name in names]


def play(path: Path, story: Story, **limits: int) -> None:
    async def whole() -> None:
        log = FeedbackLog(path, **limits)
        try:
            await story(log)
        finally:
            log.close()

    asyncio.run(whole())


def written(folder: Path) -> list[str]:
    lines = [line for path in segments(folder / "feedback.jsonl") for line in path.read_text().splitlines()]
    return [line.removeprefix('{"event_id":"').removesuffix('"}') for line in lines]


def knows(names: list[str]) -> Story:
    async def story(log: FeedbackLog) -> None:
        assert await log.add(batch(*names)) == Receipt(0, len(names))

    return story
