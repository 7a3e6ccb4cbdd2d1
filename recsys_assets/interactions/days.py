"""The record of days: what each day's stored rows came from, and which days wait in quarantine.

Here: the table `interaction_days` as frames and plain values. Not here: reading or writing it.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from recsys_assets.columns import DAY
from recsys_assets.interactions.intake import Intake
from recsys_assets.interactions.sources import day_digest

TABLE: Final = "interaction_days"
STORED: Final = "stored"
QUARANTINED: Final = "quarantined"

# One row is the newest attempt at one day. `digest` covers all files of the day; a quarantined day may still have
# rows in `interactions`: those that were stored before the bad file came.
SCHEMA: Final = pl.Schema(
    {
        DAY: pl.Date(),
        "digest": pl.String(),
        "status": pl.String(),
        "rows": pl.Int64(),
        "files": pl.List(pl.String()),
        "reason": pl.String(),
        "run_id": pl.String(),
    }
)


def record_days(intake: Intake, run_id: str) -> pl.DataFrame:
    """The rows of `interaction_days` for the days of one run."""
    counted = dict(intake.good_rows.group_by(DAY).len().iter_rows())
    blocked = set(intake.blocked_days)
    rows = []
    for day in intake.days:
        files = intake.files[day]
        wrong = [str(each) for each in intake.wrong_on(day)]
        rows.append(
            (
                day,
                day_digest([file.digest for file in files]),
                QUARANTINED if day in blocked else STORED,
                int(counted.get(day, 0)),
                [file.path for file in files],
                "; ".join(wrong[:3]),
                run_id,
            )
        )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def stored_digests(record: pl.DataFrame) -> dict[date, str]:
    """What each stored day came from."""
    return dict(record.filter(pl.col("status") == STORED).select(DAY, "digest").iter_rows())


def quarantined_digests(record: pl.DataFrame) -> dict[date, str]:
    """The content of each day that was found bad; another day of the same log may be good."""
    return dict(record.filter(pl.col("status") == QUARANTINED).select(DAY, "digest").iter_rows())


def empty_days(record: pl.DataFrame) -> list[date]:
    """Days that were taken in and hold no event: nobody did anything. A day that is late or in quarantine is none."""
    return sorted(record.filter((pl.col("status") == STORED) & (pl.col("rows") == 0))[DAY])
