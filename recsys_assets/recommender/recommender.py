"""The assembled two-stage recommender: candidates, features, ranker; one object that is saved, loaded and asked.

Here: Recommender and Ranking. Not here: verification of files (bundle.py), training, HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_assets.columns import ITEM, USER
from recsys_assets.recommender.candidates import Retrieval, retrieve, with_items
from recsys_assets.recommender.events import Floats, Ints
from recsys_assets.recommender.features import FeatureMaker, ItemTable
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile, profile_frame, profile_of_row
from recsys_assets.recommender.rows import user_feature_names
from recsys_assets.recommender.state import item_state as item_state_at

HEAD = "recommender.json"
POPULAR_ROW = 1  # of CandidateIndex.decayed: the half-life that fitted the data


@dataclass(frozen=True)
class Ranking:
    """Items best first, with their scores."""

    items: list[str]
    scores: list[float]


class SchemaMismatchError(ValueError):
    """The ranker was fitted on other features than this code makes."""


class Recommender:
    """Everything that answers a request, without any service. `profiles` is a frame as `profile_frame` makes it."""

    def __init__(
        self,
        index: CandidateIndex,
        boosters: Sequence[Any],
        *,
        items: ItemTable,
        user_names: Sequence[str],
        profiles: pl.DataFrame,
        catalogue: pl.DataFrame | None = None,
    ) -> None:
        self.index = index
        self.boosters = tuple(boosters)
        self.maker = FeatureMaker(index, items, tuple(user_names))
        self.profiles = profiles
        self.catalogue = catalogue if catalogue is not None else pl.DataFrame({ITEM: list(index.item_ids)})
        for booster in self.boosters:
            if tuple(booster.feature_name()) != self.feature_names:
                raise SchemaMismatchError(_difference(tuple(booster.feature_name()), self.feature_names))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the ranking features, in the order of the booster's columns."""
        return self.maker.names

    @property
    def as_of(self) -> datetime:
        """The moment up to which events are known."""
        return self.index.as_of

    def recommend(self, profile: UserProfile, *, k: int = 10, at: datetime | None = None) -> Ranking:
        """The k best unseen items."""
        return self.recommend_many([profile], k=k, at=at)[0]

    def recommend_many(
        self, profiles: Sequence[UserProfile], *, k: int = 10, at: datetime | None = None
    ) -> list[Ranking]:
        """A ranking for each profile, equal to asking one by one: no row's score depends on another row."""
        if not profiles:
            return []
        found = [retrieve(self.index, profile) for profile in profiles]
        blocks = [self._rows(p, f, at) for p, f in zip(profiles, found, strict=True)]
        scores = self._scores(np.concatenate(blocks))
        ends = np.cumsum([len(f.items) for f in found])
        parts = np.split(scores, ends[:-1])
        return [self._ranking(f.items, part, k) for f, part in zip(found, parts, strict=True)]

    def popular(self, k: int = 10, exclude: Collection[str] = ()) -> Ranking:
        """Recent popularity, as of `as_of`."""
        scores = self.index.decayed[POPULAR_ROW].copy()
        left_out = [self.index.codes[item] for item in exclude if item in self.index.codes]
        kept = np.setdiff1d(np.arange(len(scores), dtype=np.int32), np.array(left_out, dtype=np.int32))
        return self._ranking(kept, scores[kept].astype(np.float64), k)

    def profile(self, user_id: str) -> UserProfile | None:
        """The user as of training, or None for a user unknown then."""
        place = self._places.get(user_id)
        return None if place is None else profile_of_row(self.profiles.row(place, named=True))

    def users(self) -> list[str]:
        """Ids of all users known at training, sorted."""
        return self.profiles[USER].to_list()

    def feature_rows(self, profile: UserProfile, items: Sequence[str], at: datetime | None = None) -> Floats:
        """float32 [items, features] of the given items, ranked among the user's candidates as a request ranks them.

        An item that is no candidate of the user gets the rank it would have had as one more candidate.
        """
        found = retrieve(self.index, profile)
        codes = np.array([self.index.codes[item] for item in items], dtype=np.int32)
        missing = np.setdiff1d(codes, found.items)
        if len(missing):
            found = with_items(self.index, found, missing)
        rows = self._rows(profile, found, at)
        picked: Floats = rows[np.searchsorted(found.items, codes)]
        return picked

    def save(self, folder: Path) -> None:
        """Flat files: arrays, JSON, Parquet, LightGBM text. No pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        self.index.save(folder)
        for number, booster in enumerate(self.boosters):
            (folder / f"ranker.{number}.txt").write_text(booster.model_to_string(), encoding="utf-8")
        np.save(folder / "items.npy", self.maker.items.values, allow_pickle=False)
        self.profiles.write_parquet(folder / "profiles.parquet")
        self.catalogue.write_parquet(folder / "catalogue.parquet")
        head = {
            "feature_names": self.feature_names,
            "user_names": self.maker.user_names,
            "item_names": self.maker.items.names,
            "rankers": len(self.boosters),
        }
        (folder / HEAD).write_text(json.dumps(head, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Recommender:
        """Read what `save` wrote. It verifies nothing: call `bundle.check_bundle` and check the signature before."""
        import lightgbm

        head = json.loads((folder / HEAD).read_text(encoding="utf-8"))
        texts = [(folder / f"ranker.{n}.txt").read_text(encoding="utf-8") for n in range(head["rankers"])]
        loaded = cls(
            CandidateIndex.load(folder),
            [lightgbm.Booster(model_str=text) for text in texts],
            items=ItemTable(tuple(head["item_names"]), np.load(folder / "items.npy", allow_pickle=False)),
            user_names=tuple(head["user_names"]),
            profiles=pl.read_parquet(folder / "profiles.parquet"),
            catalogue=pl.read_parquet(folder / "catalogue.parquet"),
        )
        if loaded.feature_names != tuple(head["feature_names"]):
            raise SchemaMismatchError(_difference(tuple(head["feature_names"]), loaded.feature_names))
        return loaded

    @cached_property
    def _places(self) -> dict[str, int]:
        return {user: place for place, user in enumerate(self.users())}

    def _rows(self, profile: UserProfile, found: Retrieval, at: datetime | None) -> Floats:
        newest = max(profile.recent_times, default=0.0)
        moment = max(self.as_of.timestamp(), newest) if at is None else at.timestamp()
        return self.maker.rows(profile, found, at=moment)

    def _scores(self, rows: Floats) -> np.ndarray[Any, np.dtype[np.float64]]:
        summed = np.zeros(len(rows))
        for booster in self.boosters if len(rows) else ():  # LightGBM refuses to predict nothing
            summed += booster.predict(rows, num_threads=1)
        return summed / max(len(self.boosters), 1)

    def _ranking(self, items: Ints, scores: np.ndarray[Any, np.dtype[np.float64]], k: int) -> Ranking:
        best = np.argsort(-scores, kind="stable")[:k]
        return Ranking([self.index.item_ids[c] for c in items[best]], [float(s) for s in scores[best]])


def assemble(
    boosters: Sequence[Any],
    interactions: pl.DataFrame,
    items: pl.DataFrame | None,
    users: pl.DataFrame | None,
    user_features: pl.DataFrame,
    item_features: pl.DataFrame | None,
    *,
    as_of: datetime,
    settings: Any,
    index: CandidateIndex | None = None,
) -> Recommender:
    """A recommender as of `as_of` out of whole tables and fitted boosters; events at or after it are not read."""
    built = index or CandidateIndex.build(interactions, items, as_of=as_of, settings=settings, users=users)
    profiles = profile_frame(user_features, users, at=as_of)
    return Recommender(
        built,
        boosters,
        items=ItemTable.of(built, item_state_at(item_features, items, at=as_of)),
        user_names=user_feature_names(profiles),
        profiles=profiles,
        catalogue=items,
    )


def _difference(fitted: tuple[str, ...], made: tuple[str, ...]) -> str:
    absent = [n for n in fitted if n not in made]
    extra = [n for n in made if n not in fitted]
    return f"features differ: the ranker wants {absent or 'another order'}, this code makes {extra or 'another order'}"
