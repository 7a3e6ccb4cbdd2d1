"""Rules about what columns say of each other.

Here: mappings. Not here: files, or what stands in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules.rule import rule

if TYPE_CHECKING:
    from recsys_assets.settings import EntitySource, InteractionSource, Settings

# What an ending says of a file, and the endings before which it stands (interactions/files/opening.py, held equal by a
# test).
ENDINGS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
PACKINGS: Final = (".gz", ".gzip", ".zst", ".zstd")


def _logs(settings: Settings) -> Iterator[tuple[str, InteractionSource]]:
    yield "data.interactions", settings.data.interactions
    if settings.traffic.future is not None:
        yield "traffic.future", settings.traffic.future


def _entities(settings: Settings) -> Iterator[tuple[str, EntitySource]]:
    named = (("data.items", settings.data.items), ("data.users", settings.data.users))
    yield from ((name, source) for name, source in named if source is not None)


def _files(settings: Settings) -> Iterator[tuple[str, str, str | None]]:
    """Each place of data with its setting and the declared format of its source."""
    for name, log in _logs(settings):
        yield from ((f"{name}.paths[{n}]", path, log.format) for n, path in enumerate(log.paths))
    yield from ((f"{name}.path", source.path, source.format) for name, source in _entities(settings))


def ending(path: str) -> str:
    """The ending that tells the format; empty where there is none, or where a glob leaves it open."""
    found = [suffix.lower() for suffix in PurePosixPath(path).suffixes if suffix.lower() not in PACKINGS]
    return found[-1] if found and re.fullmatch(r"\.[a-z][a-z0-9]*", found[-1]) else ""


@rule(
    "A file's format is declared, or one that its ending tells",
    "data.interactions.format",
    "data.items.format",
    "data.users.format",
    "traffic.future.format",
)
def formats_are_known(settings: Settings) -> Iterator[str]:
    for name, path, declared in _files(settings):
        if declared is None and ending(path) and ending(path) not in ENDINGS:
            yield (
                f"{name} {path!r} ends in {ending(path)}, which tells no format: set format to parquet, csv or jsonl; "
                f"endings that do are {', '.join(ENDINGS)}, also with {', '.join(PACKINGS)} behind them"
            )


@rule(
    "A declared format is not another than the ending tells",
    "data.interactions.format",
    "data.items.format",
    "data.users.format",
    "traffic.future.format",
    warning=True,
)
def formats_agree(settings: Settings) -> Iterator[str]:
    for name, path, declared in _files(settings):
        told = ENDINGS.get(ending(path))
        # Anything is called .txt.
        if declared and told and declared != told and ending(path) != ".txt":
            yield f"{name} {path!r} is read as {declared}, though its ending tells {told}: is that what is meant?"


@rule(
    "A range of values belongs to a column of values",
    "data.interactions.value_range",
    "data.interactions.columns",
    "traffic.future.value_range",
    "traffic.future.columns",
)
def value_range_has_a_column(settings: Settings) -> Iterator[str]:
    for name, source in _logs(settings):
        if source.value_range is not None and "value" not in source.columns:
            low, high = source.value_range
            yield (
                f"{name}.value_range [{low:g}, {high:g}] has nothing to hold for: {name}.columns maps no value; "
                "map it, or leave the range out"
            )


@rule(
    "No column of a file is two things at once",
    "data.interactions.columns",
    "traffic.future.columns",
)
def columns_are_read_once(settings: Settings) -> Iterator[str]:
    for name, source in _logs(settings):
        for column in sorted(set(source.columns.values())):
            ours = sorted(key for key, of in source.columns.items() if of == column)
            if len(ours) > 1:
                yield f"{name}.columns reads the column {column!r} as {' and '.join(ours)}: name a column for each"


@rule(
    "Categories are parted by another character than columns",
    "data.items.separator",
    "data.items.attributes",
    "data.users.separator",
    "data.users.attributes",
    warning=True,
)
def separators_differ(settings: Settings) -> Iterator[str]:
    for name, source in _entities(settings):
        if (source.format or ENDINGS.get(ending(source.path))) != "csv":
            continue
        for attribute, of in source.attributes.items():
            if of.kind == "categories" and of.separator == source.separator:
                yield (
                    f"{name}.attributes.{attribute}.separator {of.separator!r} is {name}.separator as "
                    "well: the list is "
                    "only whole where the file quotes it"
                )
