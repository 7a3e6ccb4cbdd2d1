"""Latent models of whole histories: EASE for a small catalogue, implicit's ALS for a large one.

Here: fitting them and folding a history in. Not here: storage, candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from recsys_assets.recommender.events import Doubles, Events, Floats, Ints

# EASE inverts and holds items x items: 3,000 take seconds, 50,000 would take hours, and 20 GB.
MAX_EASE_ITEMS = 3_000
ALPHA = 10.0
# Every user is folded in when asked, so item factors can be learnt from a part of them; the time goes into users.
MAX_ALS_USERS = 25_000


@dataclass(frozen=True)
class Latent:
    """`weights` is items x items (ease) or items x factors (als)."""

    kind: Literal["ease", "als"]
    weights: Floats
    regularization: float

    def scores(self, history: Ints, weights: Floats) -> Floats:
        """[n_items]: how well each item fits the weighted history."""
        if len(history) == 0:
            return np.zeros(len(self.weights), dtype=np.float32)
        if self.kind == "ease":
            summed: Floats = weights @ self.weights[history]
            return summed
        fitted = np.zeros(len(self.weights), dtype=np.float32)
        met, factors = self._met
        # Not BLAS: for one user its threads wait for each other longer than the product takes.
        fitted[met] = np.einsum("if,f->i", factors, self._fold_in(history, weights))
        return fitted

    def towards(self, history: Ints, weights: Floats, targets: Ints) -> Floats:
        """`scores` of these items alone; ALS does not go through the catalogue for them."""
        if self.kind == "ease" or len(history) == 0:
            return self.scores(history, weights)[targets]
        fitted: Floats = np.einsum("if,f->i", self.weights[targets], self._fold_in(history, weights))
        return fitted

    def _fold_in(self, history: Ints, weights: Floats) -> Floats:
        own = self.weights[history].astype(np.float64)
        confidence = 1.0 + ALPHA * weights.astype(np.float64)
        gram = self._gram + (own * (confidence - 1.0)[:, None]).T @ own
        return np.linalg.solve(gram, own.T @ confidence).astype(np.float32)

    @cached_property
    def _met(self) -> tuple[Ints, Floats]:
        """Codes and factors of the items that have any: in a large, quickly ageing catalogue a minority."""
        met = np.flatnonzero(self.weights.any(axis=1)).astype(np.int32)
        return met, np.ascontiguousarray(self.weights[met])

    @cached_property
    def _gram(self) -> Doubles:
        factors = self.weights.astype(np.float64)
        gram: Doubles = factors.T @ factors + self.regularization * np.eye(factors.shape[1])
        return gram


def fit_latent(events: Events, *, seed: int, max_ease_items: int = MAX_EASE_ITEMS) -> Latent:
    """EASE where the catalogue is small, else ALS."""
    return fit_ease(events) if len(events.item_ids) <= max_ease_items else fit_als(events, seed=seed)


def fit_ease(events: Events, *, regularization: float = 300.0) -> Latent:
    """The closed form of EASE: B = I - P / diag(P), P the inverse of the regularized item-item Gram matrix."""
    matrix = events.matrix()
    gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return Latent("ease", weights.astype(np.float32), regularization)


def fit_als(
    events: Events, *, seed: int, factors: int = 64, iterations: int = 15, regularization: float = 5.0
) -> Latent:
    """Item factors of weighted matrix factorization; a user's factors are solved from the history when asked."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if len(events.items) == 0:
        return Latent("als", np.zeros((len(events.item_ids), factors), dtype=np.float32), regularization)
    weights = events.of_newest_users(MAX_ALS_USERS).matrix() * (1.0 + ALPHA)
    taught = weights[np.diff(weights.indptr) > 0]
    size = max(1, min(factors, len(events.item_ids) - 1, max(len(events.user_ids) - 1, 1)))
    with threadpool_limits(1, "blas"):  # implicit brings its own threads; BLAS' would fight them
        model = AlternatingLeastSquares(
            factors=size,
            iterations=iterations,
            regularization=regularization,
            random_state=seed,
            num_threads=1,
            use_gpu=False,
        )
        model.fit(taught, show_progress=False)
    return Latent("als", np.asarray(model.item_factors, dtype=np.float32), regularization)
