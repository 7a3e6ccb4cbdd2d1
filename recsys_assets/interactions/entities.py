"""Items and users: one row an entity, with any number of attributes of the usual types.

Here: reading an entity file and what makes it unusable. Not here: what the attributes are used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from recsys_assets.interactions.attributes import attribute, known_lists
from recsys_assets.interactions.catalogue.contract import judge_entities
from recsys_assets.interactions.contract import Rule, Violation
from recsys_assets.interactions.files.json_values import check_single, list_columns
from recsys_assets.interactions.files.opening import ROW, open_file
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.values import to_id
from recsys_assets.settings import EntitySource


class EntitiesBrokenError(ValueError):
    """The file breaks the contract; the message says how, by row and column, and `violations` holds all of it."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = list(violations)


def read_entities(
    path: Path, source: EntitySource, id_name: str, *, file: str | None = None, now: datetime | None = None
) -> pl.DataFrame:
    """`id_name` and the attributes under their names: category and text are strings, categories lists, number Float64,
    time UTC. Identical rows count once. Raises EntitiesBrokenError; `file` is the file's name for people. Without `now`
    no time is in the future.
    """
    named = file or str(path)
    raw = _read(path, source, named)
    types = raw.schema
    frame = raw.select(
        pl.col(ROW),
        to_id(source.id_column, types[source.id_column]).alias(id_name),
        *(attribute(name, each, types[each.column]) for name, each in source.attributes.items()),
    )
    if found := judge_entities(raw, frame, source, id_name, file=named, now=now):
        raise EntitiesBrokenError(found)
    return known_lists(frame.drop(ROW)).unique(maintain_order=True)


def _read(path: Path, source: EntitySource, named: str) -> pl.DataFrame:
    wanted = list(dict.fromkeys([source.id_column, *(each.column for each in source.attributes.values())]))
    try:
        with open_file(path, source, wanted, [source.id_column]) as file:
            if lacking := [name for name in wanted if name not in file.names]:
                reason = f"the file has no such column; it has {', '.join(file.names)}"
                raise EntitiesBrokenError([Violation(named, Rule.SCHEMA, reason, column=name) for name in lacking])
            frame = file.collect(file.lazy.select(ROW, *wanted))
            return frame if file.json_lines is None else _parsed_lists(frame, file.json_lines, source)
    except SourceUnreadableError as broken:
        raise EntitiesBrokenError([Violation(named, Rule.UNREADABLE, str(broken), row=broken.row)]) from broken


def _parsed_lists(frame: pl.DataFrame, path: Path, source: EntitySource) -> pl.DataFrame:
    """Of JSON lines: columns of categories with their lists, which the reader gave as texts; no other is a list."""
    lists = {each.column: each.separator for each in source.attributes.values() if each.kind == "categories"}
    there = {column: separator for column, separator in lists.items() if column in frame.columns}
    check_single(path, [name for name in frame.columns if name not in there])
    return frame.with_columns(list_columns(path, there)) if there else frame
