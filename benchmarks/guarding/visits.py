"""Visitors of one home: an open loop of visits through the gateway, and what they click.

Here: one process's asyncio client over kept connections; each visit is a new visitor. Not here: what goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

USERS = 60


@dataclass
class Seen:
    """What the visitors saw so far. `last_canary` is the monotonic time of the last answer by the canary."""

    visits: int = 0
    canary: int = 0
    last_canary: float = 0.0
    lost: int = 0
    unacknowledged: int = 0


@dataclass
class Visits(threading.Thread):
    """`rate` visits a second from `start` to `end`, whatever is answered. Each answer of an arm is clicked with the
    probability `clicks` has for it now."""

    port: int
    model: str
    rate: float
    seed: int
    clicks: dict[str, float] = field(default_factory=lambda: {"stable": 0.5, "canary": 0.5})
    seen: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def __hash__(self) -> int:
        return id(self)

    def end(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        draw, tasks = random.Random(self.seed), set[asyncio.Task[None]]()
        begin = time.monotonic()
        while not self._over.is_set():
            due = begin + self.seen.visits / self.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self.seen.visits += 1
            task = asyncio.create_task(self._visit(self.seen.visits, draw.randrange(USERS), draw.random()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for _, writer in self._free:
            writer.close()

    async def _visit(self, number: int, user: int, luck: float) -> None:
        body = b'{"instances":[{"user_id":"u%02d","k":5}]}' % user
        headers = f"x-user-id: {self.seed}.{number}\r\n"
        try:
            status, answer = await self._post(f"/v1/models/{self.model}:predict", body, headers)
        except (OSError, EOFError, TimeoutError):
            self.seen.lost += 1
            return
        if status != 200:
            return
        shown = answer["predictions"][0]
        if shown["variant"] == "canary":
            self.seen.canary += 1
            self.seen.last_canary = time.monotonic()
        if luck < self.clicks[shown["variant"]] and shown["items"]:
            await self._click(shown["request_id"], shown["items"][0]["item_id"])

    async def _click(self, request_id: str, item: str) -> None:
        event = {"event_id": f"{request_id}-1", "request_id": request_id, "item_id": item, "event_type": "click"}
        try:
            status, _ = await self._post("/v1/feedback", json.dumps({"events": [event]}).encode(), "")
        except (OSError, EOFError, TimeoutError):
            status = 0
        self.seen.unacknowledged += status != 200

    async def _post(self, path: str, body: bytes, headers: str) -> tuple[int, dict[str, Any]]:
        """One request on a connection that is free, or on a new one; one that fails is not used again."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST {path} HTTP/1.1\r\nhost: recommender\r\ncontent-type: application/json\r\n"
        head += f"{headers}content-length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(20):
                writer.write(head.encode() + body)
                answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(answered.split("content-length: ")[1].split("\r\n")[0])
                content = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._free.append((reader, writer))
        status = int(answered.split(" ", 2)[1])
        return status, json.loads(content) if status == 200 else {}
