"""Pictures of a release for the Dagster UI, as Markdown with a PNG inside.

Here: drawing what was analysed. Not here: any number that a decision stands on.
"""

from __future__ import annotations

import base64
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from recsys_assets.rollout.metric_quality import quality_path
from recsys_assets.rollout.outcomes import Outcomes, Scope
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.shadow import Pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CANARY_COLOUR, STABLE_COLOUR = "#d9822b", "#30638e"
MAX_POINTS = 400


def weight_plot(state: RouteState, *, now: datetime) -> str:
    """The canary's planned share over time."""
    figure, axes = _figure()
    points = [(state.release.opened_at, 0), *((w.since, w.weight_bp) for w in state.weights)]
    end = max(state.entered_at, points[-1][0]) if state.phase.is_end else now
    seconds = [(at - state.release.opened_at).total_seconds() for at, _ in points]
    shares = [bp / 100 for _, bp in points]
    ends = (end - state.release.opened_at).total_seconds()
    axes.step([*seconds, ends], [*shares, shares[-1]], where="post", color=CANARY_COLOUR)
    axes.set(xlabel="seconds since the release opened", ylabel="canary's share (%)", ylim=(-3, 103))
    axes.set_title(f"{state.release.release_id}: {state.phase.value}")
    return _markdown(figure, "weight over time")


def engagement_plot(scope: Scope, outcomes: Outcomes) -> str:
    """Mean engagement of each arm, and the difference with its confidence sequence and the margin, as visitors came."""
    visitors = outcomes.visitors
    if visitors.is_empty():
        return "no matured visitors yet"
    figure, axes = _figure(rows=2)
    means, difference = axes.flat
    outcome, canary = visitors["outcome"].to_numpy(), visitors["is_canary"].to_numpy()
    x = np.arange(1, len(outcome) + 1)
    keep = np.unique(np.linspace(0, len(outcome) - 1, MAX_POINTS).astype(int))
    for name, mask, colour in (("canary", canary, CANARY_COLOUR), ("stable", ~canary, STABLE_COLOUR)):
        mean = np.cumsum(outcome * mask) / np.maximum(np.cumsum(mask), 1)
        means.plot(x[keep], mean[keep], label=name, color=colour)
    means.set(ylabel="clicked items a visitor")
    means.legend(loc="upper right")
    path = quality_path(scope, outcomes, factor=1.0)
    difference.plot(x[keep], path.estimate[keep], color=CANARY_COLOUR)
    difference.fill_between(x[keep], path.low[keep], path.high[keep], color=CANARY_COLOUR, alpha=0.2)
    stable_mean = float(outcome[~canary].mean()) if (~canary).any() else 0.0
    difference.axhline(0, color="black", linewidth=0.6)
    difference.axhline(-scope.plan.margin * stable_mean, color="red", linestyle="--", label="margin")
    # The early bounds are wide beyond any use: the picture is scaled to where they ended.
    wide = 1.5 * max(scope.plan.margin * stable_mean, *np.abs(np.nan_to_num([path.low[-1], path.high[-1]])), 0.01)
    difference.set(xlabel="visitors, in order of arrival", ylabel="canary - stable", ylim=(-wide, wide))
    difference.legend(loc="upper right")
    return _markdown(figure, "engagement by arm")


def shadow_plot(found: Pairs) -> str:
    """How alike the answers are, and how long both took."""
    if found.pairs.is_empty():
        return "no copies answered yet"
    figure, axes = _figure(columns=2)
    overlap, latency = axes.flat
    overlap.hist(found.pairs["overlap"].drop_nulls().to_numpy(), bins=np.linspace(0, 1, 12), color=CANARY_COLOUR)
    overlap.set(xlabel="overlap of the two lists", ylabel="requests")
    for name, colour in (("stable_ms", STABLE_COLOUR), ("shadow_ms", CANARY_COLOUR)):
        values = found.pairs.select(pl.col(name).sort())[name].to_numpy()
        latency.plot(values, np.arange(1, len(values) + 1) / len(values), label=name, color=colour)
    latency.set(xlabel="milliseconds", ylabel="share of answers at most this slow")
    latency.legend()
    return _markdown(figure, "answers in the shadow")


def _figure(*, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * columns + 2, 2.8 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _markdown(figure: Figure, title: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
