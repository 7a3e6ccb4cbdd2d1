"""From logged rows to rows of the tables `exposures` and `feedback`, and the words for rows of a rolled-back model.

Here: columns that the tables have more than the logs, and keys. Not here: reading logs (logs.py), or writing a table.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

from recsys_assets.columns import DAY, EXPOSURE_ROWS, FEEDBACK_ROWS

# A request may ask for several users at once, and is copied to the shadow under the same id.
EXPOSURE_KEYS: Final = (DAY, "request_id", "variant", "user_id")
# A client that got no answer sends an event again, perhaps after midnight: the day is no part of its identity.
FEEDBACK_KEYS: Final = ("event_id",)


def exposure_rows(logged: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table, by UTC day of the answer; nothing is marked yet."""
    return logged.with_columns(_day("served_at"), rolled_back=pl.lit(False)).select(EXPOSURE_ROWS.names())


def feedback_rows(logged: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table, by UTC day of the receipt."""
    return logged.with_columns(_day("received_at")).select(FEEDBACK_ROWS.names())


def marked(model_version: str, since: datetime, until: datetime | None) -> str:
    """The SQL condition on rows of `exposures` that names what this version answered from `since` on, before `until`.

    The shadow's answers are among them. The day stands beside the time so that other days' files are not opened.
    """
    version = model_version.replace("'", "''")
    conditions = [f"model_version = '{version}'", *_side(">=", since)]
    return " AND ".join(conditions + (_side("<", until) if until else []))


def _side(than: str, at: datetime) -> list[str]:
    utc = at.astimezone(UTC)
    return [f"{DAY} {than[0]}= '{utc:%Y-%m-%d}'", f"served_at {than} '{utc:%Y-%m-%dT%H:%M:%S.%fZ}'"]


def _day(time: str) -> pl.Expr:
    return pl.col(time).dt.date().alias(DAY)
