"""How far the newest rows lie from the rows before them: one effect size for each feature, in event time.

Here: distances and the verdict over them. Not here: tables, reports, or what follows from a drift. No p values: with
enough rows every difference is significant, so each distance has taken off what chance alone shows at these row counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from recsys_assets.records import Outcome

Floats = npt.NDArray[np.float64]
Kind = Literal["number", "category"]

MIN_ROWS = 30
_MOST_ROWS = 20_000
_SHUFFLES = 20
_SEED = 7


class Shift(BaseModel):
    """One feature. `distance` decides; `raw` is the same before chance was taken off; `psi` stands beside it.

    Distance is the Wasserstein distance in units of the reference's standard deviation for a number, and the
    Jensen-Shannon distance (0 to 1) for a category. None where either window has too few rows to say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    kind: Kind
    n_reference: int
    n_current: int
    distance: float | None
    raw: float | None = None
    psi: float | None = None


class DriftReport(BaseModel):
    """What was compared, and by how much it moved. Windows are half-open and in event time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: datetime
    reference_from: datetime
    reference_to: datetime
    current_from: datetime
    champion_version: str | None
    champion_as_of: datetime | None
    shifts: tuple[Shift, ...]
    max_distance: float
    max_drifted_share: float

    @property
    def compared(self) -> list[Shift]:
        """Features with enough rows on both sides."""
        return [s for s in self.shifts if s.distance is not None]

    @property
    def drifted(self) -> list[Shift]:
        """Features beyond the distance, farthest first."""
        beyond = [(s.distance, s) for s in self.compared if s.distance is not None and s.distance > self.max_distance]
        return [shift for _, shift in sorted(beyond, key=lambda pair: (-pair[0], pair[1].feature))]

    @property
    def drifted_share(self) -> float | None:
        """The share of the compared features that drifted; None when none could be compared."""
        return len(self.drifted) / len(self.compared) if self.compared else None

    @property
    def outcome(self) -> Outcome:
        """FAIL: the data drifted. Without a single comparable feature nothing is known."""
        if self.drifted_share is None:
            return Outcome.INCONCLUSIVE
        return Outcome.FAIL if self.drifted_share >= self.max_drifted_share else Outcome.PASS

    @property
    def reason(self) -> str:
        """By how much, and which features moved most."""
        if self.drifted_share is None:
            return f"none of {len(self.shifts)} features has {MIN_ROWS} rows in both windows"
        worst = ", ".join(f"{s.feature} {s.distance:.2f}" for s in self.drifted[:5]) or "none"
        return (
            f"{len(self.drifted)} of {len(self.compared)} features ({self.drifted_share:.0%}, limit "
            f"{self.max_drifted_share:.0%}) moved by more than {self.max_distance}: {worst}"
        )


def shifts(reference: pl.DataFrame, current: pl.DataFrame, *, prefix: str, features: Sequence[str]) -> list[Shift]:
    """The shift of each feature; booleans and strings are categories, all other columns numbers."""
    found = []
    for name in features:
        before, after = _kept(reference[name]), _kept(current[name])
        kind: Kind = "number" if reference.schema[name].is_numeric() else "category"
        found.append(_shift(f"{prefix}.{name}", kind, before, after))
    return found


def _shift(feature: str, kind: Kind, before: pl.Series, after: pl.Series) -> Shift:
    rows = {"n_reference": len(before), "n_current": len(after)}
    if min(len(before), len(after)) < MIN_ROWS:
        return Shift(feature=feature, kind=kind, distance=None, **rows)
    rng = np.random.default_rng(_SEED)
    a, b = _codes(before, after) if kind == "category" else (_numbers(before), _numbers(after))
    a, b = _at_most(a, rng), _at_most(b, rng)
    measure = jensen_shannon if kind == "category" else wasserstein_normed
    raw = measure(a, b)
    shares = _category_shares(a, b) if kind == "category" else _binned_shares(a, b)
    return Shift(
        feature=feature,
        kind=kind,
        raw=raw,
        distance=max(0.0, raw - _by_chance(a, b, measure, rng)),
        psi=population_stability(*shares),
        **rows,
    )


def wasserstein_normed(reference: Floats, current: Floats) -> float:
    """Area between the two distribution functions, in standard deviations of the reference.

    Where the reference is constant the spread of both together is the unit; two equal constants are 0 apart.
    """
    scale = float(reference.std()) or float(np.concatenate([reference, current]).std())
    if scale == 0:
        return 0.0
    points = np.sort(np.concatenate([reference, current]))
    below_a = np.searchsorted(np.sort(reference), points[:-1], side="right") / len(reference)
    below_b = np.searchsorted(np.sort(current), points[:-1], side="right") / len(current)
    return float(np.sum(np.abs(below_a - below_b) * np.diff(points))) / scale


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Square root of the Jensen-Shannon divergence in bits, over category codes: 0 equal, 1 disjoint."""
    p, q = _category_shares(reference, current)
    middle = (p + q) / 2
    return math.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def population_stability(reference: Floats, current: Floats) -> float:
    """PSI of two vectors of shares; an empty bin counts as 0.01 %, so that the number stays finite."""
    p, q = np.maximum(reference, 1e-4), np.maximum(current, 1e-4)
    return float(np.sum((q - p) * np.log(q / p)))


def _by_chance(a: Floats, b: Floats, measure: Callable[[Floats, Floats], float], rng: np.random.Generator) -> float:
    """The mean distance when the rows of both windows are dealt out at random: what these row counts show anyway."""
    both, cut = np.concatenate([a, b]), len(a)
    dealt = (rng.permutation(both) for _ in range(_SHUFFLES))
    return float(np.mean([measure(rows[:cut], rows[cut:]) for rows in dealt]))


def _kept(column: pl.Series) -> pl.Series:
    kept = column.drop_nulls()
    return kept.drop_nans() if kept.dtype.is_float() else kept


def _numbers(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).to_numpy()


def _codes(before: pl.Series, after: pl.Series) -> tuple[Floats, Floats]:
    names = pl.concat([before, after]).cast(pl.String)
    codes = names.rank("dense").cast(pl.Float64).to_numpy() - 1
    return codes[: len(before)], codes[len(before) :]


def _at_most(rows: Floats, rng: np.random.Generator) -> Floats:
    return rows if len(rows) <= _MOST_ROWS else rng.choice(rows, size=_MOST_ROWS, replace=False)


def _category_shares(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    size = int(max(a.max(), b.max())) + 1
    return (
        np.bincount(a.astype(np.int64), minlength=size) / len(a),
        np.bincount(b.astype(np.int64), minlength=size) / len(b),
    )


def _binned_shares(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Shares in the reference's tenths; a repeated edge makes fewer bins."""
    edges = np.unique(np.quantile(a, np.linspace(0.1, 0.9, 9)))
    size = len(edges) + 1
    return (
        np.bincount(np.searchsorted(edges, a, side="left"), minlength=size) / len(a),
        np.bincount(np.searchsorted(edges, b, side="left"), minlength=size) / len(b),
    )


def _divergence(p: Floats, q: Floats) -> float:
    inside = p > 0
    return float(np.sum(p[inside] * np.log2(p[inside] / q[inside])))
