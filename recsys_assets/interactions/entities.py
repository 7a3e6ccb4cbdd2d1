"""Items and users: one row an entity, with any number of attributes of the usual types.

Here: reading an entity file and what makes it unusable. Not here: what the attributes are used for.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys_assets.interactions.files.opening import ROW, open_file
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.values import to_id, to_number, to_text, to_time
from recsys_assets.settings import Attribute, EntitySource


class EntitiesBrokenError(ValueError):
    """The file cannot be used; the message lists everything wrong, by row and column."""


def read_entities(path: Path, source: EntitySource, id_name: str) -> pl.DataFrame:
    """`id_name` and the attributes under their names: category and text are strings, categories lists, number Float64,
    time UTC. Identical rows count once; two different rows of one id, or a row without an id, make the file unusable.
    """
    raw = _read(path, source)
    types = raw.schema
    frame = raw.select(
        pl.col(ROW),
        to_id(source.id_column, types[source.id_column]).alias(id_name),
        *(_attribute(name, each, types[each.column]) for name, each in source.attributes.items()),
    )
    errors = [*_lost(raw, frame, source, id_name), *_conflicts(frame, id_name)]
    if errors:
        raise EntitiesBrokenError(f"{path}: " + "; ".join(errors))
    return frame.drop(ROW).unique(maintain_order=True)


def _read(path: Path, source: EntitySource) -> pl.DataFrame:
    wanted = list(dict.fromkeys([source.id_column, *(each.column for each in source.attributes.values())]))
    try:
        with open_file(path, source, wanted, [source.id_column]) as file:
            if lacking := [name for name in wanted if name not in file.names]:
                raise EntitiesBrokenError(f"{path}: no column {', '.join(lacking)}; it has {', '.join(file.names)}")
            return file.collect(file.lazy.select(ROW, *wanted))
    except SourceUnreadableError as broken:
        where = f"row {broken.row}: " if broken.row is not None else ""
        raise EntitiesBrokenError(f"{path}: cannot be read: {where}{broken}") from broken


def _attribute(name: str, attribute: Attribute, dtype: pl.DataType) -> pl.Expr:
    column = attribute.column
    if attribute.kind == "number":
        return to_number(column, dtype).alias(name)
    if attribute.kind == "time":
        return to_time(column, dtype, attribute.time_unit).alias(name)
    if attribute.kind == "categories":
        return _categories(column, dtype, attribute.separator).alias(name)
    return to_text(column, dtype).alias(name)


def _categories(column: str, dtype: pl.DataType, separator: str) -> pl.Expr:
    """A list of strings, never null: nothing known is the empty list."""
    if isinstance(dtype, pl.List | pl.Array):
        found = pl.col(column).cast(pl.List(pl.String))
    else:
        found = pl.col(column).cast(pl.String).str.split(separator)
    kept = found.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != ""))
    return kept.fill_null(pl.lit([], pl.List(pl.String)))


def _lost(raw: pl.DataFrame, frame: pl.DataFrame, source: EntitySource, id_name: str) -> list[str]:
    """Rows without an id, and numbers or times that are none."""
    errors = [f"row {row}, column {source.id_column}: no identifier" for row in _rows(frame, frame[id_name].is_null())]
    for name, each in source.attributes.items():
        if each.kind in {"number", "time"}:
            given = raw[each.column].cast(pl.String, strict=False).fill_null("") != ""
            lost = given & frame[name].is_null()
            if each.kind == "number":
                lost = lost | frame[name].is_infinite().fill_null(False)
            shown = raw.filter(lost)[each.column].head(5).to_list()
            rows = _rows(frame, lost)
            errors += [
                f"row {r}, column {each.column}: not a {each.kind}, got {v!r}" for r, v in zip(rows, shown, strict=True)
            ]
    return errors


def _conflicts(frame: pl.DataFrame, id_name: str) -> list[str]:
    distinct = frame.unique(subset=[c for c in frame.columns if c != ROW], maintain_order=True)
    twice = distinct.filter(pl.col(id_name).is_duplicated() & pl.col(id_name).is_not_null())
    return [
        f"row {row}: {id_name} {one!r} stands there with different attributes"
        for row, one in twice.select(ROW, id_name).head(5).iter_rows()
    ]


def _rows(frame: pl.DataFrame, where: pl.Series) -> list[int]:
    return [int(row) for row in frame.filter(where)[ROW].head(5)]
