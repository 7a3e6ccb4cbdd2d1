"""Reported feedback as interactions: events on items that were really shown, by whom, where, and of which model.

Here: joining and leaving out, on frames, with a count for every reason. Not here: collecting (serving/), or pinning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, ITEM, TRAINING_FEEDBACK, USER, VALUE
from recsys_assets.settings import FeedbackUse

Frame = Callable[[], pl.DataFrame]

# Why an event is left out; each event counts for the first reason that holds.
AFTER_AS_OF: Final = "after_as_of"
OTHER_TYPE: Final = "of_other_type"
NOT_SHOWN: Final = "not_shown"
SEVERAL_USERS: Final = "of_several_users"
ROLLED_BACK: Final = "rolled_back"
KNOWN: Final = "known_already"
REASONS: Final = (AFTER_AS_OF, OTHER_TYPE, NOT_SHOWN, SEVERAL_USERS, ROLLED_BACK, KNOWN)


@dataclass(frozen=True)
class Learned:
    """`events` are rows of columns.TRAINING_FEEDBACK; `left_out` counts the other events by every one of REASONS."""

    events: pl.DataFrame
    left_out: dict[str, int]


def learned(exposures: Frame, feedback: Frame, interactions: Frame, *, as_of: datetime, wanted: FeedbackUse) -> Learned:
    """Feedback joined with the answer it was about. What an event needs not is not read.

    Point in time: an event is known from its receipt on, so what came at or after `as_of` is not there yet. A shadow's
    answer was shown to nobody. An event that the interactions hold as well (same user, item and day) counts once.
    """
    counted = dict.fromkeys(REASONS, 0)
    rows = _keep(feedback(), pl.col("received_at") < as_of, AFTER_AS_OF, counted)
    rows = _keep(rows, pl.col(EVENT_TYPE).is_in(list(wanted.event_types)), OTHER_TYPE, counted)
    if rows.is_empty():
        return Learned(TRAINING_FEEDBACK.to_frame(), counted)
    shown = rows.join(_shown(exposures(), rows), on=["request_id", ITEM], how="left")
    shown = _keep(shown, pl.col("users").is_not_null(), NOT_SHOWN, counted)
    shown = _keep(shown, pl.col("users") == 1, SEVERAL_USERS, counted)
    if not wanted.include_rolled_back:
        shown = _keep(shown, ~pl.col("rolled_back"), ROLLED_BACK, counted)
    events = shown.with_columns(
        pl.col("received_at").alias(EVENT_TIME),
        pl.col("received_at").dt.date().alias(DAY),
        pl.lit(None, pl.Float64).alias(VALUE),
    )
    there = interactions().select(USER, ITEM, DAY).unique().with_columns(there=True)
    events = events.join(there, on=[USER, ITEM, DAY], how="left")
    events = _keep(events, pl.col("there").is_null(), KNOWN, counted)
    return Learned(
        events.select(TRAINING_FEEDBACK.names()).cast(TRAINING_FEEDBACK).sort(EVENT_TIME, "event_id"), counted
    )


def with_feedback(interactions: pl.DataFrame, taken: Learned | None) -> pl.DataFrame:
    """The interactions and, behind them, what was learned from feedback, in the columns of interactions."""
    if taken is None or taken.events.is_empty():
        return interactions
    return pl.concat([interactions, taken.events.select(interactions.columns).cast(interactions.schema)])


def _keep(rows: pl.DataFrame, good: pl.Expr, reason: str, counted: dict[str, int]) -> pl.DataFrame:
    kept = rows.filter(good)
    counted[reason] += rows.height - kept.height
    return kept


def _shown(exposures: pl.DataFrame, about: pl.DataFrame) -> pl.DataFrame:
    """One row for each item of the answers that the events are about: who saw it and where; `users` counts them.

    A request that was tried again may have two answers: it is of a bad model if either is.
    """
    answers = exposures.filter(pl.col("variant") != "shadow").join(about, on="request_id", how="semi")
    items = (
        answers.sort("served_at")
        .with_columns(position=pl.int_ranges(1, pl.col("items").list.len() + 1), shown=pl.col("items").list.len())
        .explode("items", "scores", "position", empty_as_null=True)
        .rename({"items": ITEM, "scores": "score"})
        .drop_nulls(ITEM)
    )
    kept = ("model_version", "variant", "rung", "position", "shown", "score")
    return items.group_by("request_id", ITEM, maintain_order=True).agg(
        pl.first(USER), *map(pl.first, kept), pl.any("rolled_back"), users=pl.n_unique(USER)
    )
