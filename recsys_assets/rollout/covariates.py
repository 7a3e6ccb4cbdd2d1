"""What was known of a visitor before the release, and how it predicts the outcome: less noise, the same error rates.

Here: pre-release rates from the logs, and a coefficient that only ever uses earlier visitors. Not here: any outcome.

Source: [D13] Deng, Xu, Kohavi, Walker: Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data (2013). docs/statistics.md says how much it gave on real clicks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.columns import UTC_TIME
from recsys_assets.records import MetricPlan
from recsys_assets.rollout.outcomes import Logs, Scope, counting_events
from recsys_assets.rollout.sequential import Floats

# A visitor with one answer before the release tells little of a rate: as if this many average answers came on top.
SHRINKAGE: Final = 1.0
# So many visitors with a history stand before the first prediction.
MIN_HISTORY: Final = 50


def known_before(logs: Logs, scope: Scope, metric: MetricPlan) -> pl.DataFrame:
    """visitor_id, before: clicks for each answer before the canary began, less the average, shrunk towards it.

    Only rows older than the first canary answer: nothing that the release did can be among them, so the covariate is
    the same in both arms by the assignment's hash. A visitor without any has no row, which counts as average.
    """
    empty = pl.DataFrame(schema={"visitor_id": pl.String, "before": pl.Float64})
    if not scope.plan.history_seconds or logs.exposures is None or logs.feedback is None or scope.start is None:
        return empty
    since = scope.start - timedelta(seconds=scope.plan.history_seconds)
    in_time = pl.lit(since, dtype=UTC_TIME), pl.lit(scope.start, dtype=UTC_TIME)
    answers = logs.exposures.filter(
        (pl.col("served_at") >= in_time[0])
        & (pl.col("served_at") < in_time[1])
        & (pl.col("variant") != "shadow")
        & pl.col("visitor_id").is_not_null()
    ).select("request_id", "visitor_id", "items")
    acts = counting_events(logs.feedback.filter(pl.col("received_at") < in_time[1]), metric)
    clicked = (
        acts.join(answers, on="request_id")
        .filter(pl.col("item_id").is_in(pl.col("items")))
        .group_by("request_id")
        .agg(clicks=pl.col("item_id").n_unique())
    )
    by_visitor = (
        answers.join(clicked, on="request_id", how="left")
        .group_by("visitor_id")
        .agg(pl.col("clicks").fill_null(0).sum(), answers=pl.len())
    )
    if by_visitor.is_empty():
        return empty
    average = int(by_visitor["clicks"].sum()) / int(by_visitor["answers"].sum())
    shrunk = (pl.col("clicks") - average * pl.col("answers")) / (pl.col("answers") + SHRINKAGE)
    return by_visitor.select("visitor_id", before=shrunk.cast(pl.Float64))


def expected_from(before: Floats, known: Floats, outcome: Floats) -> Floats:
    """By how much each visitor's outcome is expected to differ from the average, by earlier visitors only.

    `before` is the covariate, `known` 1.0 where the visitor has one. The coefficient at a visitor is the least-squares
    slope over those who came before, so each prediction is fixed before its outcome is seen: a martingale stays one.
    """
    centred = known * (before - _earlier_mean(before, known))
    residual = known * (outcome - _earlier_mean(outcome, known))
    moment, square, count = (_earlier_sum(x) for x in (centred * residual, centred**2, known))
    slope = np.divide(moment, square, out=np.zeros_like(moment), where=(square > 0) & (count >= MIN_HISTORY))
    return slope * centred


def _earlier_sum(values: Floats) -> Floats:
    summed: Floats = np.concatenate(([0.0], np.cumsum(values)[:-1]))
    return summed


def _earlier_mean(values: Floats, known: Floats) -> Floats:
    mean: Floats = _earlier_sum(values * known) / np.maximum(_earlier_sum(known), 1.0)
    return mean
