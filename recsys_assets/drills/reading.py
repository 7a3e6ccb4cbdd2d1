"""What a drill that has ended came to, out of the ledger's rows and the logs: when it hurt, was found, was over.

Here: pure reading, a row for each drill. Not here: playing one (play.py), or keeping the rows (records.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.ledger import OPENED, Event
from recsys_assets.rollout.outcomes import Logs

# Copies in the shadow never meet this one.
_USERS_ONLY: Final = frozenset({"failing"})
_ENDS: Final = frozenset(phase.value for phase in Phase if phase.is_end)


@dataclass(frozen=True)
class DrillRow:
    """One drill. A time is None where it never came: `injected_at` is the first answer that the fault could meet,
    `detected_at` the ledger's row that ended it, `last_bad_answer_at` the last answer that a user got from it."""

    kind: str
    release_id: str
    version: str
    injected_at: datetime | None
    detected_at: datetime
    last_bad_answer_at: datetime | None
    users_exposed: int
    phase: str
    caught_by: tuple[str, ...]
    by: str
    reason: str

    @property
    def caught(self) -> bool:
        """Found for what it is: by a check that failed, and not only held or stopped for being a drill."""
        return bool(self.caught_by) and self.phase in {Phase.REJECTED.value, Phase.ROLLED_BACK.value}

    @property
    def detection_seconds(self) -> float | None:
        """From the first bad answer, to a user or a copy, until the decision."""
        return None if self.injected_at is None else (self.detected_at - self.injected_at).total_seconds()

    @property
    def rollback_seconds(self) -> float | None:
        """From the decision until no user got a bad answer any more; 0 where none ever did."""
        if self.last_bad_answer_at is None:
            return 0.0 if self.users_exposed == 0 else None
        return max(0.0, (self.last_bad_answer_at - self.detected_at).total_seconds())


def drills_in(events: Iterable[Event]) -> dict[str, tuple[Event, Event | None]]:
    """The drills by release: the row that opened each, and the row that ended it."""
    found: dict[str, tuple[Event, Event | None]] = {}
    for event in events:
        if event.kind == OPENED and (event.body.get("model") or {}).get("drill"):
            found[event.release_id] = (event, None)
        elif event.release_id in found and event.kind in _ENDS:
            found[event.release_id] = (found[event.release_id][0], event)
    return found


def row_of(opened: Event, ended: Event, logs: Logs) -> DrillRow | None:
    """The row, or None where a log cannot be read: no data is no finding."""
    if logs.exposures is None or logs.gateway is None:
        return None
    model: Mapping[str, Any] = opened.body["model"]
    kind, version = str(model["drill"]), str(model["version"])
    shown = logs.exposures.filter(
        (pl.col("model_version") == version)
        & pl.col("variant").is_in(["shadow", "canary"])
        & (pl.col("served_at") >= opened.at)
    )
    users = logs.gateway.filter((pl.col("variant") == "canary") & (pl.col("served_at") >= opened.at))
    users = users.filter((pl.col("model_version") == version) | pl.col("model_version").is_null())
    hurt = users.filter(pl.col("status").fill_null(0) >= 500) if kind in _USERS_ONLY else users
    first = [hurt["served_at"].min()] if kind in _USERS_ONLY else [shown["served_at"].min(), hurt["served_at"].min()]
    return DrillRow(
        kind=kind,
        release_id=opened.release_id,
        version=version,
        injected_at=min((at for at in first if isinstance(at, datetime)), default=None),
        detected_at=ended.at,
        last_bad_answer_at=_moment(hurt["served_at"].max()),
        users_exposed=users["visitor_id"].n_unique(),
        phase=ended.kind,
        caught_by=_failed(ended.body.get("verdicts") or ()),
        by="guard" if ended.actor == "guard" else "tick",
        reason=str(ended.body.get("reason", "")),
    )


def _moment(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _failed(verdicts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(v["check"]) for v in verdicts if v.get("outcome") == Outcome.FAIL.value)
