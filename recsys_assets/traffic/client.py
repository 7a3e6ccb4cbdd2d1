"""Sending visits to the gateway, at a given rate where it keeps up, and the feedback of what was clicked.

Here: the asyncio client and its counts. Not here: who visits (visitors.py), where the events come from (replay.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from recsys_assets.traffic.visitors import Visitor, clicks

# Visits under way at once. Where the machine answers more slowly than visits are due, fewer come: a replay is there to
# show a release to visitors, not to overload the servers whose answers are judged.
MAX_IN_FLIGHT = 4


@dataclass
class Tally:
    """What the visitors saw so far. `statuses` counts HTTP codes, 0 stands for a lost connection."""

    statuses: Counter[int] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)
    clicks: int = 0
    unacknowledged: int = 0

    @property
    def requests(self) -> int:
        return self.statuses.total()

    def line(self) -> str:
        failed = self.requests - self.statuses[200]
        arms = ", ".join(f"{name} {count}" for name, count in sorted(self.variants.items()))
        return f"{self.requests} requests ({arms}), {self.clicks} clicks, {failed} failed"


async def replay(
    visitors: Iterator[Visitor],
    *,
    gateway: str,
    model: str,
    rate: float,
    top_k: int,
    seed: int,
    token: str | None = None,
    in_flight: int = MAX_IN_FLIGHT,
    on_progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Send every visitor, at most `rate` visits a second and `in_flight` at once, and report the clicks.

    `gateway` is an http:// address; `token` is a client's, where the collector asks for one. Time that was lost by
    waiting for answers is not caught up with: a burst would be a load that no real visitors are.
    """
    tally, limit = Tally(), asyncio.Semaphore(in_flight)
    loop = asyncio.get_running_loop()
    due = loop.time()
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(base_url=gateway, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):

        async def visit(visitor: Visitor) -> None:
            try:
                await _visit(session, visitor, tally, model=model, top_k=top_k, seed=seed, token=token)
            finally:
                limit.release()

        for number in itertools.count():
            visitor = next(visitors, None)
            if visitor is None:
                break
            await limit.acquire()
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + 1 / rate, loop.time())
            group.create_task(visit(visitor))
            if number % max(1, int(rate)) == 0:
                on_progress(tally)
    on_progress(tally)
    return tally


async def _visit(
    session: aiohttp.ClientSession,
    visitor: Visitor,
    tally: Tally,
    *,
    model: str,
    top_k: int,
    seed: int,
    token: str | None,
) -> None:
    body = {"instances": [{"user_id": visitor.user_id, "k": top_k}]}
    headers = {"x-user-id": visitor.visitor_id}
    try:
        async with session.post(f"/v1/models/{model}:predict", json=body, headers=headers) as response:
            tally.statuses[response.status] += 1
            if response.status != 200:
                return
            answer: dict[str, Any] = (await response.json())["predictions"][0]
    except (aiohttp.ClientError, TimeoutError):
        tally.statuses[0] += 1
        return
    tally.variants[answer["variant"]] += 1
    clicked = clicks(visitor, [shown["item_id"] for shown in answer["items"]], seed=seed)
    if clicked:
        await _report(session, answer["request_id"], clicked, tally, token=token)


async def _report(
    session: aiohttp.ClientSession, request_id: str, clicked: list[str], tally: Tally, *, token: str | None
) -> None:
    events = [
        {"event_id": f"{request_id}:{item}", "request_id": request_id, "item_id": item, "event_type": "click"}
        for item in clicked
    ]
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # The ids make a retry safe: an event counts once however often it is sent.
    for _ in range(3):
        try:
            async with session.post("/v1/feedback", json={"events": events}, headers=headers) as response:
                if response.status == 200:
                    tally.clicks += len(clicked)
                    return
        except (aiohttp.ClientError, TimeoutError):
            continue
    tally.unacknowledged += len(clicked)
