"""The ladder of answers: full model -> without the online store -> cached top-k -> popular, each told by its name.

Here: which rung answers one question, given what the online store said. Not here: waiting for the store, HTTP, a clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from recsys_assets.columns import EVENT_TIME
from recsys_assets.features.as_of_join import expire_row
from recsys_assets.recommender.profiles import RECENT_ITEMS, RECENT_TIMES, UserProfile
from recsys_assets.recommender.recommender import Ranking

Rung = Literal["full", "no_online_store", "cached", "popular"]
RUNGS: Final[tuple[Rung, ...]] = ("full", "no_online_store", "cached", "popular")

# What arithmetic, a lookup or native code raises on data it did not expect. Anything else is a defect and answers 500.
RANKER_FAILURES: Final = (ArithmeticError, LookupError, ValueError, TypeError, MemoryError, RuntimeError, OSError)


class Ranks(Protocol):
    """What the ladder needs of a Recommender."""

    @property
    def as_of(self) -> datetime: ...
    def recommend(self, profile: UserProfile, *, k: int = 10, at: datetime | None = None) -> Ranking: ...
    def popular(self, k: int = 10, exclude: Collection[str] = ()) -> Ranking: ...
    def profile(self, user_id: str) -> UserProfile | None: ...


@dataclass(frozen=True)
class Lookup:
    """What the online store said about a user: a row, nothing (`row` and `failure` None), or why it did not answer."""

    row: Mapping[str, Any] | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Answer:
    """One ranking with the rung that gave it. `flags` name everything that was not as usual."""

    user_id: str
    items: Sequence[str]
    scores: Sequence[float]
    rung: Rung
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What only the ranker can answer, and what is known about it already."""

    profile: UserProfile
    k: int
    at: datetime
    rung: Rung
    flags: tuple[str, ...]
    state: int


@dataclass(frozen=True)
class _Kept:
    """A user's last ranking, with the state of knowledge that it came from, and whether the store had a part in it."""

    state: int
    ranking: Ranking
    with_store: bool


class Ladder:
    """Answers always: each rung needs less than the one above it."""

    def __init__(self, recommender: Ranks, *, cached_users: int = 50_000) -> None:
        self._recommender, self._cached_users = recommender, cached_users
        self._cache: OrderedDict[str, _Kept] = OrderedDict()

    def answer(self, user_id: str, k: int, lookup: Lookup, *, late: bool = False) -> Answer:
        """The best answer possible, ranked here and now. `late`: the time is used up, so the ranker is left out."""
        opened = self.open(user_id, k, lookup)
        if isinstance(opened, Answer):
            return opened
        if late:
            return self.close(opened, None, "late")
        try:
            return self.close(opened, self.rank(opened))
        except RANKER_FAILURES:
            return self.close(opened, None, "ranker_failed")

    def open(self, user_id: str, k: int, lookup: Lookup) -> Answer | Question:
        """The answer where it needs no ranker, else what to ask it."""
        at = self._moment(lookup)
        kept = self._kept(user_id, k)
        if lookup.failure is not None and kept:
            # What the store said last is more than what the bundle knows: the snapshot is never the newer one.
            last = ("last_known",) if kept.with_store else ()
            return self._again(user_id, k, kept, "no_online_store", (lookup.failure, *last))
        profile, rung, flags = self._profile(user_id, lookup, at)
        if profile is None:
            return self._popular(user_id, k, (), flags)
        state = _state(profile, at)
        if kept and kept.state == state:
            # Nothing is known that was not known then, so the ranker would say the same again.
            return self._again(user_id, k, kept, rung, flags)
        return Question(profile, k, at, rung, flags, state)

    def rank(self, question: Question) -> Ranking:
        """Ask the ranker; raises one of RANKER_FAILURES. The only part that another thread may run."""
        ranking = self._recommender.recommend(question.profile, k=question.k, at=question.at)
        if not ranking.items or not all(map(math.isfinite, ranking.scores)):
            raise ValueError("the ranker gave no item, or a score that is no number")
        return ranking

    def close(self, question: Question, ranking: Ranking | None, why: str = "") -> Answer:
        """The answer with this ranking, or without one for this reason."""
        user_id, k, flags = question.profile.user_id, question.k, question.flags
        if ranking is not None:
            self._keep(user_id, _Kept(question.state, ranking, question.rung == "full"))
            return Answer(user_id, ranking.items, ranking.scores, question.rung, flags)
        if kept := self._kept(user_id, k):
            return self._again(user_id, k, kept, "cached", (*flags, why))
        return self._popular(user_id, k, question.profile.recent_items, (*flags, why))

    def answer_given(self, profile: UserProfile, k: int) -> Answer:
        """Rank a profile that came with the request: nothing is merged, cached or excused."""
        ranking = self._recommender.recommend(profile, k=k)
        return Answer(profile.user_id, ranking.items, ranking.scores, "full", ("given_profile",))

    def _moment(self, lookup: Lookup) -> datetime:
        """Event time, never the wall clock: the newest midnight up to which anything is known."""
        as_of = self._recommender.as_of
        known = lookup.row.get(EVENT_TIME) if lookup.row else None
        return max(as_of, known) if isinstance(known, datetime) else as_of

    def _profile(self, user_id: str, lookup: Lookup, at: datetime) -> tuple[UserProfile | None, Rung, tuple[str, ...]]:
        snapshot = self._recommender.profile(user_id)
        if lookup.failure is not None:
            # Without the store nobody knows whether this user is new: not excused as unknown.
            flags = (lookup.failure,) if snapshot else (lookup.failure, "not_in_snapshot")
            return snapshot, "no_online_store", flags
        if lookup.row is None:
            # Everybody with a past in the bundle has a row: a store without it is behind the model, or lost it.
            lost = snapshot is not None and bool(snapshot.recent_items)
            return snapshot, "no_online_store" if lost else "full", ("no_online_row" if snapshot else "unknown_user",)
        try:
            merged = merge(user_id, snapshot, lookup.row, at=at)
        except RANKER_FAILURES:
            return snapshot, "no_online_store", ("online_row_broken",)
        if merged is None:
            return snapshot, "no_online_store", ("online_row_stale",)
        return merged, "full", ()

    def _kept(self, user_id: str, k: int) -> _Kept | None:
        kept = self._cache.get(user_id)
        return kept if kept and len(kept.ranking.items) >= k else None

    def _again(self, user_id: str, k: int, kept: _Kept, rung: Rung, flags: tuple[str, ...]) -> Answer:
        if user_id in self._cache:
            self._cache.move_to_end(user_id)
        return Answer(user_id, kept.ranking.items[:k], kept.ranking.scores[:k], rung, flags)

    def _keep(self, user_id: str, kept: _Kept) -> None:
        self._cache[user_id] = kept
        self._cache.move_to_end(user_id)
        if len(self._cache) > self._cached_users:
            self._cache.popitem(last=False)

    def _popular(self, user_id: str, k: int, seen: Sequence[str], flags: tuple[str, ...]) -> Answer:
        ranking = self._recommender.popular(k, exclude=set(seen))
        return Answer(user_id, ranking.items, ranking.scores, "popular", flags)


def merge(user_id: str, snapshot: UserProfile | None, row: Mapping[str, Any], *, at: datetime) -> UserProfile | None:
    """The online row, brought forward to `at`, over the bundle's snapshot; None where the row is the older one.

    Raises one of RANKER_FAILURES where the row makes no sense.
    """
    items = [str(item) for item in row.get(RECENT_ITEMS) or ()]
    times = [float(time) for time in row.get(RECENT_TIMES) or ()]
    if len(items) != len(times):
        raise ValueError(f"{len(items)} recent items and {len(times)} times")
    if not all(math.isfinite(number) for number in (*times, *row.values()) if isinstance(number, int | float)):
        raise ValueError("a number that is none")
    if snapshot and snapshot.recent_times and (not times or times[-1] < snapshot.recent_times[-1]):
        return None
    numbers = {name: value for name, value in row.items() if _is_number(value)}
    # The windows of a row that was written days ago expire here exactly as they do in the training rows.
    current = expire_row(numbers, feature_time=row[EVENT_TIME], at=at)
    features = {name: float(value) for name, value in current.items() if _is_number(value)}
    return UserProfile(user_id, {**(snapshot.features if snapshot else {}), **features}, items, times)


def _state(profile: UserProfile, at: datetime) -> int:
    """A number that changes when anything changes that the ranker sees of this user."""
    return hash((at, *profile.recent_items, *profile.recent_times, *profile.features.items()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
