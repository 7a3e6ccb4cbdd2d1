"""A look at a source before any day is taken in: its files, the days of its whole logs, and what cannot be read.

Here: what people must hear of a source's files. Not here: judging rows (intake.py), asking for runs (sensors.py).
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from recsys_assets.columns import EVENT_TIME
from recsys_assets.interactions.contract import Rule, Violation
from recsys_assets.interactions.files.datasets import columns_in_path, is_part
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.quarantine import RECORD, quarantine, read_quarantine
from recsys_assets.interactions.reader import Moments, NoRowsError, event_times
from recsys_assets.interactions.sources import SourceFile, Span, local_copy, look, patterns
from recsys_assets.interactions.values import unit_for
from recsys_assets.settings import DataSettings, InteractionSource, Settings

NAME: Final = "intake.json"
_SHOWN: Final = 5


@dataclass(frozen=True)
class Fault:
    """Why a whole log brings no day. One that `is_broken` goes into quarantine; another is only named."""

    reason: str
    row: int | None = None
    is_broken: bool = True


# By the content's digest: a log is read once, not on every tick.
Known = dict[str, Moments | Fault]


@dataclass(frozen=True)
class Survey:
    """`unread` are whole logs that bring no day, and what the patterns found that is no data. `notes` are sentences
    about files that are in order and bring less than one may expect. `settled` are contents seen before."""

    files: tuple[SourceFile, ...]
    spans: dict[str, Span | None]
    unread: tuple[Violation, ...]
    broken: tuple[tuple[SourceFile, Violation], ...]
    notes: tuple[str, ...]
    settled: frozenset[str]

    def words(self) -> list[str]:
        """For the tick of a sensor and for `recsys-assets status`."""
        said = [f"NOT READ {each}" for each in self.unread[:_SHOWN]]
        said += [f"and {len(self.unread) - _SHOWN} more that are not read"] if len(self.unread) > _SHOWN else []
        return said + list(self.notes[:_SHOWN])


def survey(settings: Settings, known: Known, now: datetime) -> Survey:
    """Look at the source of interactions; `known` is completed, and forgets nothing."""
    data, settled = settings.data, frozenset(known)
    listing = look(settings, data.interactions)
    unread = [Violation(each.path, Rule.UNREADABLE, each.reason) for each in listing.passed_over]
    spans: dict[str, Span | None] = {}
    broken = []
    for file in listing.files:
        if file.day is not None:
            continue
        if file.digest not in known:
            known[file.digest] = _look_into(file, data.interactions)
        found = known[file.digest]
        fault = found if isinstance(found, Fault) else _outside_all(found, data, now)
        spans[file.digest] = None if isinstance(found, Fault) else (found[0].date(), found[1].date())
        if fault and not (is_part(file.name) and not fault.is_broken):
            unread.append(Violation(file.path, Rule.UNREADABLE, fault.reason, row=fault.row))
            broken += [(file, unread[-1])] if fault.is_broken else []
    named = {each.file for each in unread}
    notes = [
        f"{file.path}: {note}"
        for file in listing.files
        if file.path not in named and (note := _left_out(file, spans.get(file.digest), data, now.date()))
    ]
    if not listing.files and not unread:
        notes.append(f"nothing matches {', '.join(patterns(settings, data.interactions))}")
    return Survey(listing.files, spans, tuple(unread), tuple(broken), tuple(notes), settled)


def _look_into(file: SourceFile, source: InteractionSource) -> Moments | Fault:
    try:
        with local_copy(file.path) as path:
            return event_times(path, source, columns_in_path(file.path))
    except NoRowsError as empty:
        return Fault(str(empty), is_broken=False)
    except SourceUnreadableError as broken:
        return Fault(str(broken), broken.row)


def _outside_all(times: Moments, data: DataSettings, now: datetime) -> Fault | None:
    """A log of which not one event can fall on a day that is taken in: most often its unit of time is another."""
    first, last = times
    end = data.end_date or date.max
    if first <= now and first.date() < end and data.start_date <= last.date():
        return None
    source = data.interactions
    where = f"from {data.start_date} on" + (f" and before {data.end_date}" if data.end_date else "")
    reason = f"column {source.columns[EVENT_TIME]}: events of {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
    reason += f"all after now, {now:%Y-%m-%d %H:%M} UTC" if first > now else f"none of them {where}"
    if unit := unit_for(last, source.time_unit, data.start_date, min(end, now.date() + timedelta(days=1))):
        return Fault(f"{reason}; with `time_unit: {unit}` there would be some")
    return Fault(reason, is_broken=False)


def _left_out(file: SourceFile, span: Span | None, data: DataSettings, today: date) -> str:
    """What of a file that can be read is not taken in, because its day has no partition (yet)."""
    first, last = (file.day, file.day) if file.day else span or (None, None)
    if first is None or last is None:
        return ""
    if first < data.start_date:
        return f"it begins on {first}; days before start_date {data.start_date} are left out"
    if data.end_date is not None and last >= data.end_date:
        return f"it ends on {last}; days from end_date {data.end_date} on are left out"
    if last >= today:
        return f"it ends on {last}; a day is taken in when it is over"
    return ""


def keep_aside(home: Path, seen: Survey, at: datetime, *, at_once: bool = False) -> None:
    """Whole logs that are broken go into quarantine, once for each content.

    A log that is kept already in an earlier state may still be growing: its new state is kept when a second look finds
    it unchanged, unless `at_once`.
    """
    new = [each for each in seen.broken if not (home / "quarantine" / each[0].digest / RECORD).exists()]
    earlier = {kept.file for kept in read_quarantine(home)} if new else set()
    for file, violation in new:
        if at_once or file.digest in seen.settled or file.path not in earlier:
            quarantine(home, file, [violation], days=[], at=at)


def remember(home: Path, seen: Survey, at: datetime) -> None:
    """Write down what was seen, for `recsys-assets status`; nothing is written while nothing changes."""
    now = {"files": len(seen.files), "words": seen.words()}
    if {name: value for name, value in recall(home).items() if name != "at"} == now:
        return
    home.mkdir(parents=True, exist_ok=True)
    aside = home / f".{NAME}.{uuid.uuid4().hex}"
    aside.write_text(json.dumps({"at": at.isoformat(), **now}, indent=2), encoding="utf-8")
    aside.replace(home / NAME)


def recall(home: Path) -> dict[str, Any]:
    """What the last look saw; empty before the first."""
    try:
        found = json.loads((home / NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def intake_lines(home: Path) -> list[str]:
    """For `recsys-assets status`: what the last look had to say of the source's files."""
    found = recall(home)
    words = found.get("words") or []
    return [f"interactions, since {str(found.get('at'))[:16]}:", *(f"  {word}" for word in words)] if words else []
