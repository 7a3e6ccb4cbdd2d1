"""The candidate index: everything that retrieval knows, as arrays, as of one moment.

Here: building it from interactions and the item table, saving and loading. Not here: picking candidates, ranking.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_assets.recommender.content import Content, fit_content
from recsys_assets.recommender.events import Doubles, Events, Floats, Ints, decay, encode
from recsys_assets.recommender.groups import Group, Groups, fit_groups
from recsys_assets.recommender.latent import Latent, fit_latent
from recsys_assets.recommender.neighbours import Neighbours, fit_neighbours
from recsys_assets.recommender.popularity import (
    WINDOWS_DAYS,
    counts_in_windows,
    decayed_counts,
    first_and_last,
    fitting_half_life,
)
from recsys_assets.settings import TrainingSettings

FILE = "index.json"
# Only a user with this many events can have seen more than a profile's recent items tell.
LONG_HISTORY = 100
EVENTS_PER_USER = 500
COLD_EVENTS = 3


@dataclass(frozen=True)
class CandidateIndex:
    """Item codes are places in `item_ids`, which is sorted. All arrays are as of `as_of`."""

    item_ids: tuple[str, ...]
    as_of: datetime
    half_life_days: float
    candidates_per_source: int
    counts: Floats
    decayed: Floats
    first_seen: Doubles
    last_seen: Doubles
    fresh_neighbours: Neighbours
    neighbours: Neighbours
    latent: Latent
    content: Content
    groups: Groups
    long_users: tuple[str, ...]
    long_indptr: Ints
    long_items: Ints

    @classmethod
    def build(
        cls,
        interactions: pl.DataFrame,
        items: pl.DataFrame | None,
        *,
        as_of: datetime,
        settings: TrainingSettings,
        users: pl.DataFrame | None = None,
    ) -> CandidateIndex:
        """Fit every source on the events in [as_of - lookback_days, as_of); `users` gives the groups of users."""
        events = encode(interactions, items, as_of=as_of, lookback_days=settings.lookback_days)
        at = as_of.timestamp()
        half_life = fitting_half_life(events, at, horizon_days=settings.label_days)
        pairs = events.distinct().newest(EVENTS_PER_USER)
        first, last = first_and_last(events)
        long_users, indptr, long_items = _long_histories(events)
        return cls(
            item_ids=events.item_ids,
            as_of=as_of,
            half_life_days=half_life,
            candidates_per_source=settings.candidates_per_source,
            counts=counts_in_windows(events, at),
            decayed=np.stack([decayed_counts(events, at, half_life * factor) for factor in (0.3, 1.0, 6.0)]),
            first_seen=first,
            last_seen=last,
            fresh_neighbours=fit_neighbours(pairs, at, half_life_days=half_life),
            neighbours=fit_neighbours(pairs, at, half_life_days=None, target_power=0.5, length_power=0.5),
            latent=fit_latent(pairs, seed=settings.seed),
            content=fit_content(items, events.item_ids),
            groups=fit_groups(users, events, decay(at - events.times, half_life), at=as_of),
            long_users=long_users,
            long_indptr=indptr,
            long_items=long_items,
        )

    @cached_property
    def codes(self) -> dict[str, int]:
        """Item id to code."""
        return {item: code for code, item in enumerate(self.item_ids)}

    @cached_property
    def _long(self) -> dict[str, int]:
        return {user: place for place, user in enumerate(self.long_users)}

    def seen_before(self, user_id: str) -> Ints:
        """Codes of all items a user with a long history met before `as_of`; empty for everybody else."""
        place = self._long.get(user_id)
        if place is None:
            return np.zeros(0, dtype=np.int32)
        return self.long_items[self.long_indptr[place] : self.long_indptr[place + 1]]

    @cached_property
    def popular_order(self) -> Ints:
        """[half-lives, items]: item codes by decayed popularity, ties by code."""
        return np.argsort(-self.decayed, axis=1, kind="stable").astype(np.int32)

    @cached_property
    def cold_items(self) -> Ints:
        """Codes of items with so few events that only their content can propose them."""
        return np.flatnonzero(self.counts[-1] < COLD_EVENTS).astype(np.int32)

    @property
    def windows_days(self) -> tuple[float, ...]:
        """The windows of `counts`, one a row."""
        return WINDOWS_DAYS

    def save(self, folder: Path) -> None:
        """Flat files `index.json` and `index.<name>.npy`; no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self._arrays().items():
            np.save(folder / f"index.{name}.npy", array, allow_pickle=False)
        head = {
            "item_ids": list(self.item_ids),
            "long_users": list(self.long_users),
            "as_of": self.as_of.astimezone(UTC).isoformat(),
            "half_life_days": self.half_life_days,
            "candidates_per_source": self.candidates_per_source,
            "latent_kind": self.latent.kind,
            "latent_regularization": self.latent.regularization,
            "content_tokens": self.content.n_tokens,
            "groups": [asdict(group) for group in self.groups.members],
        }
        (folder / FILE).write_text(json.dumps(head, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CandidateIndex:
        """Read what `save` wrote."""
        head = json.loads((folder / FILE).read_text(encoding="utf-8"))

        def array(name: str) -> Any:
            return np.load(folder / f"index.{name}.npy", allow_pickle=False)

        return cls(
            item_ids=tuple(head["item_ids"]),
            as_of=datetime.fromisoformat(head["as_of"]),
            half_life_days=head["half_life_days"],
            candidates_per_source=head["candidates_per_source"],
            counts=array("counts"),
            decayed=array("decayed"),
            first_seen=array("first_seen"),
            last_seen=array("last_seen"),
            fresh_neighbours=Neighbours(array("fresh_items"), array("fresh_weights")),
            neighbours=Neighbours(array("neighbour_items"), array("neighbour_weights")),
            latent=Latent(head["latent_kind"], array("latent"), head["latent_regularization"]),
            content=Content(
                array("content_indptr"), array("content_ids"), array("content_weights"), head["content_tokens"]
            ),
            groups=Groups(tuple(Group(**entry) for entry in head["groups"]), array("group_lifts")),
            long_users=tuple(head["long_users"]),
            long_indptr=array("long_indptr"),
            long_items=array("long_items"),
        )

    def _arrays(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "decayed": self.decayed,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "fresh_items": self.fresh_neighbours.items,
            "fresh_weights": self.fresh_neighbours.weights,
            "neighbour_items": self.neighbours.items,
            "neighbour_weights": self.neighbours.weights,
            "latent": self.latent.weights,
            "content_indptr": self.content.indptr,
            "content_ids": self.content.tokens,
            "content_weights": self.content.weights,
            "group_lifts": self.groups.lifts,
            "long_indptr": self.long_indptr,
            "long_items": self.long_items,
        }


def _long_histories(events: Events) -> tuple[tuple[str, ...], Ints, Ints]:
    totals = np.bincount(events.users, minlength=len(events.user_ids))
    pairs = events.distinct()
    kept = totals[pairs.users] >= LONG_HISTORY
    order = np.lexsort((pairs.items[kept], pairs.users[kept]))
    users, items = pairs.users[kept][order], pairs.items[kept][order]
    names, sizes = np.unique(users, return_counts=True)
    indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return tuple(events.user_ids[code] for code in names), indptr, items
