"""What every manifest is before any rule of its kind: plain JSON of a sane depth and size.

Here: the walk over a whole document. Not here: what stands where in it (validation.py).
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from typing import Final

from recsys_assets.platform.interface import Invalid

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
MAX_TEXT: Final = 1 << 20
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def shown(value: object) -> str:
    """A value for a message, however long or deep it is."""
    return _SHORT.repr(value)


def check_document(document: object, *, kind: str, name: str) -> None:
    """Raise Invalid at a value that JSON has no word for, and where a document is too deep or too large to be one."""
    open_places: list[tuple[str, int, object]] = [("", 0, document)]
    seen = 0
    while open_places:
        path, depth, value = open_places.pop()
        seen += 1
        if depth > MAX_DEPTH:
            raise Invalid(kind, name, path[:200], f"must not be nested deeper than {MAX_DEPTH}")
        if seen > MAX_VALUES:
            raise Invalid(kind, name, path[:200] or "(top)", f"must not hold more than {MAX_VALUES} values")
        if rule := _broken(value):
            raise Invalid(kind, name, path[:200] or "(top)", f"{rule}, got {shown(value)}")
        open_places.extend((inner, depth + 1, held) for inner, held in _inside(path, value))


def _broken(value: object) -> str:
    if isinstance(value, dict):
        is_fit = all(isinstance(key, str) and not _bad_text(key) for key in value)
        return "" if is_fit else "must have texts as its keys"
    if isinstance(value, str):
        return _bad_text(value)
    if isinstance(value, float):
        return "" if math.isfinite(value) else "must be a finite number"
    return "" if value is None or isinstance(value, bool | int | list) else "must be plain JSON"


def _bad_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        return f"must not be longer than {MAX_TEXT} characters"
    return "must be Unicode text" if any("\ud800" <= character <= "\udfff" for character in text) else ""


def _inside(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{key}" if path else str(key), held) for key, held in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}[{number}]", held) for number, held in enumerate(value))
