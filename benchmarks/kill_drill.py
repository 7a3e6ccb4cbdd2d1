"""Thousands of SIGKILLs at the write boundaries of every Python process that writes a release's state.

Here: which kills, shared out to worker processes, counted into one result file. Not here: a kill (recsys_assets_tests/
kills), or kills of the live stack under traffic (control_plane_kills.py).

    python -m benchmarks.kill_drill --kills 3000 --seed 1
"""

from __future__ import annotations

import os

# One thread in each of the many short-lived processes; Polars reads this when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import write
from recsys_assets_tests.kills.processes import fork
from recsys_assets_tests.kills.runs import Kill, Played, boundaries, carry_out, play, random_kills
from recsys_assets_tests.kills.schedule import scenarios

# Every boundary once is the plan; what is left of the budget goes to kills at random moments and to double kills.
RANDOM_SHARE, DOUBLE_SHARE = 0.15, 0.15
# So many of the runs that may stop early, because all stands as in the unkilled run, are played to the end instead.
WHOLE_SHARE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=20.0, help="stop here, and say how many kills were left out")
    parser.add_argument("--scenario", action="append", choices=sorted(scenarios()), help="only these")
    given = parser.parse_args()
    names = sorted(given.scenario or scenarios())
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kill-drill-", dir=where))
    try:
        _drill(given, names, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drill(given: argparse.Namespace, names: list[str], folder: Path) -> None:
    began = time.monotonic()
    print(f"seed {given.seed}; {len(names)} scenarios without kills ...", flush=True)
    played = {name: play(scenarios()[name], folder / name) for name in names}
    kills, differ, every = chosen(played, given.kills, random.Random(given.seed))
    print(
        f"{len(kills)} runs; {every} boundaries, {differ} that differ, {time.monotonic() - began:.0f} s so far",
        flush=True,
    )
    until = began + given.minutes * 60
    workers = []
    for number in range(given.workers):
        mine = kills[number :: given.workers]
        work = folder / f"worker{number}"
        work.mkdir()
        out, seed = folder / f"found{number}.jsonl", given.seed * 1_000 + number
        workers.append(
            fork(lambda m=mine, w=work, o=out, s=seed: _work(played, m, w, o, until, s), errors=work / "said")
        )
    for pid in workers:
        os.waitpid(pid, 0)
    found = [json.loads(line) for path in sorted(folder.glob("found*.jsonl")) for line in path.open()]
    figures = tally(found, given.seed, time.monotonic() - began)
    figures |= {"boundaries": every, "boundaries_that_differ": differ, "runs_planned": len(kills)}
    peers = {"by_scenario_and_process": by_scenario_and_process(found)}
    command = f"python -m benchmarks.kill_drill --kills {given.kills} --seed {given.seed}"
    write("kill_drill", command=command, figures=figures, peers=peers)
    for bad in [f for f in found if f["problems"]][:20]:
        print(f"BAD {bad['kill']} {bad['process']} {bad['write']}: {bad['problems']}")


def chosen(played: dict[str, Played], count: int, chance: random.Random) -> tuple[list[Kill], int, int]:
    """Every boundary that differs where the budget allows, else a fair draw of them; then random and double kills, and
    boundaries that come again. Also how many differ, and how many there are."""
    seen: set[object] = set()
    split = [boundaries(one, seen) for one in played.values()]
    differ, again = ([kill for part in split for kill in part[i]] for i in (0, 1))
    single = round(count * (1 - RANDOM_SHARE - DOUBLE_SHARE))
    kills = list(differ) if len(differ) <= single else chance.sample(differ, single)
    kills += chance.sample(again, min(len(again), single - len(kills)))
    names = sorted(played)
    for number in range(count - len(kills)):
        kills += random_kills(played[names[number % len(names)]], chance, 1, double=number % 2 == 0)
    chance.shuffle(kills)
    return kills, len(differ), len(differ) + len(again)


def _work(played: dict[str, Played], kills: list[Kill], work: Path, out: Path, until: float, seed: int) -> None:
    chance = random.Random(seed)
    with out.open("w") as file:
        for kill in kills:
            if time.monotonic() > until:
                return
            whole = chance.random() < WHOLE_SHARE
            found = carry_out(played[kill.scenario], kill, work / "home", whole=whole)
            file.write(json.dumps(found.as_json()) + "\n")
            file.flush()


def tally(found: list[dict[str, Any]], seed: int, seconds: float) -> dict[str, float | int | str]:
    """The figures; `clean_roll_backs` are ends that differ from the unkilled run's by the model not being released."""
    slowest = max((f["convergence_seconds"] for f in found), default=0.0)
    stops = sum(1 for f in found if f["kill"]["at"] and f["kill"]["at"]["how"] == "stop")
    return {
        "kills": sum(f["killed"] for f in found) - stops,
        "stopped_and_woken_late": stops,
        "runs": len(found),
        "double_kill_runs": sum(f["killed"] == 2 for f in found),
        "random_moment_kills": sum(1 for f in found if f["kill"]["at"] is None and f["killed"]),
        "done_before_the_kill": sum(1 for f in found if not f["killed"]),
        "bad_end_states": sum(bool(f["problems"]) for f in found),
        "same_end_as_unkilled": sum(f["same_end"] and not f["problems"] for f in found),
        "clean_roll_backs": sum(not f["same_end"] and not f["problems"] for f in found),
        "slowest_convergence_seconds": round(slowest, 1),
        "seed": seed,
        "run_seconds": round(seconds, 1),
    }


def by_scenario_and_process(found: list[dict[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(_keys(found)).items()))


def _keys(found: list[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        yield f"scenario_{one['kill']['scenario']}_runs"
        yield f"process_{one['process']}_runs"
        yield f"how_{one['kill']['at']['how'] if one['kill']['at'] else 'random'}_runs"
        yield f"write_{one['write'].replace('.', '_').replace(' ', '_')}_runs"


if __name__ == "__main__":
    main()
