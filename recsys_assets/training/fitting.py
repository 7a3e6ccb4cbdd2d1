"""One recipe, fitted as often as asked: the holdout and the release model differ in their rows and in nothing else.

Here: fitting, scoring and looking into boosters. Not here: which rows, which parameters, or what becomes of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import USER
from recsys_assets.recommender.ranker import feature_columns, fit_ranker
from recsys_assets.training.cuts import CUT, LABEL
from recsys_assets.training.quality import Scores, ndcg_at
from recsys_assets.training.search_space import Value

if TYPE_CHECKING:
    from lightgbm import Booster

# One thread for each fit: with more threads than free cores LightGBM's threads wait for each other in a busy loop,
# which made a fit on two busy cores five times slower. 63 bins instead of 255 cost no NDCG here and save a third.
MACHINE: Mapping[str, Value] = {"num_threads": 1, "max_bin": 63}


@dataclass(frozen=True)
class Recipe:
    """`params` are names of the search space; `seeds` boosters are averaged. `corrupt_labels` is a drill.

    A booster learns from all positives and, of each list, at most `negatives` other rows, drawn anew for every seed.
    """

    params: dict[str, Value]
    seed: int
    seeds: int = 1
    negatives: int | None = None
    corrupt_labels: bool = False

    def fit(self, rows: pl.DataFrame) -> list[Booster]:
        """The boosters for these rows."""
        params = {**MACHINE} | {name: value for name, value in self.params.items() if name != "num_boost_round"}
        rounds = int(self.params["num_boost_round"])
        learned = shuffled_labels(rows, self.seed) if self.corrupt_labels else rows
        return [
            fit_ranker(thinned(learned, self.negatives, seed), params=params, num_boost_round=rounds, seed=seed)
            for seed in range(self.seed, self.seed + self.seeds)
        ]

    def fit_all(self, parts: Mapping[str, pl.DataFrame]) -> dict[str, list[Booster]]:
        """One fit for each part, side by side: LightGBM works outside the interpreter's lock."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            return dict(zip(parts, pool.map(self.fit, parts.values()), strict=True))


def thinned(rows: pl.DataFrame, negatives: int | None, seed: int) -> pl.DataFrame:
    """The positives, and of each list a random `negatives` of the other rows; everything for None."""
    if negatives is None or rows.is_empty():
        return rows
    drawn = pl.Series("_drawn", np.random.default_rng(seed).random(rows.height))
    place = pl.col("_drawn").rank("ordinal").over(CUT, USER, pl.col(LABEL) > 0)
    kept = rows.select(USER, CUT, LABEL, drawn).select((pl.col(LABEL) > 0) | (place <= negatives)).to_series()
    return rows.filter(kept)


def shuffled_labels(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The drill of a broken label join: as many positives as before, on the wrong rows."""
    return rows.with_columns(pl.col(LABEL).shuffle(seed=seed))


def predict(boosters: Sequence[Booster], rows: pl.DataFrame) -> Scores:
    """Mean score of the boosters, as a served recommender computes it."""
    return _score(boosters, _block(rows), start=0, rounds=-1)


def training_curve(boosters: Sequence[Booster], rows: pl.DataFrame, *, points: int = 12) -> list[tuple[int, float]]:
    """(rounds, NDCG@10) on rows that the boosters have not seen; empty where no list has a positive."""
    if rows.is_empty():
        return []
    last = max(b.current_iteration() for b in boosters)
    curve, block, scores, done = [], _block(rows), np.zeros(rows.height), 0
    for step in sorted({max(1, round(last * (n + 1) / points)) for n in range(points)}):
        scores = scores + _score(boosters, block, start=done, rounds=step - done)
        done = step
        if (value := ndcg_at(rows, scores)) is not None:
            curve.append((step, value))
    return curve


def _block(rows: pl.DataFrame) -> npt.NDArray[np.float32]:
    return rows.select(feature_columns(rows)).to_numpy().astype(np.float32, copy=False)


def _score(boosters: Sequence[Booster], block: npt.NDArray[np.float32], *, start: int, rounds: int) -> Scores:
    if not len(block):
        return np.zeros(0)
    scores = [b.predict(block, start_iteration=start, num_iteration=rounds, num_threads=1) for b in boosters]
    mean: Scores = np.mean(scores, axis=0)
    return mean


def importances(boosters: Sequence[Booster]) -> dict[str, float]:
    """Share of the total gain by feature, largest first."""
    gains = np.sum([b.feature_importance("gain") for b in boosters], axis=0)
    shares = gains / max(float(gains.sum()), 1e-12)
    named = zip(boosters[0].feature_name(), shares.tolist(), strict=True)
    return dict(sorted(named, key=lambda pair: -pair[1]))
