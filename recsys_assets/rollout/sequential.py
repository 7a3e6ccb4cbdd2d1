"""Anytime-valid statistics: bounds that may be looked at on every tick without raising the error rate.

Here: arithmetic on arrays and counts. Not here: frames, verdicts, clocks.

Sources, by function:
  [H21] Howard, Ramdas, McAuliffe, Sekhon: Time-uniform, nonparametric, nonasymptotic confidence sequences (2021).
  [W21] Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit theory and asymptotic confidence
        sequences (2021).
  [L22] Lindon, Malek: Anytime-valid inference for multinomial count data (2022).
  [R70] Robbins: Statistical methods related to the law of the iterated logarithm (1970).
  [M18] Li, Morgan, Zaslavsky: Balancing covariates via propensity score weighting (2018), the overlap weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ContrastPath:
    """Estimate and one-sided bounds of `mean(canary) - factor * mean(stable)` after each visitor, in outcome units.

    NaN where nothing is defined yet (an arm without visitors, or outcomes that do not vary).
    """

    estimate: Floats
    low: Floats
    high: Floats
    canary: NDArray[np.int64]
    stable: NDArray[np.int64]


def mixture_rho(planned: float, alpha: float) -> float:
    """The tuning of the normal mixture that makes it tightest near intrinsic time `planned` [H21, W21: tuning of rho].

    For a one-sided bound at `alpha` the optimum is that of a two-sided one at `2 alpha`.
    """
    spent = -2.0 * math.log(min(2.0 * alpha, 0.999))
    return planned / (spent + math.log1p(spent))


def mixture_boundary(time: Floats, rho: float, alpha: float) -> Floats:
    """What a standard random walk ever exceeds with probability <= alpha [H21, one-sided normal mixture; R70]."""
    ratio = (time + rho) / rho
    bound: Floats = np.sqrt(2.0 * (time + rho) * np.log1p(np.sqrt(ratio) / (2.0 * alpha)))
    return bound


@dataclass(frozen=True)
class Scores:
    """What each visitor adds to the contrast `mean(canary) - factor * mean(stable)`, in order of arrival.

    At a true contrast of c the sums of `score - weight * c` are a martingale. `stable_mean` is stable's mean over the
    visitors so far, weighted like the contrast.
    """

    score: Floats
    weight: Floats
    stable_mean: Floats
    canary: NDArray[np.int64]
    stable: NDArray[np.int64]


def contrast_scores(
    outcome: Floats,
    is_canary: NDArray[np.bool_],
    propensity: Floats,
    *,
    factor: float,
    expected: Floats | None = None,
) -> Scores:
    """The scores of `mean(canary) - factor * mean(stable)` [W21].

    Visitors stand in order of arrival. `propensity` is the canary's share in force when each arrived, strictly between
    0 and 1; it may change from step to step, which pooled arm means would not survive (Simpson). Each score is
    augmented (doubly robust) with the arms' running means *before* this visitor, so it stays a martingale difference,
    and weighted by p(1 - p) [M18], so that a visitor at a share of 1 % does not count a hundred times.
    `expected` is by how much this visitor's outcome is expected to differ from others', by what was known before the
    visitor came; whatever it says, the scores stay martingale differences, and what it gets right is no longer noise.

    Assumes: assignment independent of the visitor given the share (the gateway's salted hash does that), outcomes with
    a finite third moment (ours are bounded), variances that settle. Coverage is asymptotic: the caller sets a burn-in.
    """
    canary = is_canary.astype(np.float64)
    n_canary, mean_canary = _running(outcome, canary)
    n_stable, mean_stable = _running(outcome, 1.0 - canary)
    own = np.zeros_like(outcome) if expected is None else expected
    guess_canary = np.concatenate(([0.0], mean_canary[:-1])) + own
    guess_stable = np.concatenate(([0.0], mean_stable[:-1])) + own
    weight = propensity * (1.0 - propensity)
    score = weight * (guess_canary - factor * guess_stable)
    score += (1.0 - propensity) * canary * (outcome - guess_canary)
    score -= propensity * (1.0 - canary) * factor * (outcome - guess_stable)
    stands_for = propensity * (1.0 - canary)
    stable_mean = np.cumsum(stands_for * outcome) / np.maximum(np.cumsum(stands_for), 1e-12)
    return Scores(score, weight, stable_mean, n_canary, n_stable)


def contrast_path(scores: Scores, *, alpha: float, planned: float) -> ContrastPath:
    """Asymptotic confidence sequence of the contrast [W21].

    `planned` is the intrinsic time, the sum of p(1 - p), at which the bounds should be tightest; fixed beforehand.
    """
    time = np.cumsum(scores.weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.cumsum(scores.score) / time
        deviation = np.sqrt(variance_path(scores))
        half = deviation * mixture_boundary(time, mixture_rho(planned, alpha), alpha) / time
    undefined = (scores.canary < 2) | (scores.stable < 2) | ~(deviation > 0)
    estimate, half = np.where(undefined, np.nan, estimate), np.where(undefined, np.nan, half)
    return ContrastPath(estimate, estimate - half, estimate + half, scores.canary, scores.stable)


def variance_path(scores: Scores) -> Floats:
    """The scores' variance for each unit of intrinsic time, as estimated after each visitor.

    Sum of (score - weight * estimate)^2, expanded so that one pass gives it after every visitor.
    """
    score, weight = scores.score, scores.weight
    time = np.cumsum(weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.cumsum(score) / time
        spread = np.cumsum(score**2) - 2 * estimate * np.cumsum(score * weight) + estimate**2 * np.cumsum(weight**2)
        variance: Floats = np.maximum(spread, 0.0) / time
    return variance


def _running(outcome: Floats, member: Floats) -> tuple[NDArray[np.int64], Floats]:
    count = np.cumsum(member)
    mean = np.cumsum(outcome * member) / np.maximum(count, 1.0)
    return count.astype(np.int64), mean


def rate_bounds(events: float, n: float, alpha: float) -> tuple[float, float]:
    """Exact confidence sequence of a Bernoulli rate; each side, and both together, err with probability <= alpha.

    Robbins' beta mixture with Jeffreys' prior: the rates p at which the mixture's likelihood ratio
    B(s + 1/2, f + 1/2) / B(1/2, 1/2) / (p^s (1 - p)^f) stays below 1 / alpha [R70; Ville's inequality]. Holds for one
    event as for a million, so harm shows early. Assumes: each request fails with the same probability given the past;
    where requests of one user fail together, both counts are divided by the design effect first (relative_rates.py).
    """
    if not 0 <= events <= n:
        raise ValueError(f"{events} events of {n}")
    if n == 0:
        return 0.0, 1.0
    failures = n - events
    needed = _log_beta(events + 0.5, failures + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)

    def inside(p: float) -> bool:
        return events * math.log(p) + failures * math.log1p(-p) > needed

    peak = events / n
    return _edge(inside, 0.0, peak), _edge(inside, 1.0, peak)


def _edge(inside: Callable[[float], bool], outer: float, inner: float) -> float:
    """Bisect between a rate outside the set and one inside; ends on the outside, so the bound is never too tight.

    What is asked about lies strictly between the two, so its logarithm and that of its complement are defined.
    """
    for _ in range(60):
        middle = (outer + inner) / 2.0
        if middle in (outer, inner):
            break
        outer, inner = (outer, middle) if inside(middle) else (middle, inner)
    return outer


def difference_bounds(canary: tuple[float, float], stable: tuple[float, float], alpha: float) -> tuple[float, float]:
    """Bounds of rate(canary) - rate(stable) from (events, n) of each; either errs with probability <= alpha.

    Two exact sequences at alpha / 2 each, by the union bound: valid whatever the order and share of the two arms.
    """
    low_canary, high_canary = rate_bounds(*canary, alpha / 2)
    low_stable, high_stable = rate_bounds(*stable, alpha / 2)
    return low_canary - high_stable, high_canary - low_stable


def sample_ratio_evidence(counts: Sequence[tuple[int, int, float]], concentration: float = 1_000.0) -> float:
    """Log of the evidence (an e-value) against the planned split; reject for good when it reaches log(1 / alpha).

    `counts` holds (canary, stable, planned canary share) of each step. For each the Dirichlet-multinomial Bayes factor
    of [L22] with a prior centred on the plan; steps follow each other, so their martingales multiply.
    `concentration` is how close to the plan a mismatch is looked for: 1,000 finds a few percent.
    """
    evidence = 0.0
    for canary, stable, share in counts:
        a, b = concentration * share, concentration * (1.0 - share)
        evidence += _log_beta(a + canary, b + stable) - _log_beta(a, b)
        evidence -= canary * math.log(share) + stable * math.log1p(-share)
    return evidence


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
