"""From logged rows to verdicts: is the canary worse, failing, slow, degraded; was it counted right.

Here: `judge`, which asks all questions, and the one about quality over all metrics of the plan. Not here: what one
metric says (metric_quality.py), which phase follows (phases.py).

Every verdict is PASS only when shown, FAIL only when shown, and INCONCLUSIVE in between. A source that cannot be read,
is empty or stale is INCONCLUSIVE, never zero. All may be looked at on every tick (sequential.py); each side of each
verdict errs with probability at most `plan.alpha`.
"""

from __future__ import annotations

from dataclasses import replace

from recsys_assets.records import Measurement, MetricPlan, Outcome, Verdict
from recsys_assets.rollout.counting import counted, sample_ratio
from recsys_assets.rollout.covariates import known_before
from recsys_assets.rollout.episodes import with_stalls
from recsys_assets.rollout.evidence import QUALITY, unreadable, verdict
from recsys_assets.rollout.guardrails import degraded, guard_verdicts, stable_health
from recsys_assets.rollout.metric_quality import MetricJudged, judge_metric, quality_path
from recsys_assets.rollout.outcomes import Logs, Outcomes, Scope, gateway_requests, visitor_outcomes
from recsys_assets.rollout.quality_episodes import resting

__all__ = ["judge", "quality", "quality_path"]


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


def quality(logs: Logs, scope: Scope, outcomes: Outcomes) -> Verdict:
    """Is the canary worse in any metric of the plan? `outcomes` are those of the plan's first metric.

    PASS when every metric is shown not to be worse by its margin: each is tested at the whole of alpha, since one that
    is truly worse has to err for the release to pass (intersection-union). FAIL when any is shown to be worse by more:
    each is tested at its share of alpha, since here one that errs is enough. Futile when any is: each has its share
    of 1 - power.
    """
    if why := unreadable(logs, scope, "exposures", "feedback"):
        return verdict(QUALITY, scope, Outcome.INCONCLUSIVE, why).model_copy(update={"basis": "none"})
    first, *others = scope.plan.all_metrics
    judged = [_judged(logs, scope, first, outcomes)]
    judged += [_judged(logs, scope, metric, visitor_outcomes(logs, scope, metric)) for metric in others]
    numbers = tuple(number for one in judged for number in one.numbers) + _left_out(outcomes)
    failed = [one for one in judged if one.outcome is Outcome.FAIL]
    unproven = [one for one in judged if one.outcome is not Outcome.PASS]
    said = "; ".join(one.reason for one in failed or unproven or judged)
    if failed:
        found = verdict(QUALITY, scope, Outcome.FAIL, said, *numbers)
        # One metric that is shown to be worse beyond one episode is enough.
        episode = None if any(one.episode is None for one in failed) else failed[0].episode
        return found.model_copy(update={"episode": with_stalls(episode, scope.stalls)})
    if unproven:
        found = verdict(QUALITY, scope, Outcome.INCONCLUSIVE, said, *numbers)
        too_little = any(one.too_little for one in judged)
        changes = {"futile": any(one.futile for one in unproven), "basis": "too_little" if too_little else "enough"}
        return found.model_copy(update=changes)
    return verdict(QUALITY, scope, Outcome.PASS, said, *numbers)


def _judged(logs: Logs, scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> MetricJudged:
    seen = with_history(logs, scope, metric, outcomes)
    found = judge_metric(scope, metric, seen)
    return replace(found, episode=resting(scope, metric, seen)) if found.outcome is Outcome.FAIL else found


def with_history(logs: Logs, scope: Scope, metric: MetricPlan, outcomes: Outcomes) -> Outcomes:
    """The same visitors with what was known `before` the release of each, where the plan looks that up."""
    if not scope.plan.history_seconds:
        return outcomes
    known = known_before(logs, scope, metric)
    return replace(outcomes, visitors=outcomes.visitors.join(known, on="visitor_id", how="left", maintain_order="left"))


def _left_out(outcomes: Outcomes) -> tuple[Measurement, ...]:
    counts = {name: getattr(outcomes, name) for name in ("saw_both", "degraded", "unmatured", "unsettled")}
    return tuple(Measurement(name=f"left_out_{name}", value=n, n=n, unit="visitors") for name, n in counts.items())
