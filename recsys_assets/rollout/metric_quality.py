"""One metric of the canary against stable: not worse by the margin, worse by more, no longer likely to pass, or open.

Here: one metric from one row for each visitor. Not here: the verdict over all metrics (analysis.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.records import Episode, Measurement, MetricPlan, Outcome
from recsys_assets.rollout.covariates import expected_from
from recsys_assets.rollout.evidence import BURN_IN
from recsys_assets.rollout.noninferiority import Evidence, boundaries, evidence_path, standing
from recsys_assets.rollout.outcomes import ALL_BP, Outcomes, Scope
from recsys_assets.rollout.sequential import ContrastPath, Floats, Scores, contrast_path, contrast_scores

# The bounds are tightest at this many times the smallest allowed sample.
PLANNED_SAMPLES: Final = 10
UNITS: Final = {"distinct_items": "items/visitor", "any_event": "share", "events": "events/visitor"}


@dataclass(frozen=True)
class MetricJudged:
    """What one metric says. `futile` is INCONCLUSIVE, and a PASS has become improbable; `too_little` is INCONCLUSIVE,
    and even harm could not have been shown; `episode` is what a FAIL rests on, where that is one."""

    outcome: Outcome
    reason: str
    numbers: tuple[Measurement, ...]
    futile: bool = False
    too_little: bool = False
    episode: Episode | None = None


def quality_scores(outcomes: Outcomes, *, factor: float) -> Scores:
    """The scores of mean(canary) - factor * mean(stable), visitors in order of arrival."""
    visitors = outcomes.visitors
    outcome = visitors["outcome"].to_numpy()
    return contrast_scores(
        outcome,
        visitors["is_canary"].to_numpy(),
        (visitors["weight_bp"] / ALL_BP).to_numpy(),
        factor=factor,
        expected=_expected(visitors, outcome),
    )


def _expected(visitors: pl.DataFrame, outcome: Floats) -> Floats | None:
    if "before" not in visitors.columns:
        return None
    known = visitors["before"].is_not_null().to_numpy().astype(np.float64)
    return expected_from(visitors["before"].fill_null(0.0).to_numpy(), known, outcome)


def quality_path(scope: Scope, outcomes: Outcomes, *, factor: float, alpha: float | None = None) -> ContrastPath:
    """The confidence sequence of mean(canary) - factor * mean(stable), after each visitor in order of arrival."""
    return contrast_path(
        quality_scores(outcomes, factor=factor),
        alpha=scope.plan.alpha if alpha is None else alpha,
        planned=PLANNED_SAMPLES * scope.plan.min_visitors_per_arm / 2,
    )


def evidence_of(scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> tuple[Evidence, Scores]:
    """The log ratio of no loss against a loss of the metric's margin, after each visitor, and what it is made of."""
    scores = quality_scores(outcomes, factor=1.0 - metric.margin / 2)
    return evidence_path(scores, margin=metric.margin), scores


def judge_metric(scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> MetricJudged:
    """Non-inferiority, harm and futility of one metric; d = mean(canary) - (1 - margin) * mean(stable).

    PASS when the data, at some visitor's arrival, favoured no loss over a loss of the margin by 1 to alpha, and have
    not turned since. FAIL when the upper bound of d is below 0: the loss is shown to be larger than the margin. A
    canary shown to be a little worse, but by less than was promised to be acceptable, is not harm: the plan was fixed
    before anybody looked. Futile when the data favour a loss of the margin so far that a PASS has become improbable.
    """
    numbers = metric_numbers(scope, metric, outcomes)
    said = f"{metric.name}: {_counts(outcomes)}, {_effect(metric, numbers)}"
    if outcomes.visitors.is_empty():
        why = "no visitor's attribution window is closed yet"
        return MetricJudged(Outcome.INCONCLUSIVE, why, numbers, too_little=True)
    count = len(scope.plan.all_metrics)
    harm = quality_path(scope, outcomes, factor=1.0 - metric.margin, alpha=scope.plan.alpha / count)
    high = float(harm.high[-1])
    if math.isnan(high) or min(harm.canary[-1], harm.stable[-1]) < BURN_IN:
        return MetricJudged(Outcome.INCONCLUSIVE, f"too little to judge: {said}", numbers, too_little=True)
    if not _stable_has_any(outcomes):
        why = f"stable has no {metric.name} at all: {said}"
        return MetricJudged(Outcome.INCONCLUSIVE, why, numbers, too_little=True)
    if high < 0:
        return MetricJudged(Outcome.FAIL, f"worse by more than {metric.margin:.0%}: {said}", numbers)
    return _promotion(scope, metric, outcomes, said, numbers)


def _promotion(
    scope: Scope, metric: MetricPlan, outcomes: Outcomes, said: str, numbers: tuple[Measurement, ...]
) -> MetricJudged:
    evidence, scores = evidence_of(scope, metric, outcomes)
    count, power = len(scope.plan.all_metrics), scope.plan.power
    limits = boundaries(scope.plan.alpha, None if power is None else 1.0 - (1.0 - power) / count)
    enough = max(BURN_IN, scope.plan.min_visitors_per_arm)
    where = standing(evidence, (scores.canary >= enough) & (scores.stable >= enough), limits)
    number = Measurement(
        name=f"{metric.name}_log_evidence",
        value=float(evidence.log_ratio[-1]),
        n=len(evidence.log_ratio),
        low=None if limits.lower is None else -limits.lower,
        high=limits.upper,
        unit="log ratio",
    )
    numbers = (*numbers, number)
    if where == "pass":
        return MetricJudged(Outcome.PASS, f"not worse by {metric.margin:.0%}: {said}", numbers)
    if where == "futile":
        why = f"futile: a loss of {metric.margin:.0%} fits the data better than none, a pass is improbable: {said}"
        return MetricJudged(Outcome.INCONCLUSIVE, why, numbers, futile=True)
    return MetricJudged(Outcome.INCONCLUSIVE, f"undecided at {metric.margin:.0%}: {said}", numbers)


def metric_numbers(scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> tuple[Measurement, ...]:
    """Each arm's mean and the difference with its bounds; the bounds hold at every look."""
    unit, visitors = UNITS[metric.statistic], outcomes.visitors
    numbers = []
    for name, arm in (("canary", True), ("stable", False)):
        values = visitors.filter(pl.col("is_canary") == arm)["outcome"]
        mean = None if values.is_empty() else float(values.sum() / values.len())
        numbers.append(Measurement(name=f"{metric.name}_{name}", value=mean, n=values.len(), unit=unit))
    value = low = high = None
    if not visitors.is_empty():
        path = quality_path(scope, outcomes, factor=1.0)
        bounds = (path.estimate[-1], path.low[-1], path.high[-1])
        value, low, high = (None if math.isnan(x) else float(x) for x in bounds)
    name = f"{metric.name}_difference"
    return (*numbers, Measurement(name=name, value=value, n=len(visitors), low=low, high=high, unit=unit))


def _counts(outcomes: Outcomes) -> str:
    canary = int(outcomes.visitors["is_canary"].sum())
    return f"{canary} canary and {outcomes.visitors.height - canary} stable visitors"


def _effect(metric: MetricPlan, numbers: tuple[Measurement, ...]) -> str:
    difference = numbers[2]
    if difference.value is None or difference.low is None or difference.high is None:
        return "no difference can be estimated"
    within = f"within [{difference.low:+.3f}, {difference.high:+.3f}] {UNITS[metric.statistic]}"
    return f"difference {difference.value:+.3f} {within}"


def _stable_has_any(outcomes: Outcomes) -> bool:
    return bool((outcomes.visitors.filter(~pl.col("is_canary"))["outcome"] > 0).any())
