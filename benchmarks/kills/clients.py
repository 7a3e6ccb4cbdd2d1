"""Open-loop clients: requests leave when the timetable says, whether the earlier ones were answered or not.

Here: one process that sends and writes down every answer. Not here: judging the answers (`judge.py`).
Each line of the output is [scheduled, sent, done, visitor, status, items, version, variant], times in Unix seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import TextIO

import aiohttp

K = 5
MODEL_USERS = 60
CLICK_SHARE = 0.1


async def send(asked: argparse.Namespace, out: TextIO) -> None:
    """Send all requests at their times. Visitors come by a fixed draw, so that most of them return."""
    draw, tasks = random.Random(asked.seed), set[asyncio.Task[None]]()
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        begin = time.time() + 0.5
        for number in range(asked.requests):
            due = begin + number / asked.rate
            if (wait := due - time.time()) > 0:
                await asyncio.sleep(wait)
            if asked.stop is not None and asked.stop.exists():
                break
            visitor, clicks = f"v{draw.randrange(asked.visitors):05}", draw.random() < CLICK_SHARE
            task = asyncio.create_task(one(session, asked.url, asked.model, visitor, due, clicks, out))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


async def one(
    session: aiohttp.ClientSession, url: str, model: str, visitor: str, due: float, clicks: bool, out: TextIO
) -> None:
    """One request, and for some answers a click."""
    body = {"instances": [{"user_id": f"u{int(visitor[1:]) % MODEL_USERS:02}", "k": K}]}
    sent, status, prediction = time.time(), "", dict[str, object]()
    try:
        path = f"{url}/v1/models/{model}:predict"
        async with session.post(path, json=body, headers={"x-user-id": visitor}) as answer:
            told = await answer.read()
            status = str(answer.status)
            prediction = json.loads(told)["predictions"][0] if answer.status == 200 else {"variant": told[:80].decode()}
    except (aiohttp.ClientError, TimeoutError, OSError) as broken:
        status = type(broken).__name__
    items = prediction.get("items")
    count = len(items) if isinstance(items, list) else 0
    line = [due, sent, time.time(), visitor, status, count, prediction.get("model_version"), prediction.get("variant")]
    out.write(json.dumps(line) + "\n")
    if clicks and isinstance(items, list) and items:
        await click(session, url, str(prediction["request_id"]), str(items[0]["item_id"]))


async def click(session: aiohttp.ClientSession, url: str, request_id: str, item: str) -> None:
    event = {"event_id": f"{request_id}-1", "request_id": request_id, "item_id": item, "event_type": "click"}
    try:
        async with session.post(f"{url}/v1/feedback", json={"events": [event]}) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return  # feedback has a benchmark of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--visitors", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stop", type=Path, help="end early when this file is there")
    asked = parser.parse_args()
    with asked.out.open("w", encoding="utf-8") as out:
        asyncio.run(send(asked, out))


if __name__ == "__main__":
    main()
