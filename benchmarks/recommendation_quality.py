"""The two-stage recommender against tuned single retrievers on MovieLens-100K: NDCG@10 over all test users.

Here: the protocol. Global temporal split at the 0.9 quantile of time, full unsampled ranking, seen items left out,
every test user counts, cold ones included; two spans before it stand beside it as validation. Windows and strengths of
the baselines are chosen on the tenth before each span, never on the span. A day begins at the moment of the split:
everybody knows the same events, up to that moment. The intervals are bootstraps over users. Run it from the project's
root: `python -m benchmarks.recommendation_quality`, about four minutes on two free cores.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks import harness
from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, ITEM, USER, VALUE
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.interactions import movielens
from recsys_assets.recommender.baselines import Baseline, als, ease, item_knn_decayed, recent_popularity
from recsys_assets.recommender.profiles import profile_frame, profile_of_row
from recsys_assets.recommender.recommender import Recommender, assemble
from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.settings import FeatureSettings, GateSettings, TrainingSettings
from recsys_assets.training.cuts import Cuts
from recsys_assets.training.fitting import Recipe
from recsys_assets.training.tuning import default_params
from recsys_assets_tests.features.rows import user_feature_rows

K = 10
TRAINING = TrainingSettings(
    label_days=14, cuts=20, cut_step_days=5, seeds=3, num_boost_round=80, num_leaves=15, min_data_in_leaf=100
)
GRIDS: dict[str, list[Baseline]] = {
    "recent_popularity": [recent_popularity(days) for days in (3, 7, 14, 30, 60)],
    "item_knn_decayed": [item_knn_decayed(days) for days in (7, 14, 30, 90)],
    "ease": [ease(strength) for strength in (100.0, 300.0, 1_000.0)],
    "als": [als(factors) for factors in (16, 32, 64)],
}
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """Everything a training reads, in the product's own tables."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    user_features: pl.DataFrame
    item_features: pl.DataFrame


@dataclass(frozen=True)
class Split:
    """Events before `at` are known; `truth` is what each user then met for the first time."""

    at: datetime
    train: pl.DataFrame
    truth: Mapping[str, set[str]]

    @property
    def users(self) -> list[str]:
        return sorted(self.truth)


@dataclass(frozen=True)
class Compared:
    """NDCG@10 of each user of one span, of the two-stage recommender and of each peer."""

    own: Scores
    peers: Mapping[str, Scores]
    warm: npt.NDArray[np.bool_]
    fit_seconds: float
    answer_ms: float


def main() -> None:
    """The test span, and the two spans before it."""
    raw = read()
    validation = [compare(raw, start, start + 0.1) for start in (0.7, 0.8)]
    test = compare(raw, 0.9, 1.0)
    figures = judged(test)
    for span, found in zip(("70_80", "80_90"), validation, strict=True):
        figures |= {f"validation_{span}_{name}": value for name, value in judged(found).items()}
    figures |= {"fit_seconds": round(test.fit_seconds, 1), "recommend_ms_per_user": round(test.answer_ms, 2)}
    figures |= {"test_users_count": len(test.own), "warm_test_users_count": int(test.warm.sum())}
    peers = {name: describe(scores, test.warm) for name, scores in test.peers.items()}
    harness.write(
        "recommendation_quality", command="python -m benchmarks.recommendation_quality", figures=figures, peers=peers
    )


def judged(found: Compared) -> dict[str, float | str]:
    """The figures of one span."""
    return {**describe(found.own, found.warm), **ratios(found.own, found.peers, found.warm)}


def compare(raw: Tables, start: float, end: float) -> Compared:
    """Choose the baselines on the tenth before the span, fit everything on all before the span, rank for its users."""
    tables = from_midnight(raw, quantile(raw.interactions, start))
    before, span = split(tables.interactions, start - 0.1, start), split(tables.interactions, start, end)
    found: dict[str, Scores] = {}
    for name, grid in GRIDS.items():
        best = max(grid, key=lambda b: ndcg(b.rank(before.train, before.users, K, as_of=before.at), before).mean())
        found[name] = ndcg(best.rank(span.train, span.users, K, as_of=span.at), span)
    started = time.perf_counter()
    model = two_stage(tables, span.at)
    fit_seconds = time.perf_counter() - started
    frame = profile_frame(tables.user_features, tables.users, at=span.at, user_ids=span.users)
    profiles = [profile_of_row(row) for row in frame.iter_rows(named=True)]
    started = time.perf_counter()
    rankings = model.recommend_many(profiles, k=K)
    answer_ms = 1_000 * (time.perf_counter() - started) / len(profiles)
    own = ndcg({p.user_id: r.items for p, r in zip(profiles, rankings, strict=True)}, span)
    warm = np.isin(span.users, span.train[USER].unique().to_list())
    return Compared(own, found, warm, fit_seconds, answer_ms)


def from_midnight(tables: Tables, at: datetime) -> Tables:
    """All clocks set back so that `at` is a midnight, with the features of every day.

    Features are made once a day. Without this the two-stage recommender would not know the hours before the split,
    in which some of the test users were most active, and the retrievers would.
    """
    moved = pl.col(EVENT_TIME) - (at - at.replace(hour=0, minute=0, second=0, microsecond=0))
    interactions = tables.interactions.with_columns(moved.alias(EVENT_TIME), moved.dt.date().alias(DAY))
    days, settings = interactions[DAY].unique().sort().to_list(), FeatureSettings()
    return replace(
        tables,
        interactions=interactions,
        user_features=user_feature_rows(interactions, days, settings),
        item_features=item_feature_rows(interactions, days, settings),
    )


def read() -> Tables:
    """MovieLens-100K under the product's column names, without features."""
    at = pl.from_epoch(pl.col("timestamp"), time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    interactions = movielens.read_ratings().select(
        USER,
        ITEM,
        at.alias(EVENT_TIME),
        at.dt.date().alias(DAY),
        pl.col("rating").alias(VALUE),
        pl.lit(None, dtype=pl.String).alias(EVENT_TYPE),
    )
    items = movielens.read_items().select(
        ITEM,
        pl.col("movie_title").alias("title"),
        pl.col("class").str.split(" ").alias("genres"),
        pl.col("release_year").cast(pl.Float64),
    )
    users = movielens.read_users().select(USER, pl.col("age").cast(pl.Float64), "gender", "occupation")
    return Tables(interactions, items, users, pl.DataFrame(), pl.DataFrame())


def split(interactions: pl.DataFrame, start: float, end: float) -> Split:
    """Train before the `start` quantile of time, truth from there up to the `end` quantile."""
    at = quantile(interactions, start)
    stop = quantile(interactions, end) if end < 1 else datetime.max.replace(tzinfo=UTC)
    train = interactions.filter(pl.col(EVENT_TIME) < at)
    later = interactions.filter((pl.col(EVENT_TIME) >= at) & (pl.col(EVENT_TIME) < stop))
    unseen = later.join(train, on=[USER, ITEM], how="anti").group_by(USER).agg(pl.col(ITEM).unique())
    return Split(at, train, {user: set(items) for user, items in unseen.iter_rows()})


def quantile(interactions: pl.DataFrame, share: float) -> datetime:
    """The event time at this share of all events."""
    found: datetime = interactions.select(pl.col(EVENT_TIME).quantile(share, "nearest")).item()
    return found


def two_stage(tables: Tables, at: datetime) -> Recommender:
    """Rankers of several seeds on rows of several cuts, all labels before `at`, over an index as of `at`."""
    known = tables.interactions.filter(pl.col(EVENT_TIME) < at)
    parts = (known, tables.items, tables.users, tables.user_features, tables.item_features)
    cuts = Cuts.of(at, TRAINING, GateSettings()).release
    rows = pl.concat([rows_at_cut(*parts, cut=cut, settings=TRAINING) for cut in cuts])
    recipe = Recipe(default_params(TRAINING), TRAINING.seed, TRAINING.seeds, negatives=TRAINING.negatives_per_list)
    return assemble(recipe.fit(rows), *parts, as_of=at, settings=TRAINING)


def ndcg(ranked: Mapping[str, Sequence[str]], truth: Split) -> Scores:
    """NDCG@10 of each user, in the order of `truth.users`."""
    discount = 1.0 / np.log2(np.arange(2, K + 2))
    values = []
    for user in truth.users:
        wanted = truth.truth[user]
        hits = [place for place, item in enumerate(ranked[user][:K]) if item in wanted]
        values.append(discount[hits].sum() / discount[: min(K, len(wanted))].sum())
    return np.array(values)


def bootstrap(users: int, samples: int = 5_000) -> npt.NDArray[np.int64]:
    """The same resampled users for every method, so that ratios are paired."""
    return np.random.default_rng(7).integers(0, users, (samples, users))


def describe(scores: Scores, warm: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Mean over all, warm and cold users, with a 95 % interval over users."""
    means = scores[bootstrap(len(scores))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    found = {"ndcg_at_10_all": scores.mean(), "ndcg_at_10_low": low, "ndcg_at_10_high": high}
    found |= {"ndcg_at_10_warm": scores[warm].mean(), "ndcg_at_10_cold": scores[~warm].mean()}
    return {name: round(float(value), 4) for name, value in found.items()}


def ratios(own: Scores, peers: Mapping[str, Scores], warm: npt.NDArray[np.bool_]) -> dict[str, float | str]:
    """Two-stage over the best single retriever on the test span, which favours the peer."""
    best = max(peers, key=lambda name: peers[name].mean())
    picks = bootstrap(len(own))
    sampled = own[picks].mean(axis=1) / peers[best][picks].mean(axis=1)
    low, high = np.quantile(sampled, [0.025, 0.975])
    found = {
        "over_best_retriever_ratio": own.mean() / peers[best].mean(),
        "over_best_retriever_low_ratio": low,
        "over_best_retriever_high_ratio": high,
        "over_best_retriever_warm_ratio": own[warm].mean() / peers[best][warm].mean(),
        "over_best_retriever_cold_ratio": own[~warm].mean() / peers[best][~warm].mean(),
    }
    return {"best_retriever_name": best} | {name: round(float(value), 4) for name, value in found.items()}


if __name__ == "__main__":
    main()
