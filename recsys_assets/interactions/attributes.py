"""A raw column as an attribute of its kind. What cannot be one is null, so that the contract names its row.

Here: categories, texts, numbers and times of items and users. Not here: judging what became null (entities.py).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from recsys_assets.interactions.values import to_number, to_text, to_time
from recsys_assets.settings import Attribute

TEXTS: Final = pl.List(pl.String)
EXPECTED: Final = {
    "category": "not one value",
    "text": "not one text",
    "categories": "neither a list of texts nor a text with `separator` between the values",
}
# A list that a tool has written out as a text (JSON, Python, Postgres): split, its brackets would become categories.
WRITTEN_OUT: Final = r"""^(\[\s*(["'\d-].*)?\]|\{.*\}|\(\s*["'].*\))$"""


def attribute(name: str, declared: Attribute, dtype: pl.DataType) -> pl.Expr:
    """Category and text are strings, categories lists of strings, number Float64, time UTC."""
    column = declared.column
    if declared.kind == "number":
        return to_number(column, dtype).alias(name)
    if declared.kind == "time":
        return to_time(column, dtype, declared.time_unit).alias(name)
    if declared.kind == "categories":
        return _categories(column, dtype, declared.separator).alias(name)
    return to_text(column, dtype).alias(name)


def known_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """After the contract: where nothing is known of categories, there are none."""
    lists = [name for name, dtype in frame.schema.items() if dtype == TEXTS]
    return frame.with_columns(pl.col(name).fill_null(pl.lit([], TEXTS)) for name in lists)


def _categories(column: str, dtype: pl.DataType, separator: str) -> pl.Expr:
    """Lists are taken value by value, whatever signs a value holds; a text is split by the separator."""
    if isinstance(dtype, pl.List | pl.Array):
        return _of_list(column, dtype)
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        text = pl.col(column).cast(pl.String)
        parts = text.str.split(separator).list.eval(pl.element().str.strip_chars())
        return pl.when(~text.str.strip_chars().str.contains(WRITTEN_OUT)).then(_without_empty(parts))
    return pl.lit(None, TEXTS)


def _of_list(column: str, dtype: pl.List | pl.Array) -> pl.Expr:
    """Texts and whole numbers; a list that holds anything else, or a null, is none."""
    inner = dtype.inner
    values = pl.col(column) if isinstance(dtype, pl.List) else pl.col(column).arr.to_list()
    empty = pl.when(values.list.len() == 0).then(pl.lit([], TEXTS))
    textual = inner == pl.String or isinstance(inner, pl.Categorical | pl.Enum)
    whole = inner.is_integer() or (isinstance(inner, pl.Decimal) and inner.scale == 0)
    if not (textual or whole):
        return empty
    is_whole = ~values.list.eval(pl.element().is_null()).list.any()
    return empty.when(is_whole).then(_without_empty(values.cast(TEXTS)))


def _without_empty(values: pl.Expr) -> pl.Expr:
    return values.list.eval(pl.element().filter(pl.element() != ""))
