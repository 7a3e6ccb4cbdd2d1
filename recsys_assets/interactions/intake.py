"""Days in, judged rows out: every file is read once for all the days of a run, and judged before anything is written.

Here: which files, which rows, which days are good. Not here: Dagster, tables, the quarantine's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, INTERACTIONS, ITEM, USER
from recsys_assets.interactions.contract import (
    FILE,
    Rule,
    Violation,
    judge_duplicates,
    judge_rows,
    judge_volume,
    missing_columns,
)
from recsys_assets.interactions.files.datasets import columns_in_path
from recsys_assets.interactions.files.opening import ROW
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.reader import SourceMissingError, read_file
from recsys_assets.interactions.sources import SourceFile, Span, covered_days, local_copy
from recsys_assets.settings import DataSettings


@dataclass
class Intake:
    """What one run took in. `bad` are the files to quarantine, with all that is wrong; the days that it is wrong about
    are blocked. `unread` are whole logs that cannot be read: nobody knows their days, so they block none."""

    days: list[date]
    files: dict[date, list[SourceFile]]
    rows: pl.DataFrame
    bad: dict[str, list[Violation]] = field(default_factory=dict)
    basis: dict[date, str] = field(default_factory=dict)
    unread: list[Violation] = field(default_factory=list)
    read_rows: int = 0
    judged_files: int = 0

    @property
    def all_files(self) -> list[SourceFile]:
        return list({file.path: file for day in self.days for file in self.files[day]}.values())

    @property
    def blocked_days(self) -> list[date]:
        return [day for day in self.days if self.wrong_on(day)]

    def wrong_on(self, day: date) -> list[Violation]:
        """What blocks this day."""
        return [each for file in self.files[day] for each in self.bad.get(file.path, []) if each.concerns(day)]

    def blocked_by(self, file: SourceFile) -> list[date]:
        """The days that are blocked by what is wrong with this file."""
        found = self.bad.get(file.path, [])
        return [day for day in self.days if file in self.files[day] and any(each.concerns(day) for each in found)]

    @property
    def good_days(self) -> list[date]:
        blocked = set(self.blocked_days)
        return [day for day in self.days if day not in blocked]

    @property
    def good_rows(self) -> pl.DataFrame:
        return self.rows.filter(pl.col(DAY).is_in(self.good_days)).select(INTERACTIONS.names())

    @property
    def violations(self) -> list[Violation]:
        return [violation for found in self.bad.values() for violation in found]


def take_in(
    data: DataSettings,
    files: Sequence[SourceFile],
    days: Sequence[date],
    *,
    spans: Mapping[str, Span | None],
    trailing: Mapping[date, int],
    now: datetime,
    patterns: Sequence[str] = (),
    unread: Sequence[Violation] = (),
) -> Intake:
    """Read and judge the files of these days. `trailing` counts the stored rows of the days before them."""
    ordered = sorted(set(days))
    chosen = files_of_days(files, ordered, spans)
    if absent := [day.isoformat() for day in ordered if not chosen[day]]:
        raise SourceMissingError(_no_file(absent, patterns, unread))
    intake = Intake(ordered, chosen, pl.DataFrame(schema={ROW: pl.Int64, **INTERACTIONS, FILE: pl.String}))
    intake.unread = list(unread)
    frames = [rows for file in intake.all_files if (rows := _read_and_judge(data, file, intake, now)) is not None]
    if frames:
        rows, repeated = judge_duplicates(pl.concat(frames), data.interactions, data)
        _blame(intake, repeated)
        intake.rows = rows.filter(pl.col(DAY).is_in(ordered)).sort(EVENT_TIME, USER, ITEM)
    _judge_days(data, intake, trailing)
    return intake


def files_of_days(
    files: Sequence[SourceFile], days: Sequence[date], spans: Mapping[str, Span | None]
) -> dict[date, list[SourceFile]]:
    """The files that carry each day. A whole log that cannot be read carries none: it is named and kept aside, and
    brings its days when it can be read."""
    chosen: dict[date, list[SourceFile]] = {day: [] for day in days}
    for file in files:
        for day in covered_days(file, spans.get(file.digest)):
            if day in chosen:
                chosen[day].append(file)
    return chosen


def _no_file(absent: Sequence[str], patterns: Sequence[str], unread: Sequence[Violation]) -> str:
    shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more days" if len(absent) > 5 else "")
    said = f"no file has events of {shown}; the patterns are {', '.join(patterns)}"
    return said + "".join(f"; not read: {each}" for each in unread[:5])


def _read_and_judge(data: DataSettings, file: SourceFile, intake: Intake, now: datetime) -> pl.DataFrame | None:
    """The file's good rows with FILE; None where it could not be read at all. What is wrong goes to `intake.bad`."""
    source = data.interactions
    whole = file.day is not None
    start, end = (None, None) if whole else (intake.days[0], intake.days[-1] + timedelta(days=1))
    try:
        with local_copy(file.path) as path:
            read = read_file(path, source, start=start, end=end, now=now, beside=columns_in_path(file.path))
    except SourceUnreadableError as broken:
        _blame(intake, [Violation(file.path, Rule.UNREADABLE, str(broken), row=broken.row)])
        return None
    raw = read.rows
    if lacking := missing_columns(raw.columns, source, file.path, read.names):
        _blame(intake, lacking)
        return None
    rows, found = judge_rows(raw, source, data, file=file.path, day=file.day, now=now)
    _blame(intake, found)
    intake.read_rows += raw.height
    intake.judged_files += 1
    return rows.with_columns(pl.lit(file.path).alias(FILE))


def _judge_days(data: DataSettings, intake: Intake, trailing: Mapping[date, int]) -> None:
    """Volume is a day's, not a file's: all files of a day that is out of the usual are bad."""
    counted = dict(intake.rows.group_by(DAY).len().iter_rows())
    counts = {day: int(counted.get(day, 0)) for day in intake.good_days}
    wrong, intake.basis = judge_volume(counts, trailing, data)
    for day, (rule, reason) in wrong.items():
        for file in intake.files[day]:
            _blame(intake, [Violation(file.path, rule, f"{day}: {reason}", value=str(counts[day]), days=(day,))])


def _blame(intake: Intake, found: Sequence[Violation]) -> None:
    for violation in found:
        intake.bad.setdefault(violation.file, []).append(violation)
