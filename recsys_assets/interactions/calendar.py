"""Event time: the moment up to which everything is known. There is no wall clock in it.

Here: `as_of`. Not here: partitions (partitions.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta


def as_of(days: Sequence[date]) -> datetime:
    """Midnight UTC after the newest of these days: rows of those days lie strictly before it."""
    if not days:
        raise ValueError("no day has rows yet, so there is no as_of: materialize `interactions` first")
    return midnight(max(days) + timedelta(days=1))


def midnight(day: date) -> datetime:
    """The first moment of a day, UTC."""
    return datetime.combine(day, time.min, tzinfo=UTC)
