"""Evidence for the probes: rows made again without a future, feature rows counted again, scores looked at.

Here: gathering numbers from frames. Not here: judging them (probes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from recsys_assets.columns import EVENT_TIME, ITEM, USER
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import profile_frame, profile_of_row
from recsys_assets.recommender.ranker import feature_columns
from recsys_assets.recommender.rows import ranking_rows, user_feature_names
from recsys_assets.recommender.state import item_state
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.cuts import CUT, LABEL, Cuts, rows_of
from recsys_assets.training.fitting import predict
from recsys_assets.training.probes import LeakEvidence, RowCounts, ScoreEvidence
from recsys_assets.training.quality import constant_share, single_feature_aucs, some_lists

if TYPE_CHECKING:
    from lightgbm import Booster

SAMPLED_USERS = 100
SAMPLED_FEATURE_ROWS = 500
# Rows in which a leak or a degenerate score shows as surely as in millions, which would take minutes to sort and score.
LOOKED_AT = 500_000
RECENT_TIMES, TOTAL = "recent_times", "events_total"


def leak_evidence(rows: pl.DataFrame, sources: Mapping[str, Any], *, settings: TrainingSettings) -> LeakEvidence:
    """Look for the future in a sample: one cut is made again from tables that end at it."""
    cuts = rows[CUT].unique().sort()
    rebuilt = 0
    differing: dict[str, int] = {}
    if len(cuts):
        rebuilt, differing = _rebuild(rows, sources, cut=cuts[len(cuts) // 2], settings=settings)
    counted = [
        _recount(sources["user_features"], sources["interactions"], key=USER),
        _recount(sources["item_features"], sources["interactions"], key=ITEM),
    ]
    return LeakEvidence(
        rebuilt=rebuilt,
        differing=differing,
        recounted=sum(n for n, _ in counted),
        knowing_more=sum(more for _, more in counted),
        aucs=single_feature_aucs(some_lists(rows, LOOKED_AT), list(feature_columns(rows))),
    )


def count_rows(rows: pl.DataFrame, cuts: Cuts) -> dict[str, RowCounts]:
    """What the holdout fit and the release fit get."""
    return {
        name: _counts(rows_of(rows, chosen)) for name, chosen in (("holdout", cuts.holdout), ("release", cuts.release))
    }


def score_evidence(boosters: Sequence[Booster], rows: pl.DataFrame) -> ScoreEvidence:
    """How the boosters tell these rows apart."""
    rows = some_lists(rows, LOOKED_AT)
    scores = predict(boosters, rows)
    finite = np.isfinite(scores)
    return ScoreEvidence(
        scored=len(scores),
        not_finite=int((~finite).sum()),
        distinct=len(np.unique(scores[finite])),
        flat_lists_share=constant_share(rows, scores),
    )


def _counts(rows: pl.DataFrame) -> RowCounts:
    return RowCounts(rows.height, int((rows[LABEL] > 0).sum()), rows.select(USER, CUT).n_unique())


def _rebuild(
    rows: pl.DataFrame, sources: Mapping[str, Any], *, cut: datetime, settings: TrainingSettings
) -> tuple[int, dict[str, int]]:
    """Rows of a sample of users at one cut, made again with nothing at or after the cut in any table."""
    users = rows.filter(pl.col(CUT) == cut)[USER].unique().sort().head(SAMPLED_USERS)
    stored = rows.filter((pl.col(CUT) == cut) & pl.col(USER).is_in(users.implode()))
    past = sources["interactions"].filter(pl.col(EVENT_TIME) < cut)
    known = {name: sources[name].filter(pl.col(EVENT_TIME) <= cut) for name in ("user_features", "item_features")}
    frame = profile_frame(known["user_features"], sources["users"], at=cut, user_ids=users.to_list())
    again = ranking_rows(
        CandidateIndex.build(past, sources["items"], as_of=cut, settings=settings, users=sources["users"]),
        [profile_of_row(row) for row in frame.iter_rows(named=True)],
        stored.filter(pl.col(LABEL) > 0).select(USER, ITEM),
        item_state(known["item_features"], sources["items"], at=cut),
        user_names=user_feature_names(frame),
        at=cut,
        settings=settings,
    )
    return again.height, differences(stored, again)


def differences(stored: pl.DataFrame, again: pl.DataFrame) -> dict[str, int]:
    """Values by feature that differ between two makings of the same rows; `candidates` counts rows in one of them only.

    Sums of 32-bit floats taken in another order may differ in their last digits: that is not a leak.
    """
    keys = [USER, ITEM]
    both = stored.join(again, on=keys, how="inner", suffix="_again")
    strangers = stored.height + again.height - 2 * both.height
    counted = both.select(
        (~_close(pl.col(name).cast(pl.Float64), pl.col(f"{name}_again").cast(pl.Float64))).sum().alias(name)
        for name in feature_columns(stored)
    )
    found = {name: int(n) for name, n in zip(counted.columns, counted.row(0), strict=True) if n}
    return found | ({"candidates": strangers} if strangers else {})


def _close(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    one, two = left.fill_nan(None), right.fill_nan(None)
    same = (one - two).abs() <= 1e-3 * pl.max_horizontal(one.abs(), two.abs()) + 1e-5
    return same.fill_null(False) | (one.is_null() & two.is_null())


def _recount(features: pl.DataFrame, interactions: pl.DataFrame, *, key: str) -> tuple[int, int]:
    """(feature rows looked at, those that count more events than there were before them)."""
    if TOTAL not in features.columns or features.is_empty():
        return 0, 0
    sample = features.sort(key, EVENT_TIME).gather_every(max(1, features.height // SAMPLED_FEATURE_ROWS))
    events = interactions.select(key, pl.col(EVENT_TIME).alias("happened"))
    before = (
        sample.select(key, EVENT_TIME)
        .join(events, on=key)
        .filter(pl.col("happened") < pl.col(EVENT_TIME))
        .group_by(key, EVENT_TIME)
        .agg(pl.len().alias("before"))
    )
    checked = sample.join(before, on=[key, EVENT_TIME], how="left").with_columns(pl.col("before").fill_null(0))
    more = pl.col(TOTAL) > pl.col("before")
    if RECENT_TIMES in checked.columns:
        newest = pl.col(RECENT_TIMES).list.max()
        more |= (newest >= pl.col(EVENT_TIME).dt.timestamp("us") / 1_000_000).fill_null(False)
    return checked.height, checked.filter(more).height
