"""Item-item neighbours by co-visitation, with time decay on the target side: neighbours met lately count more.

Here: fitting the neighbour lists and scoring a history with them. Not here: popularity, factors, the ranker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys_assets.recommender.events import DAY_SECONDS, FORGOTTEN, Doubles, Events, Floats, Ints, decay

BLOCK = 1_024


@dataclass(frozen=True)
class Neighbours:
    """`items[i]` are the codes of item i's best neighbours, `weights[i]` the similarities; 0 fills up."""

    items: Ints
    weights: Floats

    def scores(self, history: Ints, weights: Floats, n_items: int) -> Floats:
        """[n_items]: weighted sum of similarities to the history."""
        if len(history) == 0 or self.items.shape[1] == 0:
            return np.zeros(n_items, dtype=np.float32)
        weighted = self.weights[history] * weights[:, None]
        summed = np.bincount(self.items[history].ravel(), weights=weighted.ravel(), minlength=n_items)
        return summed.astype(np.float32)

    def towards(self, history: Ints, targets: Ints) -> tuple[Floats, Floats]:
        """Sum and maximum of the similarities of the history to each of `targets`, which are sorted codes."""
        summed: Floats = np.zeros(len(targets), dtype=np.float32)
        top: Floats = np.zeros(len(targets), dtype=np.float32)
        flat, weights = self.items[history].ravel(), self.weights[history].ravel()
        if len(flat) and len(targets):
            place = np.minimum(np.searchsorted(targets, flat), len(targets) - 1)
            hit = targets[place] == flat
            summed = np.bincount(place[hit], weights=weights[hit], minlength=len(targets)).astype(np.float32)
            np.maximum.at(top, place[hit], weights[hit])
        return summed, top


def fit_neighbours(
    events: Events,
    at: float,
    *,
    half_life_days: float | None,
    top: int = 100,
    shrink: float = 10.0,
    target_power: float = 0.0,
    length_power: float = 1.0,
) -> Neighbours:
    """Cosine-like similarity i -> j: sum over users of w(history i) * decay(age of the event with j), normalised.

    A user's weight falls with the length of the history. `half_life_days` None means no decay.
    """
    n = len(events.item_ids)
    per_user = np.bincount(events.users, minlength=len(events.user_ids)).astype(np.float32)
    user_weight = 1.0 / np.maximum(per_user, 1.0) ** length_power
    fresh = (
        np.ones(len(events.times), dtype=np.float32)
        if half_life_days is None
        else decay(at - events.times, half_life_days) * (at - events.times < FORGOTTEN * half_life_days * DAY_SECONDS)
    )
    source = events.matrix(user_weight[events.users].astype(np.float32)).T.tocsr()
    target = events.matrix(fresh).tocsr()
    target.eliminate_zeros()
    mass = np.bincount(events.items, minlength=n).astype(np.float32)
    target_mass = np.bincount(events.items, weights=fresh, minlength=n).astype(np.float32)
    scale = (1.0 / np.maximum(target_mass, 1e-6) ** target_power).astype(np.float32)
    items = np.zeros((n, min(top, max(n - 1, 0))), dtype=np.int32)
    weights = np.zeros(items.shape, dtype=np.float32)
    for start in range(0, n, BLOCK):
        block = (source[start : start + BLOCK] @ target).tocsr()
        rows = slice(start, start + block.shape[0])
        damped = (np.sqrt(mass[rows]) + shrink).astype(np.float32)
        items[rows], weights[rows] = _best_of_rows(block, start, scale, damped, items.shape[1])
    return Neighbours(items, weights)


def _best_of_rows(block: Any, start: int, scale: Floats, damped: Floats, top: int) -> tuple[Ints, Floats]:
    items = np.zeros((block.shape[0], top), dtype=np.int32)
    weights = np.zeros((block.shape[0], top), dtype=np.float32)
    for row in range(block.shape[0]):
        begin, end = block.indptr[row], block.indptr[row + 1]
        columns = block.indices[begin:end]
        values = block.data[begin:end] * scale[columns] / damped[row]
        values[columns == start + row] = 0.0
        if len(values) > 2 * top:  # sort only what reaches the last place, ties included
            kept = values >= np.partition(values, len(values) - top)[len(values) - top]
            columns, values = columns[kept], values[kept]
        best = np.lexsort((columns, -values))[:top]
        items[row, : len(best)], weights[row, : len(best)] = columns[best], values[best]
    return items, weights


def recency_weights(times: Doubles, half_life_days: float, *, half_life_events: float = 30.0) -> Floats:
    """Weights of a history, oldest first, that halve with time and with every `half_life_events` later events.

    Time is relative to the history's own newest event: how long the user was away does not matter.
    """
    if len(times) == 0:
        return np.zeros(0, dtype=np.float32)
    later = np.arange(len(times))[::-1]
    weights: Floats = decay(times.max() - times, half_life_days) * np.exp2(-later / half_life_events)
    return weights.astype(np.float32)
