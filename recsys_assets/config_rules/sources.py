"""Rules about what columns say of each other.

Here: mappings. Not here: files, or what stands in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recsys_assets.config_rules.rule import rule

if TYPE_CHECKING:
    from recsys_assets.settings import EntitySource, InteractionSource, Settings


def _logs(settings: Settings) -> Iterator[tuple[str, InteractionSource]]:
    yield "data.interactions", settings.data.interactions
    if settings.traffic.future is not None:
        yield "traffic.future", settings.traffic.future


def _entities(settings: Settings) -> Iterator[tuple[str, EntitySource]]:
    named = (("data.items", settings.data.items), ("data.users", settings.data.users))
    yield from ((name, source) for name, source in named if source is not None)


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
        if source.format != "csv" and not source.path.endswith(".csv"):
            continue
        for attribute, of in source.attributes.items():
            if of.kind == "categories" and of.separator == source.separator:
                yield (
                    f"{name}.attributes.{attribute}.separator {of.separator!r} is {name}.separator as "
                    "well: the list is "
                    "only whole where the file quotes it"
                )
