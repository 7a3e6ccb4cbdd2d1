"""The pictures of this room, as Markdown that holds a PNG.

Here: drawing numbers that are passed in. Not here: any computing of them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from datetime import date


def rows_per_day(counts: Mapping[date, int], *, title: str) -> str:
    """A bar for each day; for one day a sentence says as much."""
    if len(counts) < 2:
        return "".join(f"{n} rows of {title} on {day}" for day, n in counts.items())
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(counts)), list(counts.values()), width=1.0)
    axes.set_title(f"{title}: rows a day, {min(counts)} to {max(counts)}")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return f"![{title}](data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()})"
