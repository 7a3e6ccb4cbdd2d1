"""The record of days: what each day's stored rows came from, and which days wait in quarantine.

Here: the table `interaction_days` as frames and plain values. Not here: reading or writing it.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl

from recsys_assets.columns import DAY, UTC_TIME
from recsys_assets.interactions.contract import Rule
from recsys_assets.interactions.intake import Intake
from recsys_assets.interactions.sources import day_digest
from recsys_assets.settings import DataSettings

TABLE: Final = "interaction_days"
STORED: Final = "stored"
QUARANTINED: Final = "quarantined"

# One row is the newest attempt at one day. `digest` covers all files of the day; a quarantined day may still have
# rows in `interactions`: those that were stored before the bad file came. `rules` are those that it broke, `judged_by`
# names the settings that it was judged by, `at` is when; of a stored content, when it was stored first.
SCHEMA: Final = pl.Schema(
    {
        DAY: pl.Date(),
        "digest": pl.String(),
        "status": pl.String(),
        "rows": pl.Int64(),
        "files": pl.List(pl.String()),
        "reason": pl.String(),
        "run_id": pl.String(),
        "rules": pl.List(pl.String()),
        "judged_by": pl.String(),
        "at": UTC_TIME,
    }
)
# How long an event may lie in the future before it is looked at again whether it still does.
PATIENCE: Final = timedelta(days=1)


def judged_by(data: DataSettings) -> str:
    """Changes with every setting of `data` by which a day is judged: what was refused may then be accepted."""
    shown = data.model_dump_json(exclude={"start_date", "end_date", "items", "users"})
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def upgraded(record: pl.DataFrame) -> pl.DataFrame:
    """A record that was written before some of the columns existed, with nulls in those."""
    lacking = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in record.columns]
    return record.with_columns(lacking).select(SCHEMA.names())


def record_days(intake: Intake, run_id: str, *, judged_by: str, at: datetime) -> pl.DataFrame:
    """The rows of `interaction_days` for the days of one run."""
    counted = dict(intake.good_rows.group_by(DAY).len().iter_rows())
    blocked = set(intake.blocked_days)
    rows = []
    for day in intake.days:
        files = intake.files[day]
        wrong = list(intake.wrong_on(day))
        rows.append(
            (
                day,
                day_digest([file.digest for file in files]),
                QUARANTINED if day in blocked else STORED,
                int(counted.get(day, 0)),
                [file.path for file in files],
                "; ".join(map(str, wrong[:3])),
                run_id,
                sorted({each.rule.value for each in wrong}),
                judged_by,
                at,
            )
        )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def since_first_stored(rows: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The same rows, where a day that holds the content that it held before keeps that moment."""
    held = upgraded(before).filter(pl.col("status") == STORED).select(DAY, "digest", "status", first="at")
    joined = rows.join(held, on=[DAY, "digest", "status"], how="left", maintain_order="left")
    return joined.with_columns(at=pl.coalesce("first", "at")).drop("first")


def stored_digests(record: pl.DataFrame) -> dict[date, str]:
    """What each stored day came from."""
    return dict(record.filter(pl.col("status") == STORED).select(DAY, "digest").iter_rows())


def refused_digests(record: pl.DataFrame, data: DataSettings, now: datetime) -> dict[date, str]:
    """The content that was refused for each day, while what it was judged by is the same.

    Other settings judge anew. So does a day that was stored since, among those whose volume this day was compared with;
    and an event of the future is looked at again after a day.
    """
    record = upgraded(record)
    stored = record.filter(pl.col("status") == STORED).select(DAY, "at").drop_nulls().rows()
    refused = record.filter((pl.col("status") == QUARANTINED) & (pl.col("judged_by") == judged_by(data)))
    return {
        row[DAY]: row["digest"]
        for row in refused.iter_rows(named=True)
        if not _has_another_yardstick(row, stored, data.volume_trailing_days)
        and not (Rule.FUTURE.value in row["rules"] and now - row["at"] > PATIENCE)
    }


def _has_another_yardstick(row: dict[str, Any], stored: list[tuple[date, datetime]], trailing_days: int) -> bool:
    if Rule.VOLUME.value not in row["rules"]:
        return False
    since = row[DAY] - timedelta(days=trailing_days)
    return any(since <= day < row[DAY] and at > row["at"] for day, at in stored)


def empty_days(record: pl.DataFrame) -> list[date]:
    """Days that were taken in and hold no event: nobody did anything. A day that is late or in quarantine is none."""
    return sorted(record.filter((pl.col("status") == STORED) & (pl.col("rows") == 0))[DAY])
