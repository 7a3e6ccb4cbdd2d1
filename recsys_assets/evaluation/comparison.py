"""Intervals by user: the bootstrap of one mean, and of the relative difference of two models on the same users.

Here: resampling. Not here: margins, or what a difference means for a release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import USER
from recsys_assets.records import Measurement

Floats = npt.NDArray[np.float64]
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Comparison:
    """How the challenger's mean differs from the reference's, relative to the reference's (0.1 = 10 % better).

    `low` and `high` are one-sided bounds, each at the same alpha. A reference of 0 makes the relative difference 0
    when both are 0, else infinite. `worse` counts the users for whom the challenger is below the reference.
    """

    metric: str
    challenger: float
    reference: float
    relative: float
    low: float
    high: float
    n: int
    worse: int

    def measurement(self, name: str) -> Measurement:
        """As a record; numbers that are not finite become None."""
        return Measurement(
            name=name,
            value=finite(self.relative),
            n=self.n,
            low=finite(self.low),
            high=finite(self.high),
            unit="relative",
        )


def finite(value: float) -> float | None:
    """The number, or None for one that JSON cannot carry."""
    return value if math.isfinite(value) else None


def compare(
    challenger: pl.DataFrame, reference: pl.DataFrame, metric: str, *, alpha: float, samples: int, seed: int = 0
) -> Comparison | None:
    """Compare the two models' rows user by user; None without users. Both must have scored exactly the same users.

    Users are resampled, not events: one user's events are not independent. Both models keep the same resample, so what
    makes a user easy or hard for both cancels out.
    """
    ours, theirs = challenger.sort(USER), reference.sort(USER)
    if not ours[USER].equals(theirs[USER]):
        raise ValueError("the two models were not scored on the same users")
    if ours.is_empty():
        return None
    a, b = ours[metric].to_numpy().astype(np.float64), theirs[metric].to_numpy().astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"{metric} is not finite for every user")
    means = _resampled_means(np.stack([a, b]), samples, seed)
    draws = _relative(means[0], means[1])
    return Comparison(
        metric=metric,
        challenger=float(a.mean()),
        reference=float(b.mean()),
        relative=float(_relative(a.mean(keepdims=True), b.mean(keepdims=True))[0]),
        low=_quantile(draws, alpha),
        high=_quantile(draws, 1 - alpha),
        n=len(a),
        worse=int((a < b).sum()),
    )


def mean_interval(rows: pl.DataFrame, metric: str, *, alpha: float, samples: int, seed: int = 0) -> Measurement:
    """The mean over users with a bound on each side at alpha; no value where there are no users."""
    values = rows[metric].to_numpy().astype(np.float64)
    if len(values) == 0:
        return Measurement(name=metric, value=None, n=0)
    draws = _resampled_means(values[np.newaxis, :], samples, seed)[0]
    return Measurement(
        name=metric,
        value=float(values.mean()),
        n=len(values),
        low=_quantile(draws, alpha),
        high=_quantile(draws, 1 - alpha),
    )


def _resampled_means(values: Floats, samples: int, seed: int) -> Floats:
    """Means of each row over `samples` resamples of the columns, in chunks that bound the memory."""
    rng = np.random.default_rng(seed)
    n = values.shape[1]
    chunk = max(1, _CELLS_AT_ONCE // n)
    parts = []
    for start in range(0, samples, chunk):
        picks = rng.integers(0, n, size=(min(chunk, samples - start), n), dtype=np.int32)
        parts.append(np.stack([row[picks].mean(axis=1) for row in values]))
    return np.concatenate(parts, axis=1)


def _relative(ours: Floats, theirs: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(theirs > 0, (ours - theirs) / theirs, np.where(ours > 0, np.inf, 0.0))


def _quantile(draws: Floats, at: float) -> float:
    """An observed draw, because interpolating between infinities is not a number."""
    return float(np.quantile(draws, at, method="inverted_cdf"))
