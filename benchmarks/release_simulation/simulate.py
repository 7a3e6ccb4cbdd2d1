"""One release of one scenario: the product's way, and the other rules on the same people.

Here: the scenarios and the work of one process. Not here: counting (figures.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.release_simulation import peers
from benchmarks.release_simulation.crowd import Crowd, Traffic, Truth, draw
from benchmarks.release_simulation.figures import Result
from benchmarks.release_simulation.judged_alike import Population, see, share_at
from benchmarks.release_simulation.release import PLAN, Ended, run
from recsys_assets.records import AnalysisPlan

# Name: the truth, and how many releases at full size. The margin is the plan's.
SCENARIOS: Final = {
    "at_margin": (Truth(loss=PLAN.margin), 2_000),
    "aa": (Truth(), 1_000),
    "2x_margin": (Truth(loss=2 * PLAN.margin), 300),
    "4x_margin": (Truth(loss=4 * PLAN.margin), 300),
    "3x_errors": (Truth(errors=3.0), 500),
}


@dataclass(frozen=True)
class Job:
    """One release to simulate."""

    name: str
    truth: Truth
    seed: int
    people: Population
    tick_seconds: float
    plan: AnalysisPlan = PLAN


def simulate(job: Job) -> tuple[str, Result]:
    """The same seed gives the same people, whatever the truth is about the canary."""
    crowd = draw(Traffic(), np.random.default_rng(job.seed))
    ended = run(crowd, job.truth, tick_seconds=job.tick_seconds, plan=job.plan)
    fixed, fixed_arrived = _fixed(crowd, ended, job)
    arrived = int(np.searchsorted(crowd.first_at, ended.seconds))
    return job.name, Result(ended, fixed, fixed_arrived, arrived, _peers(crowd, job))


def _fixed(crowd: Crowd, ended: Ended, job: Job) -> tuple[int, int]:
    """The fixed sample under this release's own ramp, its last share kept on; and who had come when it matured."""
    ramp = tuple((since, share) for since, share in ended.weights if 0 < share < 1)
    shares = share_at(crowd.first_at, ramp)
    plan = job.plan
    n = job.people.fixed_visitors(shares, margin=plan.margin, alpha=plan.alpha, power=plan.power or 0.8)
    n = min(n, len(shares))
    matured = crowd.first_at[n - 1] + plan.attribution_seconds
    return n, int(np.searchsorted(crowd.first_at, matured))


def _peers(crowd: Crowd, job: Job) -> dict[str, peers.Judged]:
    seen = see(crowd, job.truth)
    return {
        "flagger_like": peers.flagger_like(seen, crowd, job.truth, job.plan),
        "kayenta_like": peers.kayenta_like(seen, job.people, job.plan),
        "fixed_horizon": peers.fixed_horizon(seen, job.people, job.plan),
        "naive_peeking": peers.naive_peeking(seen, job.people, job.plan, job.tick_seconds),
        "every_visitor_with_history": peers.after_every_visitor(seen, job.plan, history=True),
        "every_visitor_without_history": peers.after_every_visitor(seen, job.plan, history=False),
    }
