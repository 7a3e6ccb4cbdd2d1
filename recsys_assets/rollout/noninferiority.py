"""The test that promotes: data at "no loss" against "a loss of the whole margin", looked at after every visitor.

Here: Wald's sequential probability ratio on the scores of sequential.py, its two boundaries, and where they were first
crossed. Not here: verdicts, frames. docs/statistics.md derives it and says what was measured.

Sources:
  [W45] Wald: Sequential tests of statistical hypotheses (1945).
  [B22] Bibaut, Kallus, Lindon: Near-optimal non-parametric sequential tests and confidence sequences with possibly
        dependent observations (2022); why an estimated variance does after a burn-in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from recsys_assets.rollout.sequential import Floats, Scores, variance_path

# The lower boundary is set for this share of 1 - power. The rest pays for what only holds in the limit: with estimated
# means and variances of skewed outcomes some more releases than Wald's formula says are stopped.
SPENT_ON_FUTILITY: Final = 0.75
# Nothing is called futile before this share of the fixed sample's information: what is grossly worse is shown to be so
# by then, and gets the name that it deserves.
FUTILE_FROM: Final = 0.2


@dataclass(frozen=True)
class Evidence:
    """After each visitor: the log likelihood ratio of no loss against a loss of the margin, and the information.

    Information is the squared effect of the margin over its variance, so that the ratio's drift is half of it.
    """

    log_ratio: Floats
    information: Floats


@dataclass(frozen=True)
class Boundaries:
    """PASS at or above `upper`; futile at or below -`lower`, from `futile_from` information on; None is never."""

    upper: float
    lower: float | None
    futile_from: float


def evidence_path(scores: Scores, *, margin: float) -> Evidence:
    """Wald's ratio after each visitor, for scores with factor 1 - margin / 2, half-way between the two truths.

    At no loss their contrast is margin * mean(stable) / 2, at a loss of the margin minus that, so that the ratio drifts
    up or down alike. Mean and variance are those estimated so far: each point is what a look then would have seen.
    """
    time = np.cumsum(scores.weight)
    effect = margin * scores.stable_mean
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = variance_path(scores)
        log_ratio = effect * np.cumsum(scores.score) / variance
        information = effect**2 * time / variance
    defined = (scores.canary >= 2) & (scores.stable >= 2) & (variance > 0)
    return Evidence(np.where(defined, log_ratio, 0.0), np.where(defined, information, 0.0))


def boundaries(alpha: float, power: float | None) -> Boundaries:
    """Where to stop [W45].

    At the margin the ratio is a martingale that starts at 1, so it ever reaches 1 / alpha with probability <= alpha,
    whether or not anybody stops for futility [Ville's inequality]. The lower boundary makes a truth of no loss reach
    the upper one first with probability `power`: there the inverse of the ratio is such a martingale.
    """
    if power is None:
        return Boundaries(-math.log(alpha), None, math.inf)
    missed = SPENT_ON_FUTILITY * (1.0 - power)
    lower = math.log((1.0 - (1.0 - missed) * alpha) / missed)
    return Boundaries(-math.log(alpha), lower, FUTILE_FROM * fixed_information(alpha, power))


def fixed_information(alpha: float, power: float) -> float:
    """The information that a test of one fixed sample needs: (z of alpha + z of power) squared."""
    normal = NormalDist()
    return (normal.inv_cdf(1.0 - alpha) + normal.inv_cdf(power)) ** 2


def standing(evidence: Evidence, seen: NDArray[np.bool_], limits: Boundaries) -> Literal["pass", "futile", "open"]:
    """Which boundary was crossed first, over the visitors where `seen` says that enough had come.

    A crossing stands: what a look would have seen then does not depend on when somebody looked. But evidence that has
    turned since, so that the data now speak for the margin, is open again, or futile where it turned that far.
    """
    ratio = evidence.log_ratio
    above = seen & (ratio >= limits.upper)
    below = np.zeros_like(above)
    if limits.lower is not None:
        below = seen & (ratio <= -limits.lower) & (evidence.information >= limits.futile_from)
    passed = int(above.argmax()) if above.any() else len(ratio)
    futile = int(below.argmax()) if below.any() else len(ratio)
    if futile < passed or bool(below[-1:].any()):
        return "futile"
    if passed < len(ratio) and ratio[-1] >= 0.0:
        return "pass"
    return "open"
