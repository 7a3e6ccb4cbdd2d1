"""Which days to ask a run for: those whose content is not the one in the tables.

Here: the pure decision and the name of the work. Not here: looking at files, tables or runs (sensors.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from recsys_assets.interactions.partitions import ranges


@dataclass(frozen=True)
class Arrival:
    """Consecutive days for one run. `key` changes with the days and with the content of each; it names the work, and
    the same work may be needed again."""

    first: date
    last: date
    key: str


def decide_new_days(
    arrived: Mapping[date, str],
    recorded: Mapping[date, str],
    in_flight: Collection[date],
    refused: Mapping[date, str],
) -> list[date]:
    """The days to ask for, ascending.

    `arrived` and `recorded` map a day to the digest of its content, and so does `refused`: a content that was refused
    for a day is not asked for again for that day. A day with a run in flight waits for that run's end.
    """
    return [
        day
        for day in sorted(arrived)
        if arrived[day] not in (recorded.get(day), refused.get(day)) and day not in in_flight
    ]


def group_arrivals(days: Sequence[date], arrived: Mapping[date, str]) -> list[Arrival]:
    """Consecutive days together, so that many days that come at once take one run."""
    found = []
    for first, last in ranges(days):
        contents = "\n".join(f"{day} {arrived[day]}" for day in days if first <= day <= last)
        digest = hashlib.sha256(contents.encode()).hexdigest()[:16]
        found.append(Arrival(first, last, f"{first}..{last}:{digest}" if last > first else f"{first}:{digest}"))
    return found
