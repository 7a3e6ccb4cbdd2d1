"""Ranking features of one user's candidates: the same function makes training rows and serves requests.

Here: the names and the numbers, in one order. Not here: retrieval, the booster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import ITEM
from recsys_assets.recommender.candidates import SOURCES, Retrieval
from recsys_assets.recommender.events import DAY_SECONDS, Floats, Ints
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile

LAST_ITEMS = (1, 5, 20)
_ONE_HOT = "_is_"


@dataclass(frozen=True)
class ItemTable:
    """Item features by item code: `values` is [items, names]; NaN where an item has none."""

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def of(cls, index: CandidateIndex, state: pl.DataFrame) -> ItemTable:
        """The item state in the index's order."""
        names = tuple(c for c in state.columns if c != ITEM)
        ordered = pl.DataFrame({ITEM: list(index.item_ids)}, schema={ITEM: pl.String}).join(
            state.unique(ITEM, keep="first", maintain_order=True), on=ITEM, how="left", maintain_order="left"
        )
        values = ordered.select(pl.col(c).cast(pl.Float32).fill_null(float("nan")) for c in names)
        return cls(
            names, np.ascontiguousarray(values.to_numpy()) if names else np.zeros((ordered.height, 0), np.float32)
        )


@dataclass(frozen=True)
class FeatureMaker:
    """Makes feature rows. `user_names` are the profile features that the model reads, in this order."""

    index: CandidateIndex
    items: ItemTable
    user_names: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All feature names, in column order."""
        windows = [f"{w:g}d" for w in self.index.windows_days]
        return (
            *(f"{s}_{kind}" for kind in ("score", "rank", "share") for s in SOURCES),
            "sources",
            "best_rank",
            *(f"popularity_{w}" for w in windows),
            *(f"popularity_rank_{w}" for w in windows),
            "trend_short",
            "trend_long",
            "age_days",
            "last_event_days",
            *(f"covisit_{kind}_{n}" for n in LAST_ITEMS for kind in ("max", "mean", "fresh")),
            *(f"content_last_{n}" for n in LAST_ITEMS),
            "latent_even",
            "group_lift",
            "history_length",
            "history_days_since_last",
            "history_span_days",
            "history_popularity",
            *(f"user_{n}" for n in self.user_names),
            *(f"item_{n}" for n in self.items.names),
        )

    def rows(self, profile: UserProfile, found: Retrieval, *, at: float) -> Floats:
        """float32 [candidates, names]."""
        blocks = [
            self._retrieval(found),
            self._static[found.items],
            self._ages(found.items, at),
            self._last_items(found),
            self._tastes(profile, found),
            self._user(profile, found, at),
            self.items.values[found.items],
        ]
        return np.concatenate([np.asarray(b, dtype=np.float32) for b in blocks], axis=1)

    def _retrieval(self, found: Retrieval) -> npt.NDArray[np.floating]:
        order = np.argsort(-found.scores, axis=1, kind="stable")
        ranks = np.empty(order.shape, dtype=np.float32)
        np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.float32)[None, :], axis=1)
        ranks[found.scores <= 0] = np.nan
        top = found.scores.max(axis=1, keepdims=True, initial=0.0)
        share = found.scores / np.where(top > 0, top, 1.0)
        filled = np.where(np.isnan(ranks), float(order.shape[1]), ranks)
        summary = np.stack([found.picked.sum(axis=0), filled.min(axis=0)])
        return np.concatenate([found.scores, ranks, share, summary]).T

    @cached_property
    def _static(self) -> Floats:
        """[items, ...]: popularity shares, ranks and trends, which depend on no user."""
        counts = self.index.counts
        totals = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        shares = counts / totals * counts.shape[1]
        ranks = np.argsort(np.argsort(-counts, axis=1, kind="stable"), axis=1, kind="stable")
        short = np.log((shares[2] + 0.1) / (shares[4] + 0.1))
        long = np.log((shares[4] + 0.1) / (shares[6] + 0.1))
        return np.concatenate([shares, ranks, short[None], long[None]]).T.astype(np.float32)

    def _ages(self, items: Ints, at: float) -> npt.NDArray[np.floating]:
        ages = np.stack([at - self.index.first_seen[items], at - self.index.last_seen[items]], axis=1)
        return ages / DAY_SECONDS

    def _last_items(self, found: Retrieval) -> npt.NDArray[np.floating]:
        columns: list[Floats] = []
        contents: list[Floats] = []
        for count in LAST_ITEMS:
            last = found.history.items[-count:]
            size = np.float32(max(len(last), 1))
            steady, top = self.index.neighbours.towards(last, found.items)
            fresh, _ = self.index.fresh_neighbours.towards(last, found.items)
            columns += [top, steady / size, fresh / size]
            contents.append(self.index.content.scores(last, np.ones(len(last), dtype=np.float32), found.items))
        return np.stack(columns + contents, axis=1)

    def _tastes(self, profile: UserProfile, found: Retrieval) -> npt.NDArray[np.floating]:
        """The latent model over the whole history, old and new alike, and what the user's groups prefer."""
        items = found.history.items
        even = self.index.latent.towards(items, np.ones(len(items), dtype=np.float32), found.items)
        return np.stack([even, self.index.groups.lift(profile.features, found.items)], axis=1)

    def _user(self, profile: UserProfile, found: Retrieval, at: float) -> npt.NDArray[np.floating]:
        times, items = found.history.times, found.history.items
        known = len(times) > 0
        values = [
            float(len(times)),
            (at - times.max()) / DAY_SECONDS if known else np.nan,
            (times.max() - times.min()) / DAY_SECONDS if known else np.nan,
            float(self._static[items, len(self.index.windows_days) - 1].mean()) if known else np.nan,
        ]
        values += [profile.features.get(n, 0.0 if _ONE_HOT in n else np.nan) for n in self.user_names]
        return np.repeat(np.array([values], dtype=np.float64), len(found.items), axis=0)
