"""Pictures for the Dagster UI: events by day.

Here: a PNG as Markdown, or a sentence. Not here: any number that a check judges.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from datetime import date


def events_by_day(stored: Mapping[date, int], blocked: Mapping[date, int]) -> str:
    """A bar for each day; days in quarantine in another colour. For one day a sentence says as much."""
    if len(stored) + len(blocked) < 2:
        told = [f"{n} events on {day}" for day, n in stored.items()]
        return "".join([*told, *(f"{day} is in quarantine" for day in blocked)])
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.array(list(stored), dtype="datetime64[D]"), list(stored.values()), color="#4878a8", label="stored")
    if blocked:
        axes.bar(
            np.array(list(blocked), dtype="datetime64[D]"),
            list(blocked.values()),
            color="#c0504d",
            label="in quarantine",
        )
        axes.legend()
    axes.set_ylabel("events")
    axes.tick_params(axis="x", labelrotation=30)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    return f"![events by day](data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()})"
