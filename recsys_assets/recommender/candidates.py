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


def personal_scores(index: CandidateIndex, history: History) -> list[Floats]:
    """The whole catalogue as the fresh neighbours, the steady neighbours and the latent model score it."""
    n = len(index.item_ids)
    return [
        index.fresh_neighbours.scores(history.items, history.weights, n),
        index.neighbours.scores(history.items, history.weights, n),
        index.latent.scores(history.items, history.weights),
    ]


def source_scores(index: CandidateIndex, history: History, personal: list[Floats], items: Ints) -> Floats:
    """[sources, items]: what each source thinks of these items for this history."""
    content = index.content.scores(history.items, history.weights, items)
    return np.stack([*index.decayed[:, items], *(scores[items] for scores in personal), content])


def retrieve(index: CandidateIndex, profile: UserProfile) -> Retrieval:
    """The union of each source's best unseen items, by item code."""
    history, count = history_of(index, profile), index.candidates_per_source
    eligible = np.ones(len(index.item_ids), dtype=bool)
    eligible[history.items] = False
    eligible[index.seen_before(profile.user_id)] = False
    personal = personal_scores(index, history)
    best = [_popular(index, row, eligible, count) for row in range(len(index.decayed))]
    best += [_best(scores, np.flatnonzero(eligible & (scores > 0)), count) for scores in personal]
    best.append(_cold(index, history, eligible, max(1, count // 4)))
    items = np.unique(np.concatenate(best)).astype(np.int32)
    if len(items) == 0:
        items = np.flatnonzero(eligible)[:count].astype(np.int32)
    picked = np.zeros((len(best), len(items)), dtype=bool)
    for row, chosen in enumerate(best):
        picked[row, np.searchsorted(items, chosen)] = True
    return Retrieval(history, items, source_scores(index, history, personal, items), picked)


def with_items(index: CandidateIndex, found: Retrieval, extra: Ints) -> Retrieval:
    """The same retrieval with more items, which no source proposed."""
    items = np.union1d(found.items, extra).astype(np.int32)
    picked = np.zeros((len(found.picked), len(items)), dtype=bool)
    picked[:, np.searchsorted(items, found.items)] = found.picked
    personal = personal_scores(index, found.history)
    return Retrieval(found.history, items, source_scores(index, found.history, personal, items), picked)


def _popular(index: CandidateIndex, row: int, eligible: npt.NDArray[np.bool_], count: int) -> Ints:
    """The order is the same for everybody, so only as many places are read as this user may have seen."""
    first = index.popular_order[row][: count + len(eligible) - int(eligible.sum())]
    chosen: Ints = first[eligible[first] & (index.decayed[row][first] > 0)][:count]
    return chosen


def _cold(index: CandidateIndex, history: History, eligible: npt.NDArray[np.bool_], count: int) -> Ints:
    if not index.content.n_tokens or not len(history.items):
        return np.zeros(0, dtype=np.int32)
    cold = index.cold_items[eligible[index.cold_items]]
    scores = index.content.scores(history.items, history.weights, cold)
    kept = scores > 0
    return cold[kept][_best(scores[kept], np.arange(int(kept.sum())), count)]


def _best(scores: Floats, places: npt.NDArray[np.intp], count: int) -> Ints:
    values = scores[places]
    if len(places) > count:
        # Everything that ties with the last place is kept, so that the stable sort below decides, not the partition.
        edge = np.partition(values, len(values) - count)[len(values) - count]
        places, values = places[values >= edge], values[values >= edge]
    chosen: Ints = places[np.argsort(-values, kind="stable")[:count]].astype(np.int32)
    return chosen
