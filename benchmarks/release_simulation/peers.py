"""Other rules for the same people: a threshold rule, Mann-Whitney, a fixed sample, and peeking at it.

Here: each rule as its documentation has it, in its simplest form; what it ends with. Not here: the product's rule.
Flagger: docs.flagger.app, canary analysis (interval, threshold, stepWeight, request-success-rate >= 99 %). Kayenta:
NetflixACAJudge (Mann-Whitney at 98 % on each metric's series, equal weights, marginal 75, pass 95).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from benchmarks.release_simulation.crowd import Crowd, Floats, Truth
from benchmarks.release_simulation.judged_alike import Population, Seen
from recsys_assets.records import AnalysisPlan
from recsys_assets.rollout.covariates import expected_from
from recsys_assets.rollout.noninferiority import boundaries, evidence_path
from recsys_assets.rollout.sequential import contrast_scores

End = Literal["promoted", "rolled_back", "undecided"]
FLAGGER_CHECK, FLAGGER_THRESHOLD, FLAGGER_STEPS = 100, 10, 10
FLAGGER_SUCCESS = 0.99
KAYENTA_POINT_SECONDS, KAYENTA_INTERVALS, KAYENTA_ALPHA = 60.0, 4, 0.02
KAYENTA_MARGINAL, KAYENTA_PASS = 75.0, 95.0


@dataclass(frozen=True)
class Judged:
    """The end by each rule, with the visitors it took where the rule counts visitors."""

    end: End
    visitors: int


def fixed_horizon(seen: Seen, population: Population, plan: AnalysisPlan) -> Judged:
    """One test at the planned sample. What is not shown by then is not promoted."""
    n = planned_sample(seen, population, plan)
    z = _z(seen, plan, np.array([n]))[0]
    end: End = "promoted" if z > NormalDist().inv_cdf(1 - plan.alpha) else "undecided"
    return Judged("rolled_back" if z < -NormalDist().inv_cdf(1 - plan.alpha) else end, n)


def naive_peeking(seen: Seen, population: Population, plan: AnalysisPlan, tick_seconds: float) -> Judged:
    """The same test at every tick up to that sample, as if each look were the only one."""
    n = planned_sample(seen, population, plan)
    ticks = np.arange(1, int(seen.matured_at[n - 1] / tick_seconds) + 1) * tick_seconds
    looks = np.searchsorted(seen.matured_at, ticks)
    canary = np.concatenate(([0], np.cumsum(seen.canary)))
    looks = looks[(canary[looks] >= plan.min_visitors_per_arm) & (looks <= n)]
    bar = NormalDist().inv_cdf(1 - plan.alpha)
    for look, z in zip(looks, _z(seen, plan, looks), strict=True):
        if abs(z) > bar:
            return Judged("promoted" if z > 0 else "rolled_back", int(look))
    return Judged("undecided", n)


def planned_sample(seen: Seen, population: Population, plan: AnalysisPlan) -> int:
    power = plan.power or 0.8
    return population.fixed_visitors(seen.share, margin=plan.margin, alpha=plan.alpha, power=power)


def _z(seen: Seen, plan: AnalysisPlan, looks: np.ndarray) -> Floats:
    scores = seen.scores(len(seen.outcome), factor=1 - plan.margin)
    total, square = np.cumsum(scores.score), np.cumsum(scores.score**2)
    z: Floats = total[looks - 1] / np.sqrt(square[looks - 1])
    return z


def flagger_like(seen: Seen, crowd: Crowd, truth: Truth, plan: AnalysisPlan) -> Judged:
    """Each check looks at the canary's next 100 requests: success rate, and clicks a request against stable's over the
    same time. A good check adds a step of weight; ten bad ones roll back."""
    at, weight, good, bad = 0, 0.05, 0, 0
    while good < FLAGGER_STEPS:
        hashes = crowd.hash[crowd.visitor[at:]]
        canary = np.flatnonzero(hashes < weight)[:FLAGGER_CHECK] + at
        if len(canary) < FLAGGER_CHECK:
            return Judged("undecided", 0)
        stable = np.arange(at, canary[-1] + 1)
        stable = stable[crowd.hash[crowd.visitor[stable]] >= weight]
        at = int(canary[-1]) + 1
        if _check_passes(seen, crowd, truth, plan, canary, stable):
            good, weight = good + 1, weight + 0.05
        else:
            bad += 1
        if bad >= FLAGGER_THRESHOLD:
            return Judged("rolled_back", 0)
    return Judged("promoted", 0)


def _check_passes(
    seen: Seen, crowd: Crowd, truth: Truth, plan: AnalysisPlan, canary: np.ndarray, stable: np.ndarray
) -> bool:
    failed = crowd.fails[canary] < crowd.error_rate[crowd.visitor[canary]] * truth.errors
    if 1 - failed.mean() < FLAGGER_SUCCESS:
        return False
    ours, theirs = seen.clicks_if_canary[canary].mean(), seen.clicks_if_stable[stable].mean()
    return bool(ours >= (1 - plan.margin) * theirs)


def kayenta_like(seen: Seen, population: Population, plan: AnalysisPlan) -> Judged:
    """Series of one point a minute: clicks a request, failures, latency; Mann-Whitney on each, four times."""
    n = planned_sample(seen, population, plan)
    end = float(seen.matured_at[n - 1])
    score = 100.0
    for interval in range(1, KAYENTA_INTERVALS + 1):
        upto = int(np.searchsorted(seen.at, end * interval / KAYENTA_INTERVALS))
        found = [
            _differs(seen, upto, seen.clicked.astype(float), worse=-1),
            _differs(seen, upto, seen.failed.astype(float), worse=1),
            _differs(seen, upto, seen.ms, worse=1),
        ]
        score = 100.0 * (1 - sum(found) / len(found))
        if score < KAYENTA_MARGINAL:
            return Judged("rolled_back", 0)
    return Judged("promoted" if score >= KAYENTA_PASS else "undecided", 0)


def _differs(seen: Seen, upto: int, values: Floats, *, worse: int) -> bool:
    from scipy.stats import mannwhitneyu

    minute = (seen.at[:upto] / KAYENTA_POINT_SECONDS).astype(int)
    series = []
    for arm in (seen.request_canary[:upto], ~seen.request_canary[:upto]):
        count = np.bincount(minute[arm], minlength=1)
        total = np.bincount(minute[arm], weights=values[:upto][arm], minlength=1)
        series.append(total[count > 0] / count[count > 0])
    if len(np.unique(np.concatenate(series))) < 2:
        return False
    test = mannwhitneyu(series[0], series[1], alternative="two-sided")
    return bool(test.pvalue < KAYENTA_ALPHA and worse * (series[0].mean() - series[1].mean()) > 0)


def after_every_visitor(seen: Seen, plan: AnalysisPlan, *, history: bool) -> Judged:
    """The product's own boundaries with neither ticks nor other verdicts, to compare with and without history."""
    known = (~np.isnan(seen.before)).astype(float)
    expected = expected_from(np.nan_to_num(seen.before), known, seen.outcome) if history else None
    scores = contrast_scores(seen.outcome, seen.canary, seen.share, factor=1 - plan.margin / 2, expected=expected)
    evidence, limits = evidence_path(scores, margin=plan.margin), boundaries(plan.alpha, plan.power)
    enough = np.minimum(scores.canary, scores.stable) >= plan.min_visitors_per_arm
    passes = enough & (seen.share == seen.share[-1]) & (evidence.log_ratio >= limits.upper)
    stops = enough & (evidence.log_ratio <= -(limits.lower or np.inf)) & (evidence.information >= limits.futile_from)
    crossed = np.flatnonzero(passes | stops)
    if not len(crossed):
        return Judged("undecided", len(enough))
    return Judged("promoted" if passes[crossed[0]] else "undecided", int(crossed[0]) + 1)
