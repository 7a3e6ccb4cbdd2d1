"""Which days of features were made from rows that have been replaced since.

Here: the pure decision. Not here: Dagster's record of what was made when (sensors.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def behind_days(rows: Mapping[str, int], features: Sequence[Mapping[str, int]]) -> list[str]:
    """The days (ISO dates) whose features are older than rows of an earlier day, ascending.

    `rows` and each view of `features` map a day to when it was made last, as a number that grows. Windows and lists
    reach back, so rows of one day are in the features of all later days. A day whose features are missing, or older
    than its own rows, is left out: taking it in (`ingest`) makes them.
    """
    found, newest = [], 0
    for day in sorted(rows):
        made = min(view.get(day, 0) for view in features)
        if rows[day] < made < newest:
            found.append(day)
        newest = max(newest, rows[day])
    return found
