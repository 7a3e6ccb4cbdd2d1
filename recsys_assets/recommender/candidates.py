"""Retrieval: the candidates of one user from every source, with each source's score for each of them.

Here: scores over the catalogue, the best few of each source, their union. Not here: the ranker and its features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_assets.recommender.events import Doubles, Floats, Ints
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.neighbours import recency_weights
from recsys_assets.recommender.profiles import UserProfile

SOURCES: tuple[str, ...] = ("pop_fast", "pop", "pop_slow", "knn_fresh", "knn", "latent", "content")
# An item with fewer events than this is cold: behaviour says nothing of it, so its content may propose it.
COLD_EVENTS = 3
HISTORY_HALF_LIFE_FACTOR = 2.0


@dataclass(frozen=True)
class History:
    """A user's known items as codes, oldest first, with their times; items that left the catalogue are dropped."""

    items: Ints
    times: Doubles
    weights: Floats


@dataclass(frozen=True)
class Retrieval:
    """Candidates of one user. `scores` and `picked` are [sources, candidates]; picked says which source proposed it."""

    history: History
    items: Ints
    scores: Floats
    picked: npt.NDArray[np.bool_]


def history_of(index: CandidateIndex, profile: UserProfile) -> History:
    """The profile's recent items in the index's codes."""
    pairs = [
        (index.codes[item], time)
        for item, time in zip(profile.recent_items, profile.recent_times, strict=True)
        if item in index.codes
    ]
    items = np.array([code for code, _ in pairs], dtype=np.int32)
    times = np.array([time for _, time in pairs], dtype=np.float64)
    half_life = max(index.half_life_days * HISTORY_HALF_LIFE_FACTOR, 1.0)
    return History(items, times, recency_weights(times, half_life))


def source_scores(index: CandidateIndex, history: History) -> Floats:
    """[sources, items of the catalogue]: what each source thinks of every item for this history."""
    n = len(index.item_ids)
    return np.stack(
        [
            *index.decayed,
            index.fresh_neighbours.scores(history.items, history.weights, n),
            index.neighbours.scores(history.items, history.weights, n),
            index.latent.scores(history.items, history.weights),
            index.content.scores(history.items, history.weights),
        ]
    )


def retrieve(index: CandidateIndex, profile: UserProfile) -> Retrieval:
    """The union of each source's best unseen items, by item code."""
    history = history_of(index, profile)
    scores = source_scores(index, history)
    eligible = np.ones(len(index.item_ids), dtype=bool)
    eligible[history.items] = False
    eligible[index.seen_before(profile.user_id)] = False
    best = [_best(row, eligible & (row > 0), index.candidates_per_source) for row in scores[:-1]]
    cold = eligible & (index.counts[-1] < COLD_EVENTS) & (scores[-1] > 0)
    best.append(_best(scores[-1], cold, max(1, index.candidates_per_source // 4)))
    items = np.unique(np.concatenate(best)).astype(np.int32)
    if len(items) == 0:
        items = np.flatnonzero(eligible)[: index.candidates_per_source].astype(np.int32)
    picked = np.stack([np.isin(items, chosen) for chosen in best])
    return Retrieval(history, items, scores[:, items], picked)


def _best(scores: Floats, allowed: npt.NDArray[np.bool_], count: int) -> Ints:
    places = np.flatnonzero(allowed)
    values = scores[places]
    if len(places) > count:
        # Everything that ties with the last place is kept, so that the stable sort below decides, not the partition.
        edge = np.partition(values, len(values) - count)[len(values) - count]
        places, values = places[values >= edge], values[values >= edge]
    chosen: Ints = places[np.argsort(-values, kind="stable")[:count]].astype(np.int32)
    return chosen
