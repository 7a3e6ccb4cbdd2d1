"""From a breach to the last canary answer: real stacks, real traffic, hundreds of injected breaches.

Here: several homes side by side, each with its own supervisor, reconciler, Envoy, collector, guard and two model
servers, visitors who click, and one breach after another (benchmarks/guarding); their figures. A breach is errors (the
canary answers 500 to 30, 60 or 100 % of its requests), latency (0.4 s more for as many) or quality (nobody who got the
canary clicks any more). In half of them a process ticks the release as a run does that stays with it: the daemon with
its code server and a run of its own would take the two cores that serve; in the other half it is killed, and nothing
but the guard is left. Run it from the project's root: `python -m benchmarks.guard_reaction`, some 25 minutes on two
free cores.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.guarding.house import PORTS

Rows = list[dict[str, Any]]
GOAL_SECONDS = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--breaches", type=int, default=500)
    parser.add_argument("--homes", type=int, default=3, help="side by side")
    parser.add_argument("--rate", type=float, default=80.0, help="visits a second in each home, half to the canary")
    parser.add_argument("--leases", type=int, default=30, help="releases that nobody looks after")
    parser.add_argument("--healthy-seconds", type=float, default=180.0, help="of one more release in each home")
    parser.add_argument("--block", type=int, default=9, help="breaches in a row with the ticker alive, then killed")
    parser.add_argument("--seed", type=int, default=4)
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the stacks would outlive it
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = play(asked, Path(folder))
    figures = summed_up(rows, asked) | {"wall_seconds": round(time.monotonic() - began)}
    harness.write("guard_reaction", command="python -m benchmarks.guard_reaction", figures=figures, peers={})
    return 0 if figures["breaches"] >= asked.breaches and not figures["missed"] else 1


def play(asked: argparse.Namespace, folder: Path) -> Rows:
    """Every home in a process of its own; each stops its stack when it ends, however that is."""
    first = random.Random(time.time_ns()).randrange(20_000, 29_000, PORTS * asked.homes)
    homes = [
        subprocess.Popen(command(asked, folder / f"home{number}", first + PORTS * number, number))
        for number in range(asked.homes)
    ]
    try:
        while any(home.poll() is None for home in homes):
            time.sleep(5)
            print(f"{time.strftime('%X')} {sum(map(len, read(folder, asked.homes)))} episodes", flush=True)
    finally:
        for home in homes:
            home.terminate()
            home.wait()
    if bad := [home.returncode for home in homes if home.returncode]:
        print(f"homes ended with {bad}", file=sys.stderr)
    return [row for rows in read(folder, asked.homes) for row in rows]


def command(asked: argparse.Namespace, folder: Path, port: int, number: int) -> list[str]:
    def share(of: int) -> str:
        return str(of // asked.homes + (number < of % asked.homes))

    return [
        *[sys.executable, "-m", "benchmarks.guarding.episodes", "--folder", str(folder), "--port", str(port)],
        *["--breaches", share(asked.breaches), "--leases", share(asked.leases), "--rate", str(asked.rate)],
        *["--healthy-seconds", str(asked.healthy_seconds), "--block", str(asked.block)],
        *["--seed", str(asked.seed * 100 + number)],
    ]


def read(folder: Path, homes: int) -> list[Rows]:
    files = [folder / f"home{number}" / "episodes.jsonl" for number in range(homes)]
    return [[json.loads(line) for line in f.read_text().splitlines()] if f.exists() else [] for f in files]


def summed_up(rows: Rows, asked: argparse.Namespace) -> dict[str, float | int | str]:
    """All figures; a breach after which the canary kept its weight is missed, and none is left out."""
    spells = [row for row in rows if "healthy_seconds" in row]
    breaches = [row for row in spells if row["kind"] != "healthy" and "false_rollback" not in row]
    done = [row for row in breaches if "to_last_answer_seconds" in row]
    leases = [row for row in rows if row["kind"] == "lease"]
    visits = [row for row in rows if row["kind"] == "visits"]
    figures: dict[str, float | int | str] = {
        "breaches": len(breaches),
        "missed": len(breaches) - len(done) + sum(not row["silent"] for row in done),
        "false_rollbacks": sum("false_rollback" in row for row in spells),
        "healthy_spells": len(spells),
        "healthy_seconds": round(sum(row["healthy_seconds"] for row in spells)),
        "rate_per_second": asked.rate,
        "homes": asked.homes,
        "seed": asked.seed,
        "visits": sum(row["visits"] for row in visits),
        "visits_lost": sum(row["lost"] for row in visits),
    }
    figures |= spread("reaction", [row["to_last_answer_seconds"] for row in done])
    for kind in ("errors", "latency", "quality"):
        for daemon in ("alive", "dead"):
            figures |= group(
                f"{kind}_daemon_{daemon}", lambda r, k=kind, d=daemon: (r["kind"], r["daemon"]) == (k, d), done
            )
        figures |= group(kind, lambda r, k=kind: r["kind"] == k, done)
    figures |= spread("verdict_to_last_answer", [row["verdict_to_last_answer_seconds"] for row in done])
    late = [row["seconds"] for row in leases if not row["missed"]]
    figures |= {"leases": len(leases), "leases_missed": len(leases) - len(late), **spread("after_lease", late)}
    return figures


def group(name: str, of: Callable[[dict[str, Any]], bool], done: Rows) -> dict[str, float | int]:
    rows = [row for row in done if of(row)]
    seconds = [row["to_last_answer_seconds"] for row in rows]
    by_guard = sum(row["actor"] == "guard" for row in rows)
    over = sum(s > GOAL_SECONDS for s in seconds)
    counts = {f"{name}_breaches": len(rows), f"{name}_by_guard": by_guard, f"{name}_over_10_seconds": over}
    return counts | spread(name, seconds)


def spread(name: str, seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(len(ordered) * share) - 1)], 3)

    return {f"{name}_p50_seconds": at(0.5), f"{name}_p99_seconds": at(0.99), f"{name}_max_seconds": at(1.0)}


if __name__ == "__main__":
    sys.exit(main())
