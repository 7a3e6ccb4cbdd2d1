"""Which names an attribute of an item or a user may have: none that a table or a feature has already.

Here: the names that are in use, and what is wrong with given ones. Not here: reading a configuration (settings.py).
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Final

# Columns of the tables beside which attributes are put, and what Feast and the ranker's rows add to them. `id` would
# become the features `user_id` and `item_id`. A test compares this list with the schemas themselves.
RESERVED: Final = frozenset(
    {"id", "user_id", "item_id", "event_time", "day", "value", "event_type", "__row__"}
    | {"event_timestamp", "created_timestamp", "feature_time", "cut", "label"}
    | {"events_total", "active_days", "days_since_first", "days_since_previous", "mean_value", "trend", "age_days"}
    | {"recent_items", "recent_times"}
)
_COUNTED: Final = re.compile(r"(events|distinct_items|users|share)_\d+d")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f]|^\s|\s$|^$|^__")
_TEXTS: Final = frozenset({"category", "categories", "text"})
MAX_LENGTH: Final = 100


def plain_name(name: str) -> str:
    """A column's name in characters that LightGBM's text format keeps."""
    return re.sub(r"[^0-9A-Za-z_]+", "_", name)


def age_name(name: str) -> str:
    """The feature of an attribute of kind time: its age in days."""
    return plain_name(f"{name}_days")


def one_hot_name(attribute: str, value: str) -> str:
    """The feature of one category value. Where a character had to be replaced, a digest of the value follows: without
    it `a|b`, `a b` and `a_b`, and all values in other scripts, would be one feature."""
    plain = plain_name(f"{attribute}_is_{value}")
    return plain if plain_name(value) == value else f"{plain}_{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _values_of(attribute: str) -> str:
    """How the feature of every value of it begins."""
    return plain_name(f"{attribute}_is_")


def wrong_names(kinds: Mapping[str, str]) -> list[str]:
    """What is wrong with these attributes (kind by name), a sentence each."""
    return [*_unfit(kinds), *_taken(kinds), *_twice(kinds), *_like_a_value(kinds)]


def _feature(name: str, kind: str) -> str:
    return age_name(name) if kind == "time" else plain_name(name)


def _unfit(kinds: Mapping[str, str]) -> Iterator[str]:
    for name in kinds:
        if _UNFIT.search(name) or len(name) > MAX_LENGTH:
            yield (f"{name!r} is not a name: 1 to {MAX_LENGTH} visible characters, no blank at an end, no __ first")


def _taken(kinds: Mapping[str, str]) -> Iterator[str]:
    for name, kind in kinds.items():
        feature = _feature(name, kind)
        if taken := next((each for each in (name, feature) if _in_use(each)), None):
            becomes = f" (its feature {feature})" if taken != name else ""
            yield f"{name!r}{becomes} is a name that the product uses itself: choose another; `column` stays as it is"


def _in_use(name: str) -> bool:
    small = name.lower()
    return small in RESERVED or _COUNTED.fullmatch(small) is not None


def _twice(kinds: Mapping[str, str]) -> Iterator[str]:
    """Tables ignore case; features keep letters, digits and underscores only."""
    same: dict[str, list[str]] = defaultdict(list)
    for name, kind in kinds.items():
        same[_feature(name, kind).lower()].append(name)
    for feature, names in same.items():
        if len(names) > 1:
            yield f"{', '.join(map(repr, names))} would all become the feature {feature}: name them differently"


def _like_a_value(kinds: Mapping[str, str]) -> Iterator[str]:
    for (name, kind), (other, other_kind) in permutations(kinds.items(), 2):
        if other_kind in _TEXTS and _feature(name, kind).lower().startswith(_values_of(other).lower()):
            yield f"{name!r} looks like a value of {other!r}, whose features are {_values_of(other)}..."
