"""The contract of an items or users file: what its rows break by themselves, named by file, row, column and rule.

Here: pure judgement of one file. Not here: reading it (entities.py), the table that it would replace (keeping.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from recsys_assets.interactions.attributes import EXPECTED
from recsys_assets.interactions.contract import EXAMPLES, LONGEST_SHOWN, Rule, Violation
from recsys_assets.interactions.files.opening import ROW
from recsys_assets.settings import Attribute, EntitySource


def judge_entities(
    raw: pl.DataFrame, frame: pl.DataFrame, source: EntitySource, id_name: str, *, file: str, now: datetime | None
) -> list[Violation]:
    """Everything that breaks the contract. `raw` is as the file has it, `frame` the same rows under our names."""
    found = [*_ids(raw, frame, source, id_name, file), *_conflicts(frame, source, id_name, file)]
    for name, each in source.attributes.items():
        found += [*_lost(raw, frame, name, each, file), *_outside(frame, name, each, file, now)]
    return found


def _ids(raw: pl.DataFrame, frame: pl.DataFrame, source: EntitySource, id_name: str, file: str) -> Iterator[Violation]:
    given = raw[source.id_column]
    absent = frame[id_name].is_null() & ~_is_given(given)
    yield from _named(frame, absent, given, file, Rule.NULL, source.id_column, "no identifier")
    lost = frame[id_name].is_null() & _is_given(given)
    yield from _named(frame, lost, given, file, Rule.TYPE, source.id_column, "not an identifier")


def _conflicts(frame: pl.DataFrame, source: EntitySource, id_name: str, file: str) -> Iterator[Violation]:
    distinct = frame.unique(subset=[c for c in frame.columns if c != ROW], maintain_order=True)
    again = distinct[id_name].is_not_null() & ~distinct[id_name].is_first_distinct()
    reason = "a row before it has the same identifier and other attributes"
    yield from _named(distinct, again, distinct[id_name], file, Rule.DUPLICATE, source.id_column, reason)


def _lost(raw: pl.DataFrame, frame: pl.DataFrame, name: str, attribute: Attribute, file: str) -> Iterator[Violation]:
    """Values that are there and that could not be read as what they are declared to be."""
    given = raw[attribute.column]
    lost = _is_given(given) & frame[name].is_null()
    unit = f" in unit {attribute.time_unit}" if attribute.kind == "time" else ""
    reason = EXPECTED.get(attribute.kind, f"not a {attribute.kind}{unit}")
    yield from _named(frame, lost, given, file, Rule.TYPE, attribute.column, reason)


def _outside(
    frame: pl.DataFrame, name: str, attribute: Attribute, file: str, now: datetime | None
) -> Iterator[Violation]:
    column = frame[name]
    if attribute.kind == "number":
        endless = column.is_infinite().fill_null(False)
        yield from _named(frame, endless, column, file, Rule.RANGE, attribute.column, "not a finite number")
    if attribute.range is not None:
        low, high = attribute.range
        outside = ~column.is_infinite().fill_null(False) & ~column.is_between(low, high).fill_null(True)
        yield from _named(frame, outside, column, file, Rule.RANGE, attribute.column, f"outside {low:g} to {high:g}")
    if attribute.kind == "time" and now is not None and not attribute.may_be_future:
        later = (column > now).fill_null(False)
        reason = f"after {now:%Y-%m-%d %H:%M} UTC, when it was read (`may_be_future: true` allows it)"
        yield from _named(frame, later, column, file, Rule.FUTURE, attribute.column, reason)


def _is_given(column: pl.Series) -> pl.Series:
    """Neither null nor blank nor not-a-number."""
    if column.dtype == pl.String:
        return (column.str.strip_chars() != "").fill_null(False)
    if column.dtype.is_float():
        return column.is_not_null() & column.is_not_nan().fill_null(False)
    return column.is_not_null()


def _named(
    frame: pl.DataFrame, bad: pl.Series, shown: pl.Series, file: str, rule: Rule, column: str, reason: str
) -> Iterator[Violation]:
    """The first of the bad rows, each with its number and value."""
    for row, value in zip(frame[ROW].filter(bad).head(EXAMPLES), shown.filter(bad).head(EXAMPLES), strict=True):
        value = value.to_list() if isinstance(value, pl.Series) else value
        text = None if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
        text = text if text is None or len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
        yield Violation(file, rule, reason, row=int(row), column=column, value=text, total=int(bad.sum()))
