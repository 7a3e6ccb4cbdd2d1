"""Numbers about scored rows: NDCG of each user's candidates and the AUC of a single feature.

Here: measuring. Not here: what is good enough (probes.py), or full-catalogue evaluation (the evaluation room).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import USER
from recsys_assets.training.cuts import CUT, LABEL

Scores = npt.NDArray[np.float64]
GROUP = (USER, CUT)


def some_lists(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """Whole lists of evenly spread users, about `most` rows in all; everything where there is no more than that."""
    if rows.height <= most:
        return rows
    users = rows.select(USER).unique().sort(USER).gather_every(-(-rows.height // most))
    return rows.join(users, on=USER, how="semi", maintain_order="left")


def ndcg_at(rows: pl.DataFrame, scores: Scores, *, k: int = 10) -> float | None:
    """Mean NDCG@k over users and cuts that have a positive among their candidates; None where there is none."""
    gain = (pl.col(LABEL) > 0).cast(pl.Float64)
    ranked = (
        rows.select(*GROUP, LABEL)
        .with_columns(pl.Series("score", scores), gain.alias("gain"))
        .with_columns(pl.col("score").rank("ordinal", descending=True).over(GROUP).alias("rank"))
        .with_columns(pl.col("gain").sum().over(GROUP).alias("positives"))
        .filter(pl.col("positives") > 0)
    )
    if ranked.is_empty():
        return None
    top = ranked.filter(pl.col("rank") <= k)
    got = (pl.col("gain") / (pl.col("rank") + 1).log(2)).sum().alias("dcg")
    users = top.group_by(GROUP, maintain_order=True).agg(got, pl.col("positives").first())
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    best = ideal[np.minimum(users["positives"].to_numpy().astype(int), k) - 1]
    return float(np.mean(users["dcg"].to_numpy() / best))


def single_feature_aucs(rows: pl.DataFrame, features: list[str]) -> dict[str, float]:
    """How well each feature alone, in its better direction, tells positives from the rest; ties count half.

    0.5 is no information, 1.0 is a copy of the label. Empty where the rows are of one class.
    """
    positive = rows[LABEL] > 0
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return {}
    aucs = {}
    for name in features:  # one at a time: the ranks of all features take twice the memory of the rows
        rank = rows.select(pl.col(name).cast(pl.Float64).fill_nan(None).fill_null(-np.inf).rank()).to_series()
        aucs[name] = (float(rank.filter(positive).sum()) - hits * (hits + 1) / 2) / (hits * misses)
    return {name: max(auc, 1 - auc) for name, auc in aucs.items()}


def constant_share(rows: pl.DataFrame, scores: Scores) -> float:
    """The share of candidate lists, of two or more items, whose scores are all the same."""
    lists = (
        rows.select(*GROUP)
        .with_columns(pl.Series("score", scores))
        .group_by(GROUP)
        .agg(pl.len().alias("n"), (pl.col("score").max() == pl.col("score").min()).alias("flat"))
        .filter(pl.col("n") > 1)
    )
    return 1.0 if lists.is_empty() else float(lists["flat"].cast(pl.Float64).sum() / lists.height)
