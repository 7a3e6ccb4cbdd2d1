"""A million events, three hundred kill -9 and a disk that fills: is every acknowledged event there, exactly once?

Here: the real collector process, clients that send until they are answered, and the count at the end. Not here: how
the collector does it (serving/feedback_log.py). `python -m benchmarks.collector_durability [--events --kills --seed]`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson

from benchmarks.harness import Figures, write
from recsys_assets.columns import FEEDBACK
from recsys_assets.resources.tables import TablesResource
from recsys_assets.serving import tokens
from recsys_assets.serving.collecting import FEEDBACK_KEYS, feedback_rows
from recsys_assets.serving.logs import read_feedback
from recsys_assets.settings import CollectorSettings

LIMITS = CollectorSettings(events_per_second=1e9, client_events_per_second=1e9)
ASKED_AGAIN, SENT_AGAIN = 0.02, 0.05  # shares of batches whose answer "gets lost", and that carry old events as well
KILLED_STARTING = 0.1
FULL_SECONDS = 0.3
RESTARTS_AT_THE_END = 11
MIB = 1 << 20


@dataclass
class Drill:
    """What is asked for, and what happened."""

    folder: Path
    events: int
    kills: int
    spells: int
    clients: int
    batch: int
    seed: int
    port: int = 0
    acknowledged: set[int] = field(default_factory=set)
    sent_again: int = 0
    killed: int = 0
    filled: int = 0
    refused_while_full: int = 0
    acknowledgement_ms: list[float] = field(default_factory=list)
    restart_seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    process: subprocess.Popen[bytes] | None = None
    done: bool = False

    @property
    def logs(self) -> Path:
        return self.folder / "logs"


def event(number: int) -> dict[str, str]:
    return {"event_id": f"e{number}", "request_id": f"r{number // 7}", "item_id": f"i{number % 997}"} | {
        "event_type": "click"
    }


# --- the collector -------------------------------------------------------------------------------------------------


def spawn(drill: Drill) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "recsys_assets.serving.collector", "--port", str(drill.port)]
    words += ["--log-folder", str(drill.logs), "--tokens", str(drill.folder / "tokens.json")]
    return subprocess.Popen([*words, "--limits", LIMITS.model_dump_json()], stderr=subprocess.DEVNULL)


async def start(drill: Drill, session: aiohttp.ClientSession, *, die_after: float | None = None) -> None:
    """A process that answers; `die_after` seconds kill the first try while it starts."""
    if die_after is not None:
        dying = spawn(drill)
        await asyncio.sleep(die_after)
        kill(drill, dying)
    began = time.perf_counter()
    drill.process = spawn(drill)
    while not await ready(drill, session):
        if drill.process.poll() is not None:
            raise RuntimeError(f"the collector ended with {drill.process.returncode}")
        await asyncio.sleep(0.005)
    drill.restart_seconds.append(time.perf_counter() - began)
    drill.up.set()


async def ready(drill: Drill, session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{drill.port}/health") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def kill(drill: Drill, process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    drill.killed += 1


async def fill(drill: Drill, session: aiohttp.ClientSession) -> None:
    """A disk without room: a ballast takes all of a mounted one, else the kernel refuses this process's writes."""
    assert drill.process
    with no_room(drill):
        drill.filled += 1
        began = time.perf_counter()
        refused = drill.refused_while_full
        while not drill.done and (drill.refused_while_full == refused or time.perf_counter() - began < FULL_SECONDS):
            await asyncio.sleep(0.02)
    while not await ready(drill, session):  # by itself
        await asyncio.sleep(0.02)


@contextmanager
def no_room(drill: Drill) -> Iterator[None]:
    if os.path.ismount(drill.folder):
        ballast = drill.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (MIB, 4096):
                fill_up(file.fileno(), size)
        yield
        ballast.unlink()
        return
    assert drill.process
    none = resource.RLIM_INFINITY
    resource.prlimit(drill.process.pid, resource.RLIMIT_FSIZE, (1, none))
    yield
    resource.prlimit(drill.process.pid, resource.RLIMIT_FSIZE, (none, none))


def fill_up(descriptor: int, size: int) -> None:
    block = b"\0" * size
    try:
        while os.write(descriptor, block) == size:
            pass
    except OSError:
        return


async def trouble(drill: Drill, session: aiohttp.ClientSession) -> None:
    """Kills and full disks, each when a number of events drawn beforehand has been acknowledged, and a moment later."""
    draw = random.Random(drill.seed)
    kinds = ["kill"] * drill.kills + ["full"] * drill.spells
    draw.shuffle(kinds)
    places = sorted(draw.randrange(drill.events) for _ in kinds)
    began, before = time.perf_counter(), 0
    for kind, place in zip(kinds, places, strict=True):
        while len(drill.acknowledged) < place and not drill.done:
            await asyncio.sleep(0.002)
        await asyncio.sleep(draw.random() * 0.03)
        if kind == "full":
            await fill(drill, session)
            began, before = time.perf_counter(), len(drill.acknowledged)
            continue
        if drill.killed >= drill.kills:
            continue
        assert drill.process
        drill.up.clear()
        kill(drill, drill.process)
        if (made := len(drill.acknowledged) - before) > 0:
            drill.rates.append(made / (time.perf_counter() - began))
        twice = drill.killed < drill.kills and draw.random() < KILLED_STARTING
        await start(drill, session, die_after=draw.random() * 0.5 if twice else None)
        began, before = time.perf_counter(), len(drill.acknowledged)
        if drill.killed % 25 == 0:
            print(f"{drill.killed} kills, {len(drill.acknowledged)} events acknowledged", flush=True)


# --- the clients ---------------------------------------------------------------------------------------------------


async def report(drill: Drill, session: aiohttp.ClientSession, client: int, token: str) -> None:
    """Every batch of this client, each sent until it is acknowledged; some are sent again although they were."""
    draw = random.Random(f"{drill.seed}:{client}")
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    mine = range(client * drill.batch, drill.events, drill.clients * drill.batch)
    for first in mine:
        numbers = list(range(first, min(first + drill.batch, drill.events)))
        old = earlier(mine, first, drill.batch, draw) if draw.random() < SENT_AGAIN else []
        body = orjson.dumps({"events": [event(number) for number in numbers + old]})
        times = 2 if draw.random() < ASKED_AGAIN else 1
        drill.sent_again += len(old) + (times - 1) * len(numbers)
        for _ in range(times):
            await acknowledged(drill, session, headers, body)
        drill.acknowledged.update(numbers)


def earlier(mine: range, first: int, batch: int, draw: random.Random) -> list[int]:
    """Some events of a batch of this client that was acknowledged at any time before."""
    done = mine[: bisect_right(mine, first) - 1]
    if not done:
        return []
    start = draw.choice(done)
    return list(range(start, start + batch // 4))


async def acknowledged(drill: Drill, session: aiohttp.ClientSession, headers: dict[str, str], body: bytes) -> None:
    """Return once the collector said 200."""
    while True:
        await drill.up.wait()
        began = time.perf_counter()
        try:
            async with session.post(f"http://127.0.0.1:{drill.port}/v1/feedback", data=body, headers=headers) as answer:
                if answer.status == 200:
                    await answer.read()
                    drill.acknowledgement_ms.append(1e3 * (time.perf_counter() - began))
                    return
                if answer.status != 503:
                    raise RuntimeError(f"{answer.status}: {await answer.text()}")
                drill.refused_while_full += 1
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.02)  # far below what Retry-After asks for: the harder case


# --- the whole -----------------------------------------------------------------------------------------------------


async def play(drill: Drill) -> None:
    given = [
        tokens.add(drill.folder / "tokens.json", f"client-{n}", now=datetime.now(UTC)) for n in range(drill.clients)
    ]
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        try:
            await start(drill, session)
            drill.restart_seconds.clear()  # the first start reads files from a cold disk
            async with asyncio.TaskGroup() as group:
                troubles = group.create_task(trouble(drill, session))
                async with asyncio.TaskGroup() as clients:
                    for number, token in enumerate(given):
                        clients.create_task(report(drill, session, number, token))
                drill.done = True
                await troubles
            await restart_at_the_end(drill, session)
        finally:
            if drill.process and drill.process.poll() is None:
                drill.process.kill()
                drill.process.wait()


async def restart_at_the_end(drill: Drill, session: aiohttp.ClientSession) -> None:
    """How long a start takes with everything there: these kills come on top of those asked for."""
    for _ in range(RESTARTS_AT_THE_END):
        assert drill.process
        drill.process.kill()
        drill.process.wait()
        await start(drill, session)


def counted(drill: Drill) -> dict[str, float | int]:
    """What stands in the files, in what the rooms read, and in the table."""
    ids = [orjson.loads(line)["event_id"] for path in drill.logs.glob("*.jsonl") for line in path.open("rb")]
    read = read_feedback(drill.logs)
    assert read.schema == FEEDBACK
    tables = TablesResource(root=str(drill.folder / "tables"))
    half = read.head(read.height // 2)
    new = [tables.append_new("feedback", feedback_rows(rows), keys=FEEDBACK_KEYS) for rows in (half, read, read)]
    wanted = {f"e{number}" for number in drill.acknowledged}
    stored = tables.read("feedback")["event_id"]
    return {
        "acknowledged": len(wanted),
        "kills": drill.killed,
        "lost": len(wanted - set(read["event_id"])) + len(wanted - set(stored)),
        # In the raw files already, before any reader removes what stands there twice.
        "doubled": len(ids) - len(set(ids)) + len(stored) - len(set(stored)),
        "never_sent_but_read": len(set(ids) - wanted),
        "collected_again_rows": new[2],
    }


def figures(drill: Drill, found: dict[str, float | int], seconds: float) -> Figures:
    restarts, at_the_end = drill.restart_seconds[:-RESTARTS_AT_THE_END], drill.restart_seconds[-RESTARTS_AT_THE_END:]
    return {
        **found,
        "sent_again_on_purpose": drill.sent_again,
        "disk_full_spells": drill.filled,
        "refused_while_full": drill.refused_while_full,
        "events_per_second_median": round(statistics.median(drill.rates)) if drill.rates else 0,
        "p50_ms": round(quantile(drill.acknowledgement_ms, 0.5), 2),
        "p99_ms": round(quantile(drill.acknowledgement_ms, 0.99), 2),
        "events_per_batch": drill.batch,
        "concurrent_clients": drill.clients,
        "restart_seconds_p50": round(quantile(restarts, 0.5), 3),
        "restart_seconds_p99": round(quantile(restarts, 0.99), 3),
        "restart_with_everything_median_seconds": round(statistics.median(at_the_end), 3),
        "log_files": len(list(drill.logs.glob("*.jsonl"))),
        "seed": drill.seed,
        "wall_seconds": round(seconds, 1),
    }


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


@contextmanager
def disk(mounted_mib: int) -> Iterator[Path]:
    """A folder of its own; mounted (in memory, as root) it can really be filled, but a sync costs nothing there."""
    folder = Path(tempfile.mkdtemp(prefix="collector-"))
    if mounted_mib:
        size = f"size={mounted_mib}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        if mounted_mib:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(given: argparse.Namespace, *, events: int, kills: int, spells: int, mounted_mib: int) -> Figures:
    with disk(mounted_mib) as folder:
        drill = Drill(folder, events, kills, spells, given.clients, given.batch, given.seed, free_port())
        began = time.perf_counter()
        asyncio.run(play(drill))
        return figures(drill, counted(drill), time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--full", type=int, default=10, help="spells in which the kernel refuses to write")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    found = run(given, events=given.events, kills=given.kills, spells=given.full, mounted_mib=0)
    peers: dict[str, Figures] = {}
    if os.geteuid() == 0:  # the same in small on a disk that really fills
        few, kills = max(given.events // 20, 10_000), max(given.kills // 30, 2)
        peers["tmpfs_that_fills"] = run(given, events=few, kills=kills, spells=given.full, mounted_mib=64)
    command = "python -m benchmarks.collector_durability"
    write("collector_durability", command=command, figures=found, peers=peers)
    if any(each[bad] for each in (found, *peers.values()) for bad in ("lost", "doubled", "collected_again_rows")):
        raise SystemExit("an acknowledged event was lost or stands twice")


if __name__ == "__main__":
    main()
