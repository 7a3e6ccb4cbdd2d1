"""The command for stalls: models whose machines stand still now and then, each arm's own.

Here: `python -m benchmarks.release_simulation.stalls [--scale 0.05] [--workers 2] [--seed 1]`. Not here: what is drawn
(crowd.py), a look (stalled_looks.py), a whole release (release.py), or the figures without stalls (__main__.py).

A stall lasts 1 to 20 s and meets each arm 1.5 times on average in the 3,000 s of a canary; nearly all of the arm's
requests time out meanwhile. Equal models: how many lose their weight, and how many their digest. Models with three
times the errors, with and without stalls: how many lose their weight, and how many are denied at once. A few releases
are played whole, by tick, route and ledger, beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

# One process works on one canary: its arithmetic has no use for more threads than that.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks import harness
from benchmarks.release_simulation.crowd import Traffic, Truth, draw
from benchmarks.release_simulation.figures import Flat, share
from benchmarks.release_simulation.release import run
from benchmarks.release_simulation.stalled_looks import SECONDS, Said, look_at

COMMAND: Final = "python -m benchmarks.release_simulation.stalls"
STALLS: Final = 1.5
TICK_SECONDS: Final = 120.0
WHOLE: Final = "aa_with_stalls_whole_releases"
# Name: the truth, the stalls of each arm, how many canaries at full size.
SCENARIOS: Final = {
    "aa_with_stalls": (Truth(), STALLS, 4_000),
    "3x_errors_with_stalls": (Truth(errors=3.0), STALLS, 400),
    "3x_errors_without": (Truth(errors=3.0), 0.0, 400),
    WHOLE: (Truth(), STALLS, 100),
}


@dataclass(frozen=True)
class Job:
    """One canary to simulate."""

    name: str
    truth: Truth
    stalls: float
    seed: int


def simulate(job: Job) -> tuple[str, Said]:
    if job.name != WHOLE:
        return job.name, look_at(job.seed, stalls=job.stalls, truth=job.truth)
    everything = Traffic(stalls=job.stalls * Traffic().seconds / SECONDS)
    ended = run(draw(everything, np.random.default_rng(job.seed)), job.truth, tick_seconds=TICK_SECONDS)
    said: dict[str, Said] = {"harm": "denied", "episode": "episode"}
    return job.name, said.get(ended.ending, "kept")


def jobs(scale: float, seed: int) -> list[Job]:
    """All canaries, those of the scenarios mixed, so that a run that is stopped has some of each."""
    made = [
        (i / count, Job(name, truth, stalls, seed * 10_000_000 + number * 100_000 + i))
        for number, (name, (truth, stalls, count)) in enumerate(SCENARIOS.items())
        for i in range(max(5, round(count * scale)))
    ]
    return [job for _, job in sorted(made, key=lambda one: one[0])]


def summed_up(results: dict[str, Sequence[Said]]) -> Flat:
    """Shares with exact bounds. A denial is false where the model is as good as the champion."""
    aa = Counter(results["aa_with_stalls"])
    figures: Flat = share("false_denial_share", aa["denied"], aa.total())
    for name, of in results.items():
        said = Counter(of)
        taken = said["denied"] + said["episode"]
        figures |= {f"canaries_{name}": len(of)}
        figures |= share(f"weight_taken_share_{name}", taken, len(of))
        figures |= share(f"denied_at_once_share_{name}", said["denied"], len(of))
    return figures


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="take no further result after so long")
    given = parser.parse_args(argv)
    began = time.monotonic()
    results: dict[str, list[Said]] = {name: [] for name in SCENARIOS}
    with get_context("spawn").Pool(given.workers) as pool:
        todo = jobs(given.scale, given.seed)
        # In order: no kind counts more for being quick.
        for done, (name, said) in enumerate(pool.imap(simulate, todo, chunksize=5), start=1):
            results[name].append(said)
            if done % 50 == 0:
                told = {name: dict(Counter(of)) for name, of in results.items()}
                print(f"{done} of {len(todo)}, {time.monotonic() - began:.0f} s: {told}", file=sys.stderr, flush=True)
            if time.monotonic() - began > 60 * given.minutes:
                break
    figures = summed_up({name: of for name, of in results.items()})
    figures |= {"stalls_per_arm": STALLS, "canary_seconds": SECONDS, "seed": given.seed}
    figures["wall_seconds"] = round(time.monotonic() - began)
    harness.write("release_stalls", command=COMMAND, figures=figures, peers={})


if __name__ == "__main__":
    main()
