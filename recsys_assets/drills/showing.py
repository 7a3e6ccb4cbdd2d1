"""A drill's row in words. Here: cells of a table. Not here: tables themselves (report.py, cli.py)."""

from __future__ import annotations

from typing import Any

from recsys_assets.drills.reading import DrillRow

COLUMNS = (
    "kind",
    "release",
    "version",
    "injected_at",
    "detected_at",
    "last_bad_answer_at",
    "detection_seconds",
    "rollback_seconds",
    "users_exposed",
    "ended_as",
    "caught_by",
    "by",
)


def cells(row: DrillRow) -> dict[str, Any]:
    """One row as it is shown."""
    times = {name: getattr(row, name) for name in ("injected_at", "detected_at", "last_bad_answer_at")}
    return {
        "kind": row.kind,
        "release": row.release_id,
        "version": row.version,
        **{name: at.isoformat(timespec="milliseconds") if at else "never" for name, at in times.items()},
        "detection_seconds": _seconds(row.detection_seconds),
        "rollback_seconds": _seconds(row.rollback_seconds),
        "users_exposed": row.users_exposed,
        "ended_as": row.phase,
        "caught_by": ", ".join(row.caught_by) or "nothing",
        "by": row.by,
    }


def _seconds(value: float | None) -> float | str:
    return "unknown" if value is None else round(value, 2)
