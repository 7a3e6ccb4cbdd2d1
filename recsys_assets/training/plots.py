"""Pictures for the Dagster UI: PNG in Markdown.

Here: drawing. Not here: computing what is drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def importance_plot(shares: Mapping[str, float], *, top: int = 20) -> str:
    """The features with the largest share of the gain."""
    chosen = sorted(shares.items(), key=lambda pair: pair[1])[-top:]
    figure = _figure(height=0.6 + 0.22 * len(chosen))
    axes = figure.subplots()
    axes.barh([name for name, _ in chosen], [share for _, share in chosen])
    axes.set_xlabel("share of gain")
    return _markdown(figure, "Feature importance")


def curve_plot(points: Sequence[tuple[int, float]], *, x: str, y: str, title: str) -> str:
    """A line through the points; without points, a sentence."""
    if not points:
        return f"{title}: no points"
    figure = _figure(height=3.0)
    axes = figure.subplots()
    axes.plot([place for place, _ in points], [value for _, value in points], marker="o")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return _markdown(figure, title)


def _figure(*, height: float) -> Figure:
    # Not pyplot: it keeps every figure alive in the process and looks for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(7.0, height), dpi=80, layout="constrained")


def _markdown(figure: Figure, title: str) -> str:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"
