"""An open-loop client of the model server: requests leave at their times, however long the answers take.

Here: connections, times measured from when a request was due, and what an answer says of itself. Not here: any outage.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LOST_SECONDS = 5.0


@dataclass(frozen=True)
class Told:
    """One answer: milliseconds from when it was due, 0 for status where it was lost, its rung, flags, exposure."""

    at: float
    ms: float
    status: int
    rung: str = ""
    flags: tuple[str, ...] = ()
    exposure_lost: bool = False


class Client:
    """Connections are kept and taken again; a new one is opened when all are busy."""

    def __init__(self, address: str, path: str, users: Sequence[str], *, seed: int, tag: str = "") -> None:
        self._host, _, port = address.partition(":")
        self._port, self._path, self._users = int(port), path, users
        self._random, self._free, self._tag = random.Random(seed), list[Connection](), tag

    async def load(self, *, rate: float, seconds: float) -> list[Told]:
        """So many requests a second for so long, users drawn at random; the answers in order of their requests."""
        start, asked = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.append(asyncio.create_task(self.ask(self._random.choice(self._users), due)))
        return list(await asyncio.gather(*asked))

    async def ask(self, user: str, due: float | None = None) -> Told:
        due = time.perf_counter() if due is None else due
        try:
            status, headers, body = await asyncio.wait_for(self._send(user), LOST_SECONDS)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return Told(time.perf_counter(), (time.perf_counter() - due) * 1_000, 0)
        done = time.perf_counter()
        prediction: dict[str, Any] = orjson.loads(body)["predictions"][0] if status == 200 else {}
        return Told(
            done,
            (done - due) * 1_000,
            status,
            prediction.get("rung", ""),
            tuple(prediction.get("flags", ())),
            "x-recsys-exposure: lost" in headers,
        )

    async def _send(self, user: str) -> tuple[int, str, bytes]:
        connection = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
        reader, writer = connection
        body = b'{"instances":[{"user_id":"%s","k":10}]}' % user.encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nhost: recommender\r\ncontent-type: application/json\r\n"
            f"x-user-id: {self._tag}{user}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(told.split("content-length: ")[1].split("\r\n")[0])
        content = await reader.readexactly(length)
        self._free.append(connection)
        return int(told.split(" ", 2)[1]), told, content

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


def p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]
