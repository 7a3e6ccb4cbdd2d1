"""Baselines that stand beside every evaluation: recent popularity, decayed item-kNN, EASE and ALS.

Here: single-stage rankings over the whole catalogue with seen items left out. Not here: metrics, or picking a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import EVENT_TIME
from recsys_assets.recommender.events import DAY_SECONDS, Doubles, Events, Floats, Ints, encode
from recsys_assets.recommender.latent import MAX_EASE_ITEMS, fit_als, fit_ease
from recsys_assets.recommender.neighbours import fit_neighbours, recency_weights

Scorer = Callable[[Ints, Doubles], Floats]


class Baseline(Protocol):
    """Ranks the catalogue for each user out of training interactions alone."""

    def rank(
        self, train: pl.DataFrame, users: Sequence[str], k: int, *, as_of: datetime | None = None
    ) -> dict[str, list[str]]:
        """The k best unseen items of each user; a user without history gets the popular ones."""


@dataclass(frozen=True)
class _Fitted:
    fit: Callable[[Events, float], Scorer]
    window_days: float = 14.0

    def rank(
        self, train: pl.DataFrame, users: Sequence[str], k: int, *, as_of: datetime | None = None
    ) -> dict[str, list[str]]:
        """Fit on `train` as of its end (or `as_of`), then score every item for every user."""
        if train.is_empty():
            return {user: [] for user in users}
        events = encode(train, None, as_of=as_of or _just_after(train), lookback_days=36_500).distinct()
        at = as_of.timestamp() if as_of else float(events.times.max()) + 1.0
        scorer, popular = self.fit(events, at), _recent(events, at, self.window_days)
        best_known = np.argsort(-popular, kind="stable")
        code_of = {user: code for code, user in enumerate(events.user_ids)}
        order = np.argsort(events.users, kind="stable")
        starts = np.searchsorted(events.users[order], np.arange(len(events.user_ids) + 1))
        ranked = {}
        for user in users:
            code = code_of.get(user)
            own = order[:0] if code is None else order[starts[code] : starts[code + 1]]
            scores = scorer(events.items[own], events.times[own]) if len(own) else popular
            best = _top(scores, best_known, events.items[own], k)
            ranked[user] = [events.item_ids[item] for item in best]
        return ranked


def recent_popularity(window_days: float = 14.0) -> Baseline:
    """Most events in the last `window_days`."""
    return _Fitted(lambda events, at: _constant(_recent(events, at, window_days)), window_days)


def item_knn_decayed(
    half_life_days: float = 14.0,
    *,
    neighbours: int = 100,
    history_half_life_days: float = 365.0,
    window_days: float = 14.0,
) -> Baseline:
    """Item-item co-visitation with time decay on the target side."""

    def fit(events: Events, at: float) -> Scorer:
        lists = fit_neighbours(events, at, half_life_days=half_life_days, top=neighbours)
        n = len(events.item_ids)
        return lambda items, times: lists.scores(items, recency_weights(times, history_half_life_days), n)

    return _Fitted(fit, window_days)


def ease(regularization: float = 300.0, *, window_days: float = 14.0, most_items: int = MAX_EASE_ITEMS) -> Baseline:
    """EASE over the catalogue, of a large one over its `most_items` best known items; the others score 0."""

    def fit(events: Events, at: float) -> Scorer:
        kept = _best_known(_recent(events, at, window_days), most_items)
        model = fit_ease(events.of_items(kept), regularization=regularization)
        places = np.full(len(events.item_ids), -1, dtype=np.int32)
        places[kept] = np.arange(len(kept), dtype=np.int32)

        def scores(items: Ints, times: Doubles) -> Floats:
            known = places[items][places[items] >= 0]
            found = np.zeros(len(places), dtype=np.float32)
            found[kept] = model.scores(known, np.ones(len(known), dtype=np.float32))
            return found

        return scores

    return _Fitted(fit, window_days)


def als(
    factors: int = 64, *, regularization: float = 5.0, iterations: int = 15, seed: int = 7, window_days: float = 14.0
) -> Baseline:
    """Implicit matrix factorization; a user's factors are solved from the history."""

    def fit(events: Events, at: float) -> Scorer:
        model = fit_als(events, seed=seed, factors=factors, regularization=regularization, iterations=iterations)
        return lambda items, times: model.scores(items, np.ones(len(items), dtype=np.float32))

    return _Fitted(fit, window_days)


def _best_known(popular: Floats, most: int) -> Ints:
    """The codes of the most popular items, ascending."""
    return np.sort(np.argsort(-popular, kind="stable")[:most]).astype(np.int32)


def _constant(scores: Floats) -> Scorer:
    return lambda items, times: scores


def _recent(events: Events, at: float, window_days: float) -> Floats:
    inside = events.times >= at - window_days * DAY_SECONDS
    return np.bincount(events.items[inside], minlength=len(events.item_ids)).astype(np.float32)


def _just_after(train: pl.DataFrame) -> datetime:
    newest = train[EVENT_TIME].dt.offset_by("1s").max()
    assert isinstance(newest, datetime)
    return newest


def _top(scores: Floats, best_known: npt.NDArray[np.intp], seen: Ints, k: int) -> npt.NDArray[np.intp]:
    """Best unseen codes by score, ties and zeros by recent popularity, then by id. `best_known` is in that order."""
    ordered = scores[best_known]
    places = min(k + len(seen), len(ordered))
    edge = np.partition(ordered, len(ordered) - places)[len(ordered) - places] if places else 0.0
    above = np.flatnonzero(ordered > edge)
    above = above[np.argsort(-ordered[above], kind="stable")]
    level = np.flatnonzero(ordered == edge)[: places - len(above)]
    order = best_known[np.concatenate([above, level])]
    best: npt.NDArray[np.intp] = order[~np.isin(order, seen)][:k]
    return best
