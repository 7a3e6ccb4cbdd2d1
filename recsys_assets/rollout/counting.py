"""Was it counted right: do visitors arrive at the planned shares, and do the servers' logs agree with the gateway's.

Here: verdicts on the routing and the logs, never on the model. Not here: what the outcomes say (analysis.py).
"""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.rollout.evidence import BURN_IN, COUNTED, RATIO, unreadable, verdict
from recsys_assets.rollout.outcomes import ALL_BP, Logs, Scope, with_weight
from recsys_assets.rollout.sequential import sample_ratio_evidence

# A wrong alarm stops a good release, and nothing is harmed meanwhile: rarer than the plan's alpha.
SAMPLE_RATIO_ALPHA: Final = 0.005
MAX_UNCOUNTED_SHARE: Final = 0.01


def sample_ratio(logs: Logs, scope: Scope) -> Verdict:
    """Do visitors arrive in the arms at the planned shares? A mismatch is INCONCLUSIVE: nothing else can be trusted.

    Each visitor counts once, at the first request since the canary began, failed or not, as the gateway saw it.
    """
    if why := unreadable(logs, scope):
        return verdict(RATIO, scope, Outcome.INCONCLUSIVE, why)
    counts = _arrivals(logs, scope)
    total = sum(canary + stable for canary, stable, _ in counts)
    evidence = sample_ratio_evidence(counts)
    limit = -math.log(SAMPLE_RATIO_ALPHA)
    steps = ", ".join(f"{c} of {c + s} at a planned {share:.0%}" for c, s, share in counts)
    number = Measurement(name="sample_ratio_log_evidence", value=evidence, n=total, high=limit)
    if total < BURN_IN:
        return verdict(RATIO, scope, Outcome.INCONCLUSIVE, f"only {total} visitors so far", number)
    if evidence >= limit:
        why = f"visitors do not arrive as planned ({steps}): the routing or its counting is broken"
        return verdict(RATIO, scope, Outcome.INCONCLUSIVE, why, number)
    return verdict(RATIO, scope, Outcome.PASS, f"canary got {steps}", number)


def _arrivals(logs: Logs, scope: Scope) -> list[tuple[int, int, float]]:
    assert logs.gateway is not None
    first = (
        logs.gateway.filter(
            pl.col("variant").is_in(["stable", "canary"])
            & pl.col("visitor_id").is_not_null()
            & (pl.col("served_at") >= scope.start)
            & (pl.col("served_at") <= scope.visible_until)
        )
        .sort("served_at")
        .group_by("visitor_id", maintain_order=True)
        .first()
    )
    settled = with_weight(first.sort("served_at"), scope.weights, at="served_at").filter(
        (pl.col("served_at") >= pl.col("settled")) & pl.col("weight_bp").is_between(0, ALL_BP, closed="none")
    )
    by_step = settled.group_by("weight_bp", maintain_order=True).agg(
        canary=(pl.col("variant") == "canary").sum(), stable=(pl.col("variant") == "stable").sum()
    )
    return [(int(r["canary"]), int(r["stable"]), r["weight_bp"] / ALL_BP) for r in by_step.iter_rows(named=True)]


def counted(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Do the model servers' exposures agree with what the gateway served, answer by answer?

    An answer that the gateway served and no server logged is lost to the analysis; an exposure that the gateway never
    served is only declared. More than 1 % of either is INCONCLUSIVE: the logs are broken, whatever the model is.
    """
    if why := unreadable(logs, scope, "exposures"):
        return verdict(COUNTED, scope, Outcome.INCONCLUSIVE, why)
    assert logs.exposures is not None
    assert logs.gateway is not None
    served = requests.filter(pl.col("status") == 200)
    shown = logs.exposures.filter(
        pl.col("variant").is_in(["stable", "canary"])
        & (pl.col("served_at") >= scope.start)
        & (pl.col("served_at") <= scope.visible_until)
    )
    lost = served.join(logs.exposures, on="request_id", how="anti").height
    declared = shown.join(logs.gateway.filter(pl.col("status") == 200), on="request_id", how="anti").height
    if served.is_empty() or shown.is_empty():
        why = f"gateway served {served.height} answers, servers logged {shown.height}"
        return verdict(COUNTED, scope, Outcome.INCONCLUSIVE, why)
    shares = (lost / served.height, declared / shown.height)
    numbers = (
        Measurement(name="served_but_not_logged", value=shares[0], n=served.height, unit="share"),
        Measurement(name="logged_but_not_served", value=shares[1], n=shown.height, unit="share"),
    )
    said = (
        f"{lost} of {served.height} served answers are not logged, {declared} of {shown.height} logged were not served"
    )
    outcome = Outcome.PASS if max(shares) <= MAX_UNCOUNTED_SHARE else Outcome.INCONCLUSIVE
    return verdict(COUNTED, scope, outcome, said, *numbers)
