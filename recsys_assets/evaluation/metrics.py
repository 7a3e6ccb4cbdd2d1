"""Ranking metrics over frames: rankings (user_id, item_id, rank from 1) against truth (user_id, item_id).

Here: one number for each user, and the few that exist only for all users together. Not here: intervals or verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from recsys_assets.columns import ITEM, USER

RANK = "rank"
PER_USER = ("ndcg", "recall", "hit_rate", "mrr", "popularity_share", "novelty")
RANKINGS = pl.Schema({USER: pl.String, ITEM: pl.String, RANK: pl.Int64})


def metric_names(k: int = 10) -> tuple[str, ...]:
    """The metric columns of `per_user`; without an @, which MLflow refuses."""
    return tuple(f"{name}_at_{k}" for name in PER_USER)


def rankings_frame(lists: Mapping[str, Sequence[str]], *, k: int = 10) -> pl.DataFrame:
    """The first k items of each user's list, one row each; a list that names an item twice is refused."""
    rows = [(user, item, at) for user, items in lists.items() for at, item in enumerate(items[:k], start=1)]
    frame = pl.DataFrame(rows, schema=RANKINGS, orient="row")
    if frame.select(USER, ITEM).is_duplicated().any():
        twice = frame.filter(frame.select(USER, ITEM).is_duplicated()).row(0)
        raise ValueError(f"the list of user {twice[0]} names item {twice[1]} more than once")
    return frame


@dataclass(frozen=True)
class Popularity:
    """How well known each item was before the test: its share of all events, and its surprise in bits.

    `frame` has item_id, share, bits. An item without an event has share 0 and `unseen_bits`, the largest surprise.
    """

    frame: pl.DataFrame
    unseen_bits: float

    @classmethod
    def of(cls, events: pl.DataFrame) -> Popularity:
        """Count the events before the test. One is added to each count: an unseen item has a finite surprise."""
        total = events.height
        counts = events.group_by(ITEM).len("count").sort(ITEM)
        frame = counts.select(
            ITEM,
            (pl.col("count") / max(total, 1)).alias("share"),
            (-((pl.col("count") + 1) / (total + 1)).log(2)).alias("bits"),
        )
        return cls(frame, math.log2(total + 1))

    def head(self, fraction: float = 0.2) -> pl.Series:
        """The most popular `fraction` of the items seen before the test; everything else is the long tail."""
        wanted = math.ceil(self.frame.height * fraction)
        return self.frame.sort(["share", ITEM], descending=[True, False]).head(wanted)[ITEM]


def per_user(rankings: pl.DataFrame, truth: pl.DataFrame, popularity: Popularity, *, k: int = 10) -> pl.DataFrame:
    """One row for each user of `truth`, sorted by user_id; a user without recommendations scores 0.

    Gain is 1 for an item in the truth. The ideal list has min(k, number of true items) hits, so 1 can be reached.
    """
    shown = rankings.filter(pl.col(RANK) <= k)
    true = truth.select(USER, ITEM).unique()
    hits = (
        shown.join(true, on=[USER, ITEM], how="semi")
        .group_by(USER)
        .agg(
            (1 / (pl.col(RANK) + 1).log(2)).sum().alias("dcg"),
            pl.len().alias("hits"),
            (1 / pl.col(RANK).min()).alias("mrr"),
        )
    )
    known = (
        shown.join(popularity.frame, on=ITEM, how="left")
        .group_by(USER)
        .agg(
            pl.col("share").fill_null(0.0).mean().alias("popularity_share"),
            pl.col("bits").fill_null(popularity.unseen_bits).mean().alias("novelty"),
        )
    )
    sizes = (
        true.group_by(USER).len("size").join(_ideal(k), left_on=pl.col("size").clip(upper_bound=k), right_on="places")
    )
    joined = (
        sizes.join(hits, on=USER, how="left")
        .join(known, on=USER, how="left")
        .with_columns(pl.col("dcg", "hits", "mrr", "popularity_share", "novelty").fill_null(0))
    )
    values = {
        "ndcg": pl.col("dcg") / pl.col("ideal"),
        "recall": pl.col("hits") / pl.col("size"),
        "hit_rate": (pl.col("hits") > 0).cast(pl.Float64),
        "mrr": pl.col("mrr").cast(pl.Float64),
        "popularity_share": pl.col("popularity_share").cast(pl.Float64),
        "novelty": pl.col("novelty").cast(pl.Float64),
    }
    return joined.select(USER, *(values[name].alias(f"{name}_at_{k}") for name in PER_USER)).sort(USER)


def catalogue_coverage(rankings: pl.DataFrame, catalogue: int, *, k: int = 10) -> float:
    """The share of the catalogue that at least one user was shown."""
    shown = rankings.filter(pl.col(RANK) <= k)[ITEM].n_unique()
    return shown / catalogue if catalogue else 0.0


def slots_outside_top(rankings: pl.DataFrame, *, k: int = 10) -> float:
    """The share of all places that do not go to the k most shown items: 0 when everybody gets the same list."""
    shown = rankings.filter(pl.col(RANK) <= k)
    counts = shown.group_by(ITEM).len("count")["count"].sort(descending=True)
    return 1 - int(counts.head(k).sum()) / shown.height if shown.height else 0.0


def _ideal(k: int) -> pl.DataFrame:
    """The discounted gain of a list whose first n places are all hits, for n = 1..k."""
    gains, total = [], 0.0
    for place in range(1, k + 1):
        total += 1 / math.log2(place + 1)
        gains.append((place, total))
    return pl.DataFrame(gains, schema={"places": pl.UInt32, "ideal": pl.Float64}, orient="row")
