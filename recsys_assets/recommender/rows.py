"""Ranking rows: the candidates of each user at a cut in time, labelled by what the user did right after it.

Here: rows of one cut. Not here: which cuts there are, or any table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER, UTC_TIME
from recsys_assets.recommender.candidates import SOURCES, retrieve
from recsys_assets.recommender.features import FeatureMaker, ItemTable
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile, profile_frame, profile_of_row
from recsys_assets.recommender.ranker import CUT, LABEL, SOURCE_FLAG
from recsys_assets.recommender.state import item_state as item_state_at
from recsys_assets.settings import TrainingSettings


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
    frames = [frame for p in chosen if (frame := _rows_of(maker, p, wanted[p.user_id], at)) is not None]
    if not frames:
        return _frame(maker, [], np.zeros(0, np.int32), at, np.zeros(0, bool), np.zeros((len(SOURCES), 0), bool), None)
    return pl.concat(frames)


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
    index = CandidateIndex.build(interactions, items, as_of=cut, settings=settings)
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


def _rows_of(maker: FeatureMaker, profile: UserProfile, wanted: set[int], at: datetime) -> pl.DataFrame | None:
    found = retrieve(maker.index, profile)
    labels = np.isin(found.items, list(wanted))
    if not labels.any() or labels.all():
        return None
    values = maker.rows(profile, found, at=at.timestamp())
    users = [profile.user_id] * len(found.items)
    return _frame(maker, users, found.items, at, labels, found.picked, values)


def _frame(
    maker: FeatureMaker,
    users: list[str],
    items: np.ndarray[tuple[int], np.dtype[np.int32]],
    at: datetime,
    labels: np.ndarray[tuple[int], np.dtype[np.bool_]],
    picked: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    values: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None,
) -> pl.DataFrame:
    block = np.zeros((0, len(maker.names)), np.float32) if values is None else values
    keys = pl.DataFrame(
        {
            USER: pl.Series(users, dtype=pl.String),
            ITEM: pl.Series([maker.index.item_ids[code] for code in items], dtype=pl.String),
            CUT: pl.Series([at] * len(users), dtype=UTC_TIME),
            LABEL: pl.Series(labels.astype(np.int8), dtype=pl.Int8),
            **{f"{SOURCE_FLAG}{s}": pl.Series(picked[n], dtype=pl.Boolean) for n, s in enumerate(SOURCES)},
        }
    )
    return keys.hstack(pl.from_numpy(block, schema={n: pl.Float32 for n in maker.names}, orient="row"))
