"""Was every drill caught? Here: the verdict over the latest drill of each kind, pure. Not here: Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recsys_assets.drills.reading import DrillRow
from recsys_assets.records import Measurement, Outcome, Verdict

CHECK: Final = "every_drill_was_caught"


def judge_drills(rows: Sequence[DrillRow]) -> Verdict:
    """PASS when a failed check stopped the latest drill of each kind that was ever played; no drill is no data."""
    latest = {row.kind: row for row in sorted(rows, key=lambda row: row.detected_at)}
    version = max(latest.values(), key=lambda row: row.detected_at).version if latest else ""
    if not latest:
        return Verdict(check=CHECK, model_version="", outcome=Outcome.INCONCLUSIVE, reason="no drill was played yet")
    missed = [f"{row.kind} ({row.release_id}, {row.phase}): {row.reason}" for row in latest.values() if not row.caught]
    said = f"not caught: {'; '.join(missed)}" if missed else f"caught: {', '.join(sorted(latest))}"
    outcome = Outcome.FAIL if missed else Outcome.PASS
    return Verdict(
        check=CHECK, model_version=version, outcome=outcome, reason=said, measurements=tuple(_times([*latest.values()]))
    )


def _times(rows: Sequence[DrillRow]) -> list[Measurement]:
    return [
        Measurement(name=f"{row.kind}_{name}", value=value, n=1, unit="s")
        for row in rows
        for name, value in (("detection", row.detection_seconds), ("rollback", row.rollback_seconds))
    ]
