"""What the Dagster UI shows of drills: a table and a picture. Not here: how any of its numbers is made."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import dagster as dg

from recsys_assets.drills.reading import DrillRow
from recsys_assets.drills.showing import COLUMNS, cells


def metadata(rows: Sequence[DrillRow]) -> dict[str, Any]:
    """Of the asset `drill_report`."""
    schema = dg.TableSchema([dg.TableColumn(name) for name in COLUMNS])
    table = dg.MetadataValue.table([dg.TableRecord({k: str(v) for k, v in cells(r).items()}) for r in rows], schema)
    latest = rows[-1] if rows else None
    numbers = {} if latest is None else {"latest": latest.kind, "latest_users_exposed": latest.users_exposed}
    return {
        "dagster/row_count": len(rows),
        "drills": table,
        "times": dg.MetadataValue.md(plot(rows) if rows else "no drill was played yet"),
        **numbers,
    }


def plot(rows: Sequence[DrillRow]) -> str:
    """Seconds to the decision and from it to the last bad answer, a bar for each of the last twenty drills."""
    from matplotlib.figure import Figure

    shown = list(rows)[-20:]
    figure = Figure(figsize=(7, 1 + 0.35 * len(shown)), layout="constrained")
    axes = figure.subplots()
    names = [f"{row.kind} {row.detected_at:%d %b %H:%M}" for row in shown]
    found = [row.detection_seconds or 0.0 for row in shown]
    gone = [row.rollback_seconds or 0.0 for row in shown]
    axes.barh(names, found, color="#d9822b", label="until detected")
    axes.barh(names, gone, left=found, color="#30638e", label="until the last bad answer")
    axes.set(xlabel="seconds since the first bad answer")
    axes.legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f"![detection and roll-back](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
