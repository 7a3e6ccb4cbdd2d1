"""Does a loss of clicks that was shown rest on the visitors of one stretch of time?

Here: the question of episodes.py for a metric, whose unit is the visitor. Not here: whether a loss is shown
(metric_quality.py).

An event at one moment touches every visitor whose attribution window is open then. So the window of first answers that
is left out is longer than an episode by the attribution window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from recsys_assets.records import Episode, MetricPlan, Outcome
from recsys_assets.rollout.episodes import EPISODE_SECONDS, EPISODES_THAT_DENY, heaviest_window, joined
from recsys_assets.rollout.evidence import milder
from recsys_assets.rollout.metric_quality import judge_metric
from recsys_assets.rollout.outcomes import Outcomes, Scope


def resting(scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> Episode | None:
    """The episode, or two, without whose visitors the loss is not shown any more; None where it is shown without."""
    found: list[Episode] = []
    left = outcomes.visitors
    while len(found) < EPISODES_THAT_DENY - 1:
        within = _worst(left, EPISODE_SECONDS + scope.plan.attribution_seconds)
        if within is None:
            return None
        canary = left.filter(within & left["is_canary"])
        began, ended = canary["first_at"][0], canary["first_at"][-1]
        what = f"visitors with a loss of {metric.name} who came"
        found.append(Episode(what=what, count=canary.height, began=began, seconds=(ended - began).total_seconds()))
        left = left.filter(~within)
        if judge_metric(milder(scope), metric, replace(outcomes, visitors=left)).outcome is not Outcome.FAIL:
            return joined(found)
    return None


def _worst(visitors: pl.DataFrame, seconds: float) -> pl.Series | None:
    """Which visitors came in the window with the largest loss."""
    window = heaviest_window(visitors["first_at"].dt.epoch("us").to_numpy() / 1e6, _lost(visitors), seconds)
    if window is None:
        return None
    within = np.zeros(visitors.height, dtype=bool)
    within[window] = True
    return pl.Series(within)


def _lost(visitors: pl.DataFrame) -> np.ndarray:
    """By how much each visitor of the canary did less than stable's do on average, and stable's of that moment more."""
    canary, outcome = visitors["is_canary"].to_numpy(), visitors["outcome"].to_numpy()
    usual = outcome[~canary].mean()
    balance = canary.sum() / (~canary).sum()
    lost: np.ndarray = np.where(canary, usual - outcome, (outcome - usual) * balance)
    return lost
