"""What a new file of items or users must keep of the table in place: rows, known identifiers, values of attributes.

Here: pure comparison of two frames. Not here: the file by itself (contract.py), any table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from recsys_assets.interactions.contract import Rule, Violation
from recsys_assets.settings import EntitySource

# Rules that a person may waive for one run: they say that something is unusual, not that it is wrong.
WAIVABLE: Final = frozenset({Rule.EMPTY, Rule.VOLUME, Rule.UNMATCHED})
_SHOWN: Final = 3


@dataclass(frozen=True)
class Before:
    """What a file is compared with: the table in place, and the identifiers that the newest interactions name."""

    held: pl.DataFrame | None
    seen: pl.Series | None


def judge_kept(
    frame: pl.DataFrame, before: Before, source: EntitySource, id_name: str, *, file: str
) -> list[Violation]:
    """Rules `empty`, `volume` and `unmatched`. `min_kept_ratio` 0 turns them off."""
    if source.min_kept_ratio == 0:
        return []
    if frame.is_empty():
        return [Violation(file, Rule.EMPTY, f"no row at all (min_kept_ratio 0 would allow it){_in_place(before.held)}")]
    return [
        *_rows(frame, before.held, source, file),
        *_values(frame, before.held, source, file),
        *_matches(frame, before, source, id_name, file),
    ]


def basis(before: Before) -> str:
    """What the judgement rested on, in words."""
    rows = "no table before it" if before.held is None else f"{before.held.height} rows in the table in place"
    seen = (
        "no interactions yet" if before.seen is None else f"{before.seen.len()} identifiers in the newest interactions"
    )
    return f"compared with {rows}, {seen}"


def _in_place(held: pl.DataFrame | None) -> str:
    return "" if held is None else f"; the table in place has {held.height} rows"


def _rows(frame: pl.DataFrame, held: pl.DataFrame | None, source: EntitySource, file: str) -> Iterator[Violation]:
    if held is not None and frame.height < source.min_kept_ratio * held.height:
        reason = f"{frame.height} rows{_in_place(held)}, of which {source.min_kept_ratio:.0%} must remain"
        yield Violation(file, Rule.VOLUME, reason, value=str(frame.height))


def _values(frame: pl.DataFrame, held: pl.DataFrame | None, source: EntitySource, file: str) -> Iterator[Violation]:
    for name, each in source.attributes.items():
        now = _known_share(frame[name])
        if held is None or name not in held.columns or held.is_empty():
            if now == 0:
                yield Violation(file, Rule.EMPTY, f"no row has a value (attribute {name})", column=each.column)
            continue
        then = _known_share(held[name])
        if now < source.min_kept_ratio * then:
            reason = f"{now:.1%} of the rows have a value (attribute {name}); in the table in place {then:.1%} have one"
            yield Violation(file, Rule.VOLUME, reason, column=each.column, value=f"{now:.1%}")


def _matches(frame: pl.DataFrame, before: Before, source: EntitySource, id_name: str, file: str) -> Iterator[Violation]:
    if before.seen is None or before.seen.is_empty():
        return
    seen = before.seen
    now = _share_in(seen, frame[id_name])
    then = 0.0 if before.held is None else _share_in(seen, before.held[id_name])
    if now == 0 or now < source.min_kept_ratio * then:
        reason = (
            f"of {seen.len()} identifiers in the newest interactions, such as {_some(seen)}, the file names {now:.1%}"
            + (f" and the table in place {then:.1%}" if before.held is not None else "")
            + ": are they written alike in both?"
        )
        yield Violation(file, Rule.UNMATCHED, reason, column=source.id_column, value=_some(frame[id_name]))


def _known_share(column: pl.Series) -> float:
    known = column.list.len() > 0 if isinstance(column.dtype, pl.List) else column.is_not_null()
    if column.dtype == pl.String:
        known = (column.str.strip_chars() != "").fill_null(False)
    return float(known.mean() or 0.0)  # type: ignore[arg-type]


def _share_in(wanted: pl.Series, there: pl.Series) -> float:
    return float(wanted.is_in(there.implode()).mean() or 0.0)  # type: ignore[arg-type]


def _some(ids: pl.Series) -> str:
    return ", ".join(map(repr, ids.sort().head(_SHOWN)))
