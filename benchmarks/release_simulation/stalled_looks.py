"""Thousands of equal models beside stalls: what the gateway's guardrails alone say at each look.

Here: one crowd at fixed steps, judged by the product's own `guard_verdicts` after each stall of the canary and at the
end, until the weight is taken. Not here: quality, ticks, route and ledger (release.py plays all of that, some times
slower); what is drawn (crowd.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

import numpy as np
import polars as pl

from benchmarks.release_simulation.crowd import Crowd, Traffic, Truth, draw, texts
from benchmarks.release_simulation.release import PLAN
from benchmarks.release_simulation.source import CANARY, STABLE, T0, moment
from recsys_assets.columns import GATEWAY_REQUESTS
from recsys_assets.records import Outcome
from recsys_assets.rollout.guardrails import guard_verdicts
from recsys_assets.rollout.outcomes import Logs, Scope, WeightSince, gateway_requests

SECONDS: Final = 3_000.0
# As releases take their steps in the whole simulation, on average.
STEPS: Final = ((0.0, 1_000), (700.0, 2_500), (1_200.0, 5_000))
Said = Literal["kept", "episode", "denied"]


def look_at(seed: int, *, stalls: float, truth: Truth) -> Said:
    """What becomes of this crowd's canary: its weight kept, taken for an episode, or taken and its digest denied."""
    crowd = draw(Traffic(seconds=SECONDS, stalls=stalls), np.random.default_rng(seed))
    gateway = _gateway(crowd, truth)
    weights = tuple(WeightSince(moment(at), bp) for at, bp in STEPS)
    for now in _looks(crowd):
        rows = gateway.filter(pl.col("served_at") <= moment(now))
        logs = Logs(exposures=None, feedback=None, gateway=rows)
        scope = Scope(CANARY, STABLE, PLAN, weights, 10, moment(now))
        failed = [v for v in guard_verdicts(logs, scope, gateway_requests(logs, scope)) if v.outcome is Outcome.FAIL]
        if failed:
            return "denied" if any(v.episode is None for v in failed) else "episode"
    return "kept"


def _looks(crowd: Crowd) -> list[float]:
    """Five seconds after each stall of the canary's machine, and every ten minutes."""
    stalled = crowd.at[crowd.canary_stalls]
    gaps = np.flatnonzero(np.diff(stalled) > 5.0)
    ends = [float(stalled[i]) for i in (*gaps, len(stalled) - 1)] if len(stalled) else []
    return sorted([*(end + 5.0 for end in ends), *np.arange(600.0, SECONDS + 1.0, 600.0).tolist()])


def _gateway(crowd: Crowd, truth: Truth) -> pl.DataFrame:
    everything = slice(0, len(crowd.at))
    since = np.array([at for at, _ in STEPS])
    shares = np.array([bp for _, bp in STEPS]) / 10_000
    share = shares[np.clip(np.searchsorted(since, crowd.at, side="right") - 1, 0, None)]
    canary = crowd.hash[crowd.visitor] < share
    failed, timed_out = crowd.failed(canary, everything, truth), crowd.timed_out(canary, everything)
    visitors, requests = texts(crowd)
    version = np.where(canary, CANARY, STABLE)
    start = np.datetime64(T0.replace(tzinfo=None), "us")
    frame = pl.DataFrame(
        {
            "request_id": requests,
            "served_at": pl.Series(start + (crowd.at * 1e6).astype("timedelta64[us]")).dt.replace_time_zone("UTC"),
            "visitor_id": visitors.gather(crowd.visitor),
            "variant": np.where(canary, "canary", "stable"),
            "cluster": version,
            "status": np.where(timed_out, 504, np.where(failed, 503, 200)),
            "duration_ms": crowd.ms,
            "model_version": version,
            "rung": np.full(len(version), "full"),
        }
    )
    answered = pl.Series(~failed)
    frame = frame.with_columns(pl.when(answered).then(pl.col("model_version", "rung")))
    rows: pl.DataFrame = frame.filter(pl.col("served_at") <= T0 + timedelta(seconds=SECONDS))
    return rows.select(GATEWAY_REQUESTS.names()).cast(dict(GATEWAY_REQUESTS))
