"""Ranking rows: the candidates of each user at a cut in time, labelled by what the user did right after it.

Here: rows of one cut. Not here: which cuts there are, or any table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER, UTC_TIME
from recsys_assets.recommender.candidates import SOURCES, retrieve
from recsys_assets.recommender.features import FeatureMaker, ItemTable
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile, profile_frame, profile_of_row
from recsys_assets.recommender.ranker import CUT, LABEL, SOURCE_FLAG
from recsys_assets.recommender.state import item_state as item_state_at
from recsys_assets.settings import TrainingSettings


@dataclass(frozen=True)
class _List:
    """One user's candidates at a cut."""

    user_id: str
    items: npt.NDArray[np.int32]
    labels: npt.NDArray[np.bool_]
    picked: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]


def ranking_rows(
    index: CandidateIndex,
    profiles: Sequence[UserProfile],
    positives: pl.DataFrame,
    item_state: pl.DataFrame,
    *,
    user_names: Sequence[str],
    at: datetime,
    settings: TrainingSettings,
) -> pl.DataFrame:
    """One row is one candidate of one user at the cut `at`: user_id, item_id, cut, label, from_<source>, features.

    `positives` has user_id and item_id of the events after the cut. Users without a positive candidate are left out:
    a group of equal labels teaches a ranker nothing. Above `max_users_per_cut` a seeded sample of users is taken.
    """
    maker = FeatureMaker(index, ItemTable.of(index, item_state), tuple(user_names))
    wanted = _positive_codes(index, positives)
    chosen = sample_users([p for p in profiles if p.user_id in wanted], settings.max_users_per_cut, settings.seed)
    lists = [made for p in chosen if (made := _list_of(maker, p, wanted[p.user_id], at)) is not None]
    return _frame(maker, lists, at)


def rows_at_cut(
    interactions: pl.DataFrame,
    items: pl.DataFrame | None,
    users: pl.DataFrame | None,
    user_features: pl.DataFrame,
    item_features: pl.DataFrame | None,
    *,
    cut: datetime,
    settings: TrainingSettings,
) -> pl.DataFrame:
    """Ranking rows of one cut out of whole tables: nothing at or after the cut is read, but for the labels."""
    index = CandidateIndex.build(interactions, items, as_of=cut, settings=settings, users=users)
    inside = (pl.col(EVENT_TIME) >= cut) & (pl.col(EVENT_TIME) < cut + timedelta(days=settings.label_days))
    positives = interactions.filter(inside).select(USER, ITEM).unique()
    frame = profile_frame(user_features, users, at=cut, user_ids=positives[USER].to_list())
    return ranking_rows(
        index,
        [profile_of_row(row) for row in frame.iter_rows(named=True)],
        positives,
        item_state_at(item_features, items, at=cut),
        user_names=user_feature_names(frame),
        at=cut,
        settings=settings,
    )


def user_feature_names(frame: pl.DataFrame) -> tuple[str, ...]:
    """The profile features in a `profile_frame`, in column order."""
    return tuple(c for c in frame.columns if frame.schema[c].is_numeric())


def sample_users(profiles: list[UserProfile], most: int, seed: int) -> list[UserProfile]:
    """At most `most` profiles, the same ones for the same seed, in their order."""
    if len(profiles) <= most:
        return profiles
    places = np.sort(np.random.default_rng(seed).choice(len(profiles), size=most, replace=False))
    return [profiles[place] for place in places]


def _positive_codes(index: CandidateIndex, positives: pl.DataFrame) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for user, item in positives.select(USER, ITEM).iter_rows():
        if item in index.codes:
            found.setdefault(user, set()).add(index.codes[item])
    return found


def _list_of(maker: FeatureMaker, profile: UserProfile, wanted: set[int], at: datetime) -> _List | None:
    found = retrieve(maker.index, profile)
    labels = np.isin(found.items, list(wanted))
    if not labels.any() or labels.all():
        return None
    return _List(profile.user_id, found.items, labels, found.picked, maker.rows(profile, found, at=at.timestamp()))


def _frame(maker: FeatureMaker, lists: Sequence[_List], at: datetime) -> pl.DataFrame:
    """One frame of all lists: a frame for each user would cost more than its retrieval."""
    sizes = [len(made.items) for made in lists]
    rows, items = sum(sizes), np.concatenate([np.zeros(0, np.int32), *(made.items for made in lists)])
    labels = np.concatenate([np.zeros(0, np.bool_), *(made.labels for made in lists)])
    picked = np.concatenate([np.zeros((len(SOURCES), 0), np.bool_), *(made.picked for made in lists)], axis=1)
    users = pl.Series([made.user_id for made in lists], dtype=pl.String)
    owner = np.repeat(np.arange(len(lists)), sizes)
    keys = {
        USER: users.gather(owner),
        ITEM: pl.Series(maker.index.item_ids, dtype=pl.String).gather(items),
        CUT: pl.repeat(at, rows, dtype=UTC_TIME, eager=True),
        LABEL: pl.Series(labels.astype(np.int8), dtype=pl.Int8),
        **{f"{SOURCE_FLAG}{s}": pl.Series(picked[n], dtype=pl.Boolean) for n, s in enumerate(SOURCES)},
    }
    return pl.DataFrame(keys | dict(zip(maker.names, _columns(lists, rows, len(maker.names)), strict=True)))


def _columns(lists: Sequence[_List], rows: int, count: int) -> list[pl.Series]:
    """The feature columns, each list's block copied once to where it belongs."""
    block = np.empty((count, rows), dtype=np.float32)
    start = 0
    for made in lists:
        block[:, start : start + len(made.items)] = made.values.T
        start += len(made.items)
    return [pl.Series(column, dtype=pl.Float32) for column in block]
