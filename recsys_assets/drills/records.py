"""The rows of past drills, a small file each below the home: logs are moved on, what a drill came to stays.

Here: collecting, writing and reading them. Not here: what stands in a row (reading.py).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from recsys_assets.drills.reading import DrillRow, drills_in, row_of
from recsys_assets.errors import UserFacingError
from recsys_assets.rollout.ledger import open_ledger
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.settings import Settings

# The last answers of a model are in the gateway's log by then.
SETTLED_SECONDS: Final = 3.0
_TIMES: Final = ("injected_at", "detected_at", "last_bad_answer_at")


class DrillUnread(UserFacingError, RuntimeError):  # noqa: N818
    """What a drill came to cannot be read."""


def folder_of(settings: Settings) -> Path:
    return settings.path("drills", "records")


def collect(settings: Settings, *, now: datetime) -> list[DrillRow]:
    """Write the rows of drills that ended since, and return all rows, oldest first."""
    metrics = LogMetrics(settings.home)
    for release_id, (opened, ended) in drills_in(open_ledger(settings).events()).items():
        path = folder_of(settings) / f"{release_id}.json"
        if ended is None or path.exists() or now < ended.at + timedelta(seconds=SETTLED_SECONDS):
            continue
        row = row_of(opened, ended, metrics.logs(opened.at))
        if row is not None:
            _write(path, row)
    return kept(settings)


def collect_with(settings: Settings, release_id: str, *, within_seconds: float = 30.0) -> None:
    """Collect once this drill's last answers are in the log; raises DrillUnread where they do not come."""
    deadline = time.monotonic() + within_seconds
    while release_id not in {row.release_id for row in collect(settings, now=datetime.now(UTC))}:
        if time.monotonic() > deadline:
            raise DrillUnread(f"{release_id}: its end or its logs cannot be read after {within_seconds:.0f} s")
        time.sleep(SETTLED_SECONDS / 10)


def kept(settings: Settings) -> list[DrillRow]:
    """The rows written so far, oldest first."""
    rows = [_read(json.loads(path.read_text(encoding="utf-8"))) for path in folder_of(settings).glob("*.json")]
    return sorted(rows, key=lambda row: row.detected_at)


def _write(path: Path, row: DrillRow) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(row).items()}
    aside = path.with_suffix(".writing")
    aside.write_text(json.dumps(told, indent=1), encoding="utf-8")
    aside.replace(path)


def _read(told: dict[str, Any]) -> DrillRow:
    times = {name: told[name] and datetime.fromisoformat(told[name]) for name in _TIMES}
    return DrillRow(**{**told, **times, "caught_by": tuple(told["caught_by"])})
