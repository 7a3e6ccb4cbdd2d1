"""The data contract: rules over the rows of one file, and what breaks them, named by file, row, column and rule.

Here: pure judgement. Not here: reading files (reader.py), keeping bad ones (quarantine.py), stopping a run (assets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Any, Final

import polars as pl

from recsys_assets.columns import DAY, EVENT_TIME, EVENT_TYPE, ITEM, USER, VALUE
from recsys_assets.interactions.files.opening import ROW
from recsys_assets.interactions.formats import no_such_column
from recsys_assets.interactions.reader import canonical
from recsys_assets.interactions.values import time_hint, unit_for
from recsys_assets.settings import DataSettings, InteractionSource

FILE: Final = "file"
REQUIRED: Final = (USER, ITEM, EVENT_TIME)
# How many rows are named for each rule and column; `total` counts them all.
EXAMPLES: Final = 10
LONGEST_SHOWN: Final = 200


class Rule(StrEnum):
    """What a file can break."""

    UNREADABLE = "unreadable"
    SCHEMA = "schema"
    TYPE = "type"
    NULL = "null"
    RANGE = "range"
    OTHER_DAY = "other_day"
    FUTURE = "future"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    VOLUME = "volume"
    # Of items and users only: their identifiers are not those of the interactions.
    UNMATCHED = "unmatched"


@dataclass(frozen=True)
class Violation:
    """One offending row or file. `row` is 1 for the first row of data; `total` counts the rows of this file that
    break this rule in this column. `days` are those that these rows belong to: None is every day of the file, also
    where a row may belong to any of them, having no time that could be read."""

    file: str
    rule: Rule
    reason: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    total: int = 1
    days: tuple[date, ...] | None = None

    def concerns(self, day: date) -> bool:
        """Whether this day of the file must not be used."""
        return self.days is None or day in self.days

    def __str__(self) -> str:
        place = [self.file]
        place += [f"row {self.row}"] if self.row is not None else []
        place += [f"column {self.column}"] if self.column is not None else []
        more = f" ({self.total} such rows)" if self.total > 1 else ""
        shown = f", got {self.value!r}" if self.value is not None else ""
        return f"{', '.join(place)}: {self.rule.value}: {self.reason}{shown}{more}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def missing_columns(
    present: Sequence[str], source: InteractionSource, file: str, names: Sequence[str]
) -> list[Violation]:
    """Rule `schema`: every mapped column is in the file. `names` are the columns that it has."""
    return [
        Violation(file, Rule.SCHEMA, no_such_column(theirs, ours, names), column=theirs)
        for ours, theirs in source.columns.items()
        if ours not in present
    ]


def judge_rows(
    raw: pl.DataFrame, source: InteractionSource, data: DataSettings, *, file: str, day: date | None, now: datetime
) -> tuple[pl.DataFrame, list[Violation]]:
    """The good rows (ROW and columns.INTERACTIONS) and what breaks the contract within this one file.

    `raw` has the file's columns under our names; `day` is the day in the file's name, to which every event must belong.
    Rows with a null in a required column are left out where their share stays within `max_null_share`.
    """
    rows = canonical(raw, source)
    place = _Place(file, day, now)
    found = [
        *_not_of_type(raw, rows, source, place),
        *_nulls(raw, rows, source, data, place),
        *_out_of_range(rows, source, place),
        *_at_wrong_time(rows, source, place),
    ]
    return rows.drop_nulls(REQUIRED), found


def judge_duplicates(
    rows: pl.DataFrame, source: InteractionSource, data: DataSettings
) -> tuple[pl.DataFrame, list[Violation]]:
    """Rule `duplicate` over all files of a run (rows carry FILE): the first copy of an event stays.

    An event is one user, item, time and type. A day of a file breaks the rule when a larger share of its rows than
    `max_duplicate_share` repeats rows before them, in it or in another file.
    """
    key = [USER, ITEM, EVENT_TIME, EVENT_TYPE]
    marked = rows.with_columns(repeated=~pl.struct(key).is_first_distinct())
    shares = marked.group_by(FILE, DAY, maintain_order=True).agg(share=pl.col("repeated").mean())
    guilty = shares.filter(pl.col("share") > data.max_duplicate_share)
    columns = ", ".join(source.columns[name] for name in key if name in source.columns)
    shown = pl.concat_str([USER, ITEM, pl.col(EVENT_TIME).cast(pl.String)], separator=", ", ignore_nulls=True)
    bad = marked.filter("repeated").join(guilty, on=[FILE, DAY], how="semi", maintain_order="left")
    found: list[Violation] = []
    for (file,), rows_of_file in bad.with_columns(shown=shown).group_by(FILE, maintain_order=True):
        place = _Place(str(file), None, None)
        found += _name_rows(rows_of_file, "shown", place, Rule.DUPLICATE, columns, "the same event stands before it")
    return marked.filter(~pl.col("repeated")).drop("repeated"), found


def judge_volume(
    counts: Mapping[date, int], trailing: Mapping[date, int], data: DataSettings
) -> tuple[dict[date, tuple[Rule, str]], dict[date, str]]:
    """Rules `empty` and `volume`, day by day against the median of the newest days before it that have rows.

    Returns (what is wrong by day, what each judgement rested on by day). A day that fails does not become a
    yardstick for the next. `min_volume_ratio` 0 allows days without events.
    """
    known, wrong, basis = dict(trailing), dict[date, tuple[Rule, str]](), dict[date, str]()
    for day in sorted(counts):
        before = sorted((d for d in known if d < day and known[d] > 0), reverse=True)[: data.volume_trailing_days]
        typical = median(known[d] for d in before) if before else None
        basis[day] = f"median {typical:g} of {len(before)} days before" if before else "first day: nothing before it"
        rows = counts[day]
        if rows == 0 and data.min_volume_ratio > 0:
            wrong[day] = (Rule.EMPTY, "no event at all (data.min_volume_ratio 0 would allow it)")
        elif typical is not None and not _usual(rows, typical, data):
            low, high = data.min_volume_ratio * typical, data.max_volume_ratio * typical
            wrong[day] = (Rule.VOLUME, f"{rows} events; {low:g} to {high:g} are usual ({basis[day]})")
        else:
            known[day] = rows
    return wrong, basis


def _usual(rows: int, typical: float, data: DataSettings) -> bool:
    return data.min_volume_ratio * typical <= rows <= data.max_volume_ratio * typical


@dataclass(frozen=True)
class _Place:
    """The file, its day where its name has one, and when it was read."""

    file: str
    day: date | None
    now: datetime | None

    def days_of(self, bad: pl.DataFrame) -> tuple[date, ...] | None:
        """The days of these rows; None where one cannot be placed: it has no time, or one after now."""
        if self.day is not None:
            return None
        latest = None if self.now is None else self.now.date()
        days = bad[DAY].unique()
        if days.has_nulls() or (latest is not None and (days > latest).any()):
            return None
        return tuple(days.sort())


def _not_of_type(
    raw: pl.DataFrame, rows: pl.DataFrame, source: InteractionSource, place: _Place
) -> Iterator[Violation]:
    for name, column in source.columns.items():
        given = raw.get_column(name)
        # A blank type of event is none; a blank identifier is one that nobody could name.
        is_blank_none = name == EVENT_TYPE and given.dtype == pl.String
        lost = _is_given(given.str.strip_chars() if is_blank_none else given) & rows.get_column(name).is_null()
        if lost.any():
            reason = "not a time" if name == EVENT_TIME else "not a number" if name == VALUE else "not an identifier"
            if name == EVENT_TIME:
                reason += f" in unit {source.time_unit}{time_hint(given.filter(lost)[0], source.time_unit)}"
            bad = rows.select(ROW, DAY, given.alias("shown")).filter(lost)
            yield from _name_rows(bad, "shown", place, Rule.TYPE, column, reason)


def _is_given(column: pl.Series) -> pl.Series:
    """Neither null nor an empty text nor not-a-number."""
    if column.dtype == pl.String:
        return (column != "").fill_null(False)
    if column.dtype.is_float():
        return column.is_not_null() & column.is_not_nan().fill_null(False)
    return column.is_not_null()


def _nulls(
    raw: pl.DataFrame, rows: pl.DataFrame, source: InteractionSource, data: DataSettings, place: _Place
) -> Iterator[Violation]:
    """By the share of the file, or of each day of a whole log; rows without a time are a share of the whole log."""
    for name in REQUIRED:
        given = raw.get_column(name)
        marked = rows.select(ROW, DAY, given.alias("shown"), absent=~_is_given(given))
        by_day = place.day is None and name != EVENT_TIME
        share = pl.col("absent").mean().over(DAY) if by_day else pl.col("absent").mean()
        bad = marked.with_columns(share=share).filter("absent", pl.col("share") > data.max_null_share)
        if bad.height:
            largest = float(bad.select(pl.col("share").max()).item())
            reason = f"no value; {largest:.2%} of its rows have none, {data.max_null_share:.2%} are allowed"
            yield from _name_rows(bad, "shown", place, Rule.NULL, source.columns[name], reason)


def _out_of_range(rows: pl.DataFrame, source: InteractionSource, place: _Place) -> Iterator[Violation]:
    if VALUE not in source.columns:
        return
    if source.value_range is None:
        endless = rows.filter(pl.col(VALUE).is_infinite())
        yield from _name_rows(endless, VALUE, place, Rule.RANGE, source.columns[VALUE], "not a finite number")
        return
    low, high = source.value_range
    bad = rows.filter(~pl.col(VALUE).is_between(low, high))
    yield from _name_rows(bad, VALUE, place, Rule.RANGE, source.columns[VALUE], f"outside {low:g} to {high:g}")


def _at_wrong_time(rows: pl.DataFrame, source: InteractionSource, place: _Place) -> Iterator[Violation]:
    column, day = source.columns[EVENT_TIME], place.day
    later = pl.col(EVENT_TIME) > pl.lit(place.now)
    if day is not None:
        later = later | (pl.col(DAY) > day)
        early = rows.filter(pl.col(DAY) < day)
        reason = f"before the file's day {day}{_unit_hint(early, day, source)}"
        yield from _name_rows(early, EVENT_TIME, place, Rule.OTHER_DAY, column, reason)
    bad = rows.filter(later)
    reason = f"after the file's day {day}" if day else f"after {place.now:%Y-%m-%d %H:%M} UTC, when it was read"
    yield from _name_rows(bad, EVENT_TIME, place, Rule.FUTURE, column, reason + _unit_hint(bad, day, source))


def _unit_hint(bad: pl.DataFrame, day: date | None, source: InteractionSource) -> str:
    """Which unit would have put the first of these times on the file's day."""
    if bad.is_empty() or day is None or source.time_unit == "iso":
        return ""
    unit = unit_for(bad[EVENT_TIME][0], source.time_unit, day, day + timedelta(days=1))
    return f" (`time_unit: {unit}` would put it there)" if unit else ""


def _name_rows(
    bad: pl.DataFrame, shown: str, place: _Place, rule: Rule, column: str, reason: str
) -> Iterator[Violation]:
    days = place.days_of(bad) if bad.height else None
    for row, value in bad.select(ROW, shown).head(EXAMPLES).iter_rows():
        text = None if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
        shown_text = text if text is None or len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
        yield Violation(
            place.file, rule, reason, row=int(row), column=column, value=shown_text, total=bad.height, days=days
        )
