"""Column names and row schemas at every hand-off between rooms.

Here: names and Polars schemas only. Not here: reading, checking or computing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

USER: Final = "user_id"
ITEM: Final = "item_id"
EVENT_TIME: Final = "event_time"
DAY: Final = "day"
VALUE: Final = "value"
EVENT_TYPE: Final = "event_type"

UTC_TIME: Final = pl.Datetime("us", "UTC")


def _schema(types: Mapping[str, Any]) -> pl.Schema:
    # Polars takes classes and instances as types side by side; a type checker does not.
    return pl.Schema(types)


# One row is one event of one user with one item. Identifiers are strings throughout, so that a leading zero survives.
INTERACTIONS: Final = _schema(
    {USER: pl.String, ITEM: pl.String, EVENT_TIME: UTC_TIME, DAY: pl.Date, VALUE: pl.Float64, EVENT_TYPE: pl.String}
)

# One row is one answer that a model server gave. `variant` is stable, canary or shadow; `rung` a step of the ladder;
# `flags` name everything about it that was not as usual, such as unknown_user.
EXPOSURES: Final = _schema(
    {
        "request_id": pl.String,
        "served_at": UTC_TIME,
        "visitor_id": pl.String,
        "user_id": pl.String,
        "model_version": pl.String,
        "variant": pl.String,
        "rung": pl.String,
        "items": pl.List(pl.String),
        "scores": pl.List(pl.Float64),
        "latency_ms": pl.Float64,
        "flags": pl.List(pl.String),
    }
)

# One row is one event that a client reported about an answer; `event_id` makes it count once.
FEEDBACK: Final = _schema(
    {
        "event_id": pl.String,
        "request_id": pl.String,
        "item_id": pl.String,
        "event_type": pl.String,
        "received_at": UTC_TIME,
    }
)

# The same rows in the tables `exposures` and `feedback`, by UTC day of served_at and received_at. `rolled_back`: the
# model that gave the answer was taken back for harm, so a training may want to leave the row out.
EXPOSURE_ROWS: Final = _schema({**EXPOSURES, DAY: pl.Date, "rolled_back": pl.Boolean})
FEEDBACK_ROWS: Final = _schema({**FEEDBACK, DAY: pl.Date})

# One row is one reported event that a training learned from, as an interaction, and beside it what the answer was that
# it came of: `position` (from 1) among the `shown` items, with the score it had there.
TRAINING_FEEDBACK: Final = _schema(
    {
        **INTERACTIONS,
        "event_id": pl.String,
        "request_id": pl.String,
        "model_version": pl.String,
        "variant": pl.String,
        "rung": pl.String,
        "position": pl.Int64,
        "shown": pl.Int64,
        "score": pl.Float64,
        "rolled_back": pl.Boolean,
    }
)

# One row is one release that was rolled back: what its version answered from `since` on was of a bad model, up to
# `until`, when a person let the version be tried once more; null where nobody has.
EXPOSURE_MARKS: Final = _schema(
    {"release_id": pl.String, "model_version": pl.String, "since": UTC_TIME, "until": UTC_TIME}
)

# One row is one request that the gateway answered, failed ones included: what was really served, counted there.
GATEWAY_REQUESTS: Final = _schema(
    {
        "request_id": pl.String,
        "served_at": UTC_TIME,
        "visitor_id": pl.String,
        "variant": pl.String,
        "cluster": pl.String,
        "status": pl.Int64,
        "duration_ms": pl.Float64,
        "model_version": pl.String,
        "rung": pl.String,
    }
)
