"""The command: simulate, count, write the result file.

Here: `python -m benchmarks.release_simulation [--scale 0.05] [--workers 2] [--seed 1]`. Not here: what is simulated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import get_context
from typing import Final

# One process works on one release: its arithmetic has no use for more threads than that.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks import harness
from benchmarks.release_simulation.crowd import Traffic
from benchmarks.release_simulation.figures import Result, headline, peers, scenario
from benchmarks.release_simulation.judged_alike import Population, population
from benchmarks.release_simulation.simulate import SCENARIOS, Job, simulate

COMMAND: Final = "python -m benchmarks.release_simulation"
POPULATION_CROWDS: Final = 60


def jobs(scale: float, seed: int, people: Population, tick_seconds: float) -> list[Job]:
    """All releases of all scenarios."""
    made = [
        Job(name, truth, seed * 10_000_000 + number * 100_000 + i, people, tick_seconds)
        for number, (name, (truth, count)) in enumerate(SCENARIOS.items())
        for i in range(max(5, round(count * scale)))
    ]
    return made


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tick-seconds", type=float, default=120.0)
    given = parser.parse_args(argv)
    began = time.monotonic()
    people, history_r2 = population(Traffic(), crowds=POPULATION_CROWDS, seed=given.seed)
    print(f"seed {given.seed}, {given.workers} workers, variation {people.variation:.2f}, history R2 {history_r2:.3f}")
    results: dict[str, list[Result]] = {name: [] for name in SCENARIOS}
    todo = jobs(given.scale, given.seed, people, given.tick_seconds)
    with get_context("spawn").Pool(given.workers) as pool:
        for done, (name, result) in enumerate(pool.imap_unordered(simulate, todo, chunksize=5), start=1):
            results[name].append(result)
            if done % 100 == 0:
                print(f"{done} of {len(todo)} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    figures = headline(results) | {"history_r2": round(history_r2, 4), "outcome_variation": round(people.variation, 3)}
    for name, of in results.items():
        figures |= scenario(name, of)
    figures |= {"seed": given.seed, "tick_seconds": given.tick_seconds}
    figures["wall_seconds"] = round(time.monotonic() - began)
    harness.write("release_simulation", command=COMMAND, figures=figures, peers=peers(results))


if __name__ == "__main__":
    main()
