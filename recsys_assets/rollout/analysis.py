"""From logged rows to verdicts: is the canary worse, failing, slow, degraded; was it counted right.

Here: `judge`, which asks all questions, and the one about quality. Not here: which phase follows (phases.py).

Every verdict is PASS only when shown, FAIL only when shown, and INCONCLUSIVE in between. A source that cannot be read,
is empty or stale is INCONCLUSIVE, never zero. All may be looked at on every tick (sequential.py); each side of each
verdict errs with probability at most `plan.alpha`.
"""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.rollout.counting import counted, sample_ratio
from recsys_assets.rollout.evidence import BURN_IN, QUALITY, unreadable, verdict
from recsys_assets.rollout.guardrails import degraded, guard_verdicts, stable_health
from recsys_assets.rollout.outcomes import ALL_BP, Logs, Outcomes, Scope, gateway_requests, visitor_outcomes
from recsys_assets.rollout.sequential import ContrastPath, contrast_path

# The bounds are tightest at this many times the smallest allowed sample.
PLANNED_SAMPLES: Final = 10


def judge(logs: Logs, scope: Scope) -> tuple[Verdict, ...]:
    """All verdicts on the canary as it stands at `scope.now`."""
    requests = gateway_requests(logs, scope)
    return (
        quality(logs, scope, visitor_outcomes(logs, scope)),
        *guard_verdicts(logs, scope, requests),
        degraded(logs, scope, requests),
        sample_ratio(logs, scope),
        counted(logs, scope, requests),
        stable_health(logs, scope, requests),
    )


def quality_path(scope: Scope, outcomes: Outcomes, *, factor: float) -> ContrastPath:
    """The confidence sequence of mean(canary) - factor * mean(stable), after each visitor in order of arrival."""
    visitors = outcomes.visitors
    return contrast_path(
        visitors["outcome"].to_numpy(),
        visitors["is_canary"].to_numpy(),
        (visitors["weight_bp"] / ALL_BP).to_numpy(),
        factor=factor,
        alpha=scope.plan.alpha,
        planned=PLANNED_SAMPLES * scope.plan.min_visitors_per_arm / 2,
    )


def quality(logs: Logs, scope: Scope, outcomes: Outcomes) -> Verdict:
    """Non-inferiority and harm, from one bound on d = mean(canary) - (1 - margin) * mean(stable), in clicked items.

    PASS when the lower bound of d is above 0: the loss is shown to be smaller than the margin, with stable's own
    uncertainty inside the bound. FAIL when the upper bound of d is below 0: the loss is shown to be larger than the
    margin. A canary shown to be a little worse, but by less than was promised to be acceptable, is not harm: the plan
    was fixed before anybody looked, and so the two outcomes exclude each other. What is neither by the deadline
    rolls back.
    """
    path = quality_path(scope, outcomes, factor=1.0 - scope.plan.margin)
    if why := unreadable(logs, scope, "exposures", "feedback"):
        return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, why)
    if not path.low.size:
        return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, "no visitor's attribution window is closed yet")
    n_canary, n_stable = int(path.canary[-1]), int(path.stable[-1])
    numbers = _quality_numbers(scope, outcomes)
    enough = min(n_canary, n_stable) >= scope.plan.min_visitors_per_arm
    low, high = float(path.low[-1]), float(path.high[-1])
    said = f"{n_canary} canary and {n_stable} stable visitors, {_effect(numbers)}"
    if math.isnan(low) or math.isnan(high) or min(n_canary, n_stable) < BURN_IN:
        return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"too little to judge: {said}", *numbers)
    if not _stable_engages(outcomes):
        return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"stable has no engagement at all: {said}", *numbers)
    if high < 0:
        return verdict(QUALITY, scope, Outcome.FAIL, f"worse by more than {scope.plan.margin:.0%}: {said}", *numbers)
    if low > 0 and enough:
        return verdict(QUALITY, scope, Outcome.PASS, f"not worse by {scope.plan.margin:.0%}: {said}", *numbers)
    return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"undecided at {scope.plan.margin:.0%}: {said}", *numbers)


def _quality_numbers(scope: Scope, outcomes: Outcomes) -> tuple[Measurement, ...]:
    difference = quality_path(scope, outcomes, factor=1.0)
    numbers = []
    for name, arm in (("canary", True), ("stable", False)):
        values = outcomes.visitors.filter(pl.col("is_canary") == arm)["outcome"]
        mean = None if values.is_empty() else float(values.sum() / values.len())
        numbers.append(Measurement(name=f"engagement_{name}", value=mean, n=values.len(), unit="items/visitor"))
    bounds = (difference.estimate[-1], difference.low[-1], difference.high[-1])
    value, low, high = (None if math.isnan(x) else float(x) for x in bounds)
    n = len(outcomes.visitors)
    numbers.append(
        Measurement(name="engagement_difference", value=value, n=n, low=low, high=high, unit="items/visitor")
    )
    for name in ("saw_both", "degraded", "unmatured", "unsettled"):
        left = getattr(outcomes, name)
        numbers.append(Measurement(name=f"left_out_{name}", value=left, n=left, unit="visitors"))
    return tuple(numbers)


def _effect(numbers: tuple[Measurement, ...]) -> str:
    found = {m.name: m for m in numbers}
    difference = found["engagement_difference"]
    if difference.value is None or difference.low is None or difference.high is None:
        return "no difference can be estimated"
    return f"difference {difference.value:+.3f} within [{difference.low:+.3f}, {difference.high:+.3f}] items a visitor"


def _stable_engages(outcomes: Outcomes) -> bool:
    return bool((outcomes.visitors.filter(~pl.col("is_canary"))["outcome"] > 0).any())
