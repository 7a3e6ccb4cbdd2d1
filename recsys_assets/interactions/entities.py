"""Items and users: one row an entity, with any number of attributes of the usual types.

Here: reading an entity file and what makes it unusable. Not here: what the attributes are used for.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys_assets.interactions.attributes import EXPECTED, attribute, known_lists
from recsys_assets.interactions.files.json_values import check_single, list_columns
from recsys_assets.interactions.files.opening import ROW, open_file
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.values import to_id
from recsys_assets.settings import EntitySource


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
        *(attribute(name, each, types[each.column]) for name, each in source.attributes.items()),
    )
    errors = [*_lost(raw, frame, source, id_name), *_conflicts(frame, id_name)]
    if errors:
        raise EntitiesBrokenError(f"{path}: " + "; ".join(errors))
    return known_lists(frame.drop(ROW)).unique(maintain_order=True)


def _read(path: Path, source: EntitySource) -> pl.DataFrame:
    wanted = list(dict.fromkeys([source.id_column, *(each.column for each in source.attributes.values())]))
    try:
        with open_file(path, source, wanted, [source.id_column]) as file:
            if lacking := [name for name in wanted if name not in file.names]:
                raise EntitiesBrokenError(f"{path}: no column {', '.join(lacking)}; it has {', '.join(file.names)}")
            frame = file.collect(file.lazy.select(ROW, *wanted))
            return frame if file.json_lines is None else _parsed_lists(frame, file.json_lines, source)
    except SourceUnreadableError as broken:
        where = f"row {broken.row}: " if broken.row is not None else ""
        raise EntitiesBrokenError(f"{path}: cannot be read: {where}{broken}") from broken


def _parsed_lists(frame: pl.DataFrame, path: Path, source: EntitySource) -> pl.DataFrame:
    """Of JSON lines: columns of categories with their lists, which the reader gave as texts; no other is a list."""
    lists = {each.column: each.separator for each in source.attributes.values() if each.kind == "categories"}
    there = {column: separator for column, separator in lists.items() if column in frame.columns}
    check_single(path, [name for name in frame.columns if name not in there])
    return frame.with_columns(list_columns(path, there)) if there else frame


def _lost(raw: pl.DataFrame, frame: pl.DataFrame, source: EntitySource, id_name: str) -> list[str]:
    """Rows without an id, and numbers or times that are none."""
    errors = [f"row {row}, column {source.id_column}: no identifier" for row in _rows(frame, frame[id_name].is_null())]
    for name, each in source.attributes.items():
        given = raw[each.column].is_not_null()
        if raw.schema[each.column] == pl.String:
            given = given & (raw[each.column].str.strip_chars() != "").fill_null(False)
        elif raw.schema[each.column].is_float():
            given = given & raw[each.column].is_not_nan().fill_null(False)
        lost = given & frame[name].is_null()
        if each.kind == "number":
            lost = lost | frame[name].is_infinite().fill_null(False)
        shown = raw.filter(lost)[each.column].head(5).to_list()
        reason = EXPECTED.get(each.kind, f"not a {each.kind}")
        rows = _rows(frame, lost)
        errors += [f"row {r}, column {each.column}: {reason}, got {v!r}" for r, v in zip(rows, shown, strict=True)]
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
