"""Whether the table of items or of users is what its file says, and what is to be done where it is not.

Here: the name of a content, the record of a refusal, the pure decision. Not here: files, tables, runs (sensors.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from recsys_assets.columns import UTC_TIME
from recsys_assets.interactions.contract import Rule
from recsys_assets.settings import EntitySource

# What the table's newest commit says about itself: the content that it was made of.
CONTENT: Final = "content"
# And whether its identifiers were compared with those of interactions; before the first of these come, they cannot be.
MATCHED: Final = "matched"
# Settings by which a file is judged, but which do not change what is read from it.
_LIMITS: Final = {"min_kept_ratio"}
# Judged against a clock or against other tables, which change by themselves: looked at again after so long.
_PASSING: Final = {Rule.FUTURE.value, Rule.UNMATCHED.value}
PATIENCE: Final = timedelta(days=1)
# One row: the newest content that was refused, the settings that it was judged by, and the table's version then.
REFUSED: Final = pl.Schema(
    {
        CONTENT: pl.String(),
        "judged_by": pl.String(),
        "version": pl.Int64(),
        "rules": pl.List(pl.String()),
        "reason": pl.String(),
        "file": pl.String(),
        "run_id": pl.String(),
        "at": UTC_TIME,
    }
)


@dataclass(frozen=True)
class Refusal:
    """The newest content that was refused."""

    content: str
    judged_by: str
    version: int
    rules: tuple[str, ...]
    reason: str
    at: datetime


def content_of(source: EntitySource, digest: str) -> str:
    """Changes with the file and with how it is read: other attributes make another table of the same file."""
    return _digest(source.model_dump_json(exclude={"path", *_LIMITS}), digest)


def work_of(name: str, source: EntitySource, digest: str) -> str:
    """The name of the work of loading this content by these rules."""
    return f"{name}:{content_of(source, digest)}:{judged_by(source)}"


def judged_by(source: EntitySource) -> str:
    """Changes with every setting: what was refused may then be accepted."""
    return _digest(source.model_dump_json())


def refusal_table(name: str) -> str:
    """The table with the newest refusal of this entity's files."""
    return f"{name}_refused"


def refusal_in(record: pl.DataFrame) -> Refusal | None:
    """The row of a refusal table."""
    if record.is_empty():
        return None
    row = record.row(0, named=True)
    return Refusal(row[CONTENT], row["judged_by"], row["version"], tuple(row["rules"]), row["reason"], row["at"])


def stands_refused(refusal: Refusal | None, content: str, source: EntitySource, version: int, now: datetime) -> bool:
    """Whether this content was refused, and nothing that it was judged by has changed since."""
    if refusal is None or refusal.content != content:
        return False
    same = refusal.judged_by == judged_by(source) and refusal.version == version
    return same and not (_PASSING & set(refusal.rules) and now - refusal.at > PATIENCE)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
