"""Bad files, kept whole beside the list of what is wrong with them: nothing is lost and nothing is used.

Here: the folder <home>/quarantine/<digest>. Not here: deciding that a file is bad (contract.py).
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from recsys_assets.interactions.contract import Violation
from recsys_assets.interactions.sources import SourceFile, local_copy

RECORD: Final = "violations.json"


@dataclass(frozen=True)
class Quarantined:
    """One file in quarantine: where it came from, the days it would have brought, and what was wrong."""

    digest: str
    file: str
    days: tuple[date, ...]
    at: str
    violations: tuple[dict[str, Any], ...]


def quarantine(
    home: Path,
    file: SourceFile,
    violations: Sequence[Violation],
    *,
    days: Sequence[date],
    at: datetime,
    judged: Sequence[date] = (),
) -> Path:
    """Copy the file whole and write what is wrong. Again with the same content: the copy stays, the list is renewed;
    of a whole log, what was found on days that are not among those `judged` now is kept."""
    folder = home / "quarantine" / file.digest
    if not (folder / file.name).exists():
        with local_copy(file.path) as path:
            _copy_aside(path, folder, file.name)
    earlier = _of_other_days(folder, judged) if file.day is None else []
    blocked = {day.isoformat() for day in days} | {day for each in earlier for day in each["days"]}
    record = {
        "file": file.path,
        "digest": file.digest,
        "days": sorted(blocked),
        "at": at.isoformat(),
        "violations": [*(violation.record() for violation in violations), *earlier],
    }
    aside = folder / f".{RECORD}.{uuid.uuid4().hex}"
    aside.write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
    aside.replace(folder / RECORD)
    return folder


def _of_other_days(folder: Path, judged: Sequence[date]) -> list[dict[str, Any]]:
    if not (folder / RECORD).exists():
        return []
    again = {day.isoformat() for day in judged}
    found = json.loads((folder / RECORD).read_text(encoding="utf-8"))["violations"]
    return [each for each in found if each.get("days") and again.isdisjoint(each["days"])]


def read_quarantine(home: Path) -> list[Quarantined]:
    """Every file in quarantine, by digest. A folder without a list (a copy cut short) is not one yet."""
    return [_read(record) for record in sorted((home / "quarantine").glob(f"*/{RECORD}"))]


def _read(record: Path) -> Quarantined:
    raw = json.loads(record.read_text(encoding="utf-8"))
    days = tuple(date.fromisoformat(day) for day in raw["days"])
    return Quarantined(raw["digest"], raw["file"], days, raw["at"], tuple(raw["violations"]))


def _copy_aside(path: Path, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{uuid.uuid4().hex}"
    shutil.copyfile(path, aside)
    with aside.open("rb") as copied:
        os.fsync(copied.fileno())
    aside.replace(folder / name)
