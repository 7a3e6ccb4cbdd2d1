"""One evaluation: the challenger, the champion and the baselines ranked for the same users of one holdout in time.

Here: from recommenders and events to scored models. Not here: loading them, verdicts, or Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import polars as pl

from recsys_assets.columns import USER
from recsys_assets.evaluation.metrics import (
    Popularity,
    catalogue_coverage,
    per_user,
    rankings_frame,
    slots_outside_top,
)
from recsys_assets.evaluation.splits import SLICES, Holdout, slice_truths
from recsys_assets.recommender.baselines import Baseline
from recsys_assets.recommender.profiles import UserProfile
from recsys_assets.recommender.recommender import Ranking

CHALLENGER = "challenger"
CHAMPION = "champion"
RECENT_POPULARITY = "recent_popularity"
K = 10
# Rows of all candidates of all users at once would not fit into memory.
_USERS_AT_ONCE = 256


class Ranker(Protocol):
    """What is asked of a holdout model; Recommender is one."""

    @property
    def as_of(self) -> datetime: ...
    def profile(self, user_id: str) -> UserProfile | None: ...
    def recommend_many(
        self, profiles: Sequence[UserProfile], *, k: int = 10, at: datetime | None = None
    ) -> list[Ranking]: ...


@dataclass(frozen=True)
class Scored:
    """One model's numbers: `slices` has one row for each user, by slice name; `rows` is the same for all users."""

    name: str
    rows: pl.DataFrame
    slices: dict[str, pl.DataFrame]
    coverage: float
    slots_outside_top: float


@dataclass(frozen=True)
class Reference:
    """The champion as the gate sees it. No version: there is none yet. A problem: it cannot be compared with."""

    version: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """Everything a verdict stands on, for one exact model version. `leak` says why nothing of it may be believed."""

    model_version: str
    reference: Reference
    cut: datetime
    as_of: datetime
    users: int
    models: dict[str, Scored] = field(default_factory=dict)
    leak: str | None = None


def evaluate(
    holdout: Holdout,
    *,
    model_version: str,
    challenger: Ranker,
    champion: Ranker | None,
    reference: Reference,
    baselines: Mapping[str, Baseline],
    catalogue: int,
) -> Evaluation:
    """Rank and score all models. Both recommenders get the same profiles, which are the challenger's as of the cut."""
    if champion is not None and champion.as_of > holdout.cut:
        why = f"champion {reference.version}'s holdout knows events up to {champion.as_of}, after the cut {holdout.cut}"
        champion, reference = None, Reference(reference.version, why)
    leak = None
    if challenger.as_of > holdout.cut:
        leak = f"the challenger's holdout knows events up to {challenger.as_of}, after the cut {holdout.cut}"
    users = holdout.users
    profiles = [challenger.profile(user) or _unknown(user) for user in users]
    lists = {CHALLENGER: _recommend(challenger, profiles, holdout.cut)}
    if champion is not None:
        lists[CHAMPION] = _recommend(champion, profiles, holdout.cut)
    for name, baseline in baselines.items():
        lists[name] = baseline.rank(holdout.past, users, K, as_of=holdout.cut)
    popularity = Popularity.of(holdout.past)
    known = holdout.past[USER].unique()
    truths = slice_truths(holdout.truth, known_users=known, head_items=popularity.head())
    return Evaluation(
        model_version=model_version,
        reference=reference,
        cut=holdout.cut,
        as_of=holdout.as_of,
        users=len(users),
        models={
            name: _score(name, ranked, holdout.truth, truths, popularity, catalogue) for name, ranked in lists.items()
        },
        leak=leak,
    )


def _unknown(user: str) -> UserProfile:
    """A user without a row in the snapshot is ranked as a stranger, like in serving."""
    return UserProfile(user_id=user, features={}, recent_items=(), recent_times=())


def _recommend(ranker: Ranker, profiles: Sequence[UserProfile], at: datetime) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for start in range(0, len(profiles), _USERS_AT_ONCE):
        part = profiles[start : start + _USERS_AT_ONCE]
        rankings = ranker.recommend_many(part, k=K, at=at)
        lists |= {profile.user_id: ranking.items for profile, ranking in zip(part, rankings, strict=True)}
    return lists


def _score(
    name: str,
    lists: Mapping[str, Sequence[str]],
    truth: pl.DataFrame,
    truths: Mapping[str, pl.DataFrame],
    popularity: Popularity,
    catalogue: int,
) -> Scored:
    rankings = rankings_frame(lists, k=K)
    return Scored(
        name=name,
        rows=per_user(rankings, truth, popularity, k=K),
        slices={part: per_user(rankings, truths[part], popularity, k=K) for part in SLICES},
        coverage=catalogue_coverage(rankings, catalogue, k=K),
        slots_outside_top=slots_outside_top(rankings, k=K),
    )
