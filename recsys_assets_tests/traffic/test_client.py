"""The replay's client, against a real HTTP server that answers when it is allowed to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiohttp import web

from recsys_assets.traffic.client import MAX_IN_FLIGHT, Tally, replay
from recsys_assets.traffic.visitors import Visitor
from recsys_assets_tests.waiting import HANG_SECONDS

ANSWER = {"predictions": [{"variant": "stable", "request_id": "r", "items": []}]}


def visitors(count: int) -> Iterator[Visitor]:
    return (Visitor(f"v{n}", f"u{n}", frozenset()) for n in range(count))


async def served(count: int, allowed: asyncio.Event, waiting: asyncio.Semaphore) -> tuple[Tally, int]:
    """The tally of `count` visits to a server that holds its answers until `allowed`; the most that were held at once.
    `waiting` is released with each request that arrives."""
    held, most = 0, 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal held, most
        held += 1
        most = max(most, held)
        waiting.release()
        await allowed.wait()
        held -= 1
        return web.json_response(ANSWER)

    app = web.Application()
    app.router.add_post("/v1/models/films:predict", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        address = f"http://127.0.0.1:{port}"
        tally = await replay(visitors(count), gateway=address, model="films", rate=10_000, top_k=3, seed=1)
    finally:
        await runner.cleanup()
    return tally, most


def test_a_server_that_is_behind_gets_no_more_visits_at_once_than_a_few() -> None:
    async def scene() -> tuple[Tally, int]:
        allowed, waiting = asyncio.Event(), asyncio.Semaphore(0)
        playing = asyncio.create_task(served(40, allowed, waiting))
        for _ in range(MAX_IN_FLIGHT):
            await waiting.acquire()
        allowed.set()
        return await playing

    tally, most = asyncio.run(asyncio.wait_for(scene(), HANG_SECONDS))
    assert most == MAX_IN_FLIGHT
    assert (tally.requests, tally.statuses[200], tally.variants["stable"]) == (40, 40, 40)
