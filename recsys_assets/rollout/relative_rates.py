"""Is the canary's rate of failures more than so many times stable's: anytime-valid, and with users as the unit.

Here: arithmetic on counts. Not here: frames, verdicts.

Sources:
  [L22] Lindon, Malek: Anytime-valid inference for multinomial count data (2022): given that something failed, which arm
        it was in is a draw with known odds, whatever the rate is and however it moves.
  [K65] Kish: Survey sampling (1965), the design effect of clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

# How many times the limit a ratio is looked for at: slightly worse, up to failing always.
ALTERNATIVES: Final = (1.5, 2.5, 5.0, 20.0)

# (failures, requests) of one arm.
Counts = tuple[float, float]


def ratio_evidence(steps: Sequence[tuple[Counts, Counts]], *, limit: float, design: float = 1.0) -> float:
    """Log of the evidence (an e-value) that rate(canary) > limit * rate(stable); shown once it reaches log(1 / alpha).

    `steps` holds (canary, stable) of each share in force. Given a failure, it is the canary's with probability
    r n / (r n + m) where r is the ratio of the rates and n, m the requests of the arms. The evidence is the mean over
    ALTERNATIVES of the likelihood ratio against r = limit; steps follow each other, so their logs add up. Any r below
    the limit gives less [L22]. Failures that come `design` times as clustered as single ones count for 1 / design.
    """
    logs = np.zeros(len(ALTERNATIVES))
    for (failed, n), (failed_stable, m) in steps:
        if not n or not m:
            continue
        for i, times in enumerate(ALTERNATIVES):
            odds, null = limit * times * n / m, limit * n / m
            logs[i] += failed * math.log(times) - (failed + failed_stable) * math.log((1.0 + odds) / (1.0 + null))
    logs /= design
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def design_effect(failures: NDArray[np.float64], requests: NDArray[np.float64], arm: NDArray[np.bool_]) -> float:
    """How many times the variance of the rates is what it would be if a user's requests failed independently [K65].

    One row for each user and arm. Never below 1: independent requests keep their exact bounds.
    """
    clustered = independent = 0.0
    for of in (arm, ~arm):
        failed, n = failures[of], requests[of]
        if not n.sum():
            continue
        rate = float(failed.sum() / n.sum())
        clustered += float(((failed - rate * n) ** 2).sum())
        independent += float(n.sum()) * rate * (1.0 - rate)
    return max(1.0, clustered / independent) if independent else 1.0
