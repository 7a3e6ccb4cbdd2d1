"""Each dependency of an answer hanging, slow, garbage or dead: how long answers take, from which rung, what is lost.

Here: one real server on MovieLens-100K, open-loop visitors, usual and broken spells in turns (A/B/A/B) in one run, then
cold starts during outages. Run it from the project's root: `python -m benchmarks.ladder_outages`, some four minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks import harness
from benchmarks.open_loop import Client, Told, p99
from benchmarks.outages import AT_START, OUTAGES, TABLE, Place
from benchmarks.serving_latency import VERSION, make_settings, prepare, settled
from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, STICKY_HEADER_ANNOTATION, VIRTUAL_SERVICE
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.store import open_store
from recsys_assets.recommender.bundle import bundle_digest
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.serving.attestation import attest
from recsys_assets.serving.manifests import inference_service
from recsys_assets.settings import Settings
from recsys_assets.signing import sign_bundle

ROOT = Path(__file__).parent.parent
RUNGS = ("full", "no_online_store", "cached", "popular")
THROUGH_ENVOY = ("store_hanging_locked", "ranker_slow")
RECOVERY_SECONDS = 15.0


@dataclass
class Spells:
    """What came back: in usual spells, in broken ones, and how long each recovery took."""

    usual: list[Told] = field(default_factory=list)
    broken: list[Told] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """The server under test and how it is asked."""

    settings: Settings
    asked: argparse.Namespace
    users: Sequence[str]
    direct: str
    place: Place
    bumps: int = 0

    @property
    def path(self) -> str:
        return f"/v1/models/{self.settings.model_name}:predict"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outages", nargs="+", choices=OUTAGES, default=list(OUTAGES))
    parser.add_argument("--rate", type=float, default=80.0, help="requests a second, open loop")
    parser.add_argument("--seconds", type=float, default=2.5, help="of each spell")
    parser.add_argument("--spells", type=int, default=2, help="usual and broken, of each outage")
    parser.add_argument("--starts", type=int, default=2, help="usual cold starts")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(Path(folder))
        users = prepare(settings).users()
        gc.collect()  # Feast leaves its connection open, and one that is open lets nobody lock the store
        vouch_for(settings)
        stack.start(settings, stack.CORE)
        try:
            figures = measure(deployed(settings, asked, users))
        finally:
            stack.stop(settings)
    harness.write("ladder_outages", command="python -m benchmarks.ladder_outages", figures=figures, peers={})


def vouch_for(settings: Settings) -> None:
    """Signed and attested, as a server wants it; no gate is asked about a bundle that nobody will release."""
    bundle, keys = settings.path("bundles", VERSION), settings.path("keys")
    sign_bundle(bundle, keys)
    told = Verdict(check="told", model_version=VERSION, outcome=Outcome.PASS, reason="a benchmark's own bundle")
    attest(model_version(settings), {"benchmark/told": told}, bundle=bundle, keys=keys, at=datetime.now(UTC))


def deployed(settings: Settings, asked: argparse.Namespace, users: Sequence[str]) -> Bench:
    """The server with its hooks, on the local platform, with the whole route."""
    model = model_version(settings)
    hooks = settings.path("fault.txt")
    manifest = inference_service(
        model,
        role="challenger",
        bundle_path=settings.path("bundles", VERSION),
        home=settings.home,
        python=sys.executable,
        online_timeout_ms=settings.serving.online_store_timeout_ms,
    )
    container = manifest["spec"]["predictor"]["containers"][0]
    container["command"] = [sys.executable, "-m", "benchmarks.faulty_server"]
    container["env"] += [{"name": "PYTHONPATH", "value": str(ROOT)}, {"name": "BENCHMARK_FAULT", "value": str(hooks)}]
    platform = open_store(settings)
    platform.apply(manifest, expected=ANY)
    route = {"destination": {"host": model.service_name}, "weight": 10_000}
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": VIRTUAL_SERVICE,
        "metadata": {"name": model.name, "annotations": {STICKY_HEADER_ANNOTATION: "x-user-id"}},
        "spec": {"hosts": [model.name], "http": [{"route": [route]}]},
    }
    platform.apply(virtual_service, expected=ANY)
    settled(platform, VIRTUAL_SERVICE, model.name)
    direct = str(settled(platform, INFERENCE_SERVICE, model.service_name).url).removeprefix("http://")
    [pid] = [p.pid for p in psutil.process_iter(["cmdline"]) if listens(p.info["cmdline"] or (), direct, settings)]
    log = settings.path("logs", "exposures", f"{model.service_name}.jsonl")
    return Bench(settings, asked, users, direct, Place(settings.path("feast", "online.db"), hooks, pid, log))


def listens(command: Sequence[str], address: str, settings: Settings) -> bool:
    port = address.rpartition(":")[2]
    return "benchmarks.faulty_server" in command and port in command and str(settings.home) in command


def model_version(settings: Settings) -> ModelVersion:
    return ModelVersion(
        name=settings.model_name,
        version=VERSION,
        run_id="benchmark",
        feature_service="ranker_v1",
        table_versions={},
        code_version="0",
        bundle_digest=bundle_digest(settings.path("bundles", VERSION)),
        as_of=datetime(1998, 4, 23, tzinfo=UTC),
    )


def measure(bench: Bench) -> dict[str, float | int | str]:
    """All outages straight, some through Envoy, then the cold starts."""
    asked = bench.asked
    figures: dict[str, float | int | str] = {"rate_per_second": asked.rate, "spell_seconds": asked.seconds}
    figures |= {"spells_count": asked.spells, "load_average_before": round(os.getloadavg()[0], 1)}
    gateway = f"127.0.0.1:{bench.settings.serving.gateway_port}"
    asyncio.run(warm(bench))
    cases = [(name, name, bench.direct) for name in asked.outages]
    cases += [(f"{name}_through_envoy", name, gateway) for name in THROUGH_ENVOY if name in asked.outages]
    ratios = []
    for title, name, address in cases:
        found = asyncio.run(spells(bench, name, address))
        told = figures_of(title, name, found)
        print({key: value for key, value in told.items()}, flush=True)
        ratios.append(float(told[f"{title}_p99_ratio"]))
        figures |= told
    figures["worst_p99_ratio"] = max(ratios)
    figures["unflagged_count"] = sum(int(v) for k, v in figures.items() if k.endswith("_unflagged_answers"))
    figures["lost_count"] = sum(int(v) for k, v in figures.items() if k.endswith("_lost_requests"))
    return figures | cold_starts(bench)


async def warm(bench: Bench) -> None:
    """Every user once, so that rankings are kept as they are in a server that has run for a while."""
    client = Client(bench.direct, bench.path, bench.users, seed=bench.asked.seed)
    for user in bench.users:
        await client.ask(user)
    client.close()


async def spells(bench: Bench, name: str, address: str) -> Spells:
    """Usual, broken, repaired, and again."""
    asked, found = bench.asked, Spells()
    client = Client(address, bench.path, bench.users, seed=asked.seed)
    await client.load(rate=asked.rate, seconds=0.5)  # connections and threads are there
    for _ in range(asked.spells):
        know_more(bench, name)
        found.usual += await client.load(rate=asked.rate, seconds=asked.seconds)
        know_more(bench, name)
        with OUTAGES[name](bench.place):  # type: ignore[attr-defined]
            found.broken += await client.load(rate=asked.rate, seconds=asked.seconds)
            know_more(bench, name)
        found.recovery.append(await recovered(client, asked.rate, name))
    client.close()
    return found


def know_more(bench: Bench, name: str) -> None:
    """Something new of every user, so that the ranker is asked again; outages of the store and the log go without."""
    if not name.startswith("ranker"):
        return
    bench.bumps = bench.bumps % 100 + 1
    with sqlite3.connect(bench.place.store, timeout=10) as db:
        value = bytes([0x20, bench.bumps])  # int64_val
        db.execute(f"UPDATE {TABLE} SET value = ? WHERE feature_name = 'active_days'", (value,))
    db.close()


async def recovered(client: Client, rate: float, name: str) -> float:
    """Seconds until ten answers in a row are as usual again, with the load going on."""
    start, in_a_row, first = time.perf_counter(), 0, 0.0
    while in_a_row < 10:
        told = (await client.load(rate=rate, seconds=1 / rate))[0]
        as_usual = told.status == 200 and told.rung == "full" and not told.exposure_lost
        first = told.at if as_usual and in_a_row == 0 else first
        in_a_row = in_a_row + 1 if as_usual else 0
        if time.perf_counter() - start > RECOVERY_SECONDS:
            raise SystemExit(f"{name}: not as usual again after {RECOVERY_SECONDS} s: {told}")
    return max(0.0, first - start)


def figures_of(title: str, name: str, found: Spells) -> dict[str, float | int]:
    """Flat figures of one outage."""
    usual, broken = p99([t.ms for t in found.usual]), p99([t.ms for t in found.broken])
    answered = [t for t in found.broken if t.status == 200]
    rungs = Counter(t.rung for t in answered)
    unflagged = [t for t in answered if (t.rung != "full" and not t.flags)]
    if name == "log_disk_full":
        unflagged = [t for t in answered if not t.exposure_lost]
    return {
        f"{title}_answers": len(found.broken),
        f"{title}_usual_p99_ms": round(usual, 2),
        f"{title}_outage_p99_ms": round(broken, 2),
        f"{title}_p99_ratio": round(broken / usual, 2),
        f"{title}_outage_worst_ms": round(max(t.ms for t in found.broken), 1),
        **{f"{title}_{rung}_share": round(rungs[rung] / max(len(answered), 1), 3) for rung in RUNGS},
        f"{title}_unflagged_answers": len(unflagged),
        f"{title}_lost_requests": len(found.broken) - len(answered) + sum(t.status != 200 for t in found.usual),
        f"{title}_recovery_worst_seconds": round(max(found.recovery), 2),
    }


def cold_starts(bench: Bench) -> dict[str, float | int | str]:
    """Seconds from starting the process until its first answer, usual and in each outage that can be there before."""
    usual = [cold_start(bench) for _ in range(bench.asked.starts)]
    figures: dict[str, float | int | str] = {"cold_start_seconds_usual": round(max(usual), 2)}
    for name in (name for name in AT_START if name in bench.asked.outages):
        with OUTAGES[name](bench.place):  # type: ignore[attr-defined]
            figures[f"cold_start_{name}_seconds"] = round(cold_start(bench), 2)
    outages = [float(v) for k, v in figures.items() if k.startswith("cold_start_") and k != "cold_start_seconds_usual"]
    figures["cold_start_seconds_in_outage"] = max(outages, default=0.0)
    return figures


def cold_start(bench: Bench) -> float:
    """One more server of the same bundle, until it answers a visitor."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = bench.settings.home
    command = [sys.executable, "-m", "benchmarks.faulty_server", "--bundle"]
    command += [str(bench.settings.path("bundles", VERSION)), "--home", str(home), "--port", str(port)]
    started = time.perf_counter()
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"BENCHMARK_FAULT": str(bench.place.hooks), "OMP_NUM_THREADS": "1"}
    )
    try:
        return asyncio.run(first_answer(bench, port)) - started
    finally:
        server.terminate()
        server.wait(timeout=20)


async def first_answer(bench: Bench, port: int) -> float:
    client = Client(f"127.0.0.1:{port}", bench.path, bench.users, seed=bench.asked.seed)
    deadline = time.perf_counter() + 120
    while (told := await client.ask(bench.users[0])).status != 200:
        if time.perf_counter() > deadline:
            raise SystemExit(f"no answer after a cold start: {told}")
        await asyncio.sleep(0.02)
    client.close()
    return told.at


if __name__ == "__main__":
    main()
