"""Attributes of users and items as numbers: times as ages, categories as one-hot features with names that never change.

Here: the encoding and its names. Not here: which table it is joined to.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from recsys_assets.attribute_names import age_name, one_hot_name, plain_name

MAX_CATEGORIES = 40


def one_hot_names(frame: pl.DataFrame, id_column: str) -> dict[str, list[str]]:
    """For each attribute with few distinct values, its most frequent values, as many as get a feature."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(frame.columns) - {id_column}):
        if frame.schema[name] not in (pl.String, pl.List(pl.String)):
            continue
        values = frame[name].drop_nulls()
        values = values.explode(empty_as_null=True).drop_nulls() if frame.schema[name] != pl.String else values
        counts = values.alias("value").value_counts(sort=True).sort("count", "value", descending=[True, False])
        if 2 <= len(counts) <= max(MAX_CATEGORIES, 0.1 * frame.height):
            found[name] = counts.head(MAX_CATEGORIES)["value"].to_list()
    return found


def encode_attributes(frame: pl.DataFrame, id_column: str, *, at: datetime) -> pl.DataFrame:
    """The frame's id and attributes as Float64: numbers as they are, times as days before `at`, categories one-hot."""
    columns = [pl.col(id_column)]
    for name in sorted(set(frame.columns) - {id_column}):
        kind = frame.schema[name]
        if kind.is_numeric() or kind == pl.Boolean:
            columns.append(pl.col(name).cast(pl.Float64).alias(plain_name(name)))
        elif isinstance(kind, pl.Datetime):
            age = (pl.lit(at) - pl.col(name)).dt.total_seconds() / 86_400.0
            columns.append(age.alias(age_name(name)))
    for name, values in one_hot_names(frame, id_column).items():
        for value in values:
            holds = pl.col(name) == value if frame.schema[name] == pl.String else pl.col(name).list.contains(value)
            columns.append(holds.fill_null(False).cast(pl.Float64).alias(one_hot_name(name, value)))
    named = {column.meta.output_name(): column for column in columns}
    return frame.select(named.values())
