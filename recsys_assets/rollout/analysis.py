"""From outcomes and counts to verdicts: is the canary worse, failing, slow, degraded; was it counted right.

Here: one function for each question, all pure. Not here: which phase follows (phases.py), reading of any log.

Every verdict is PASS only when shown, FAIL only when shown, and INCONCLUSIVE in between. A source that cannot be read,
is empty or stale is INCONCLUSIVE, never zero. All may be looked at on every tick (sequential.py); each side of each
verdict errs with probability at most `plan.alpha`, except the sample ratio with SAMPLE_RATIO_ALPHA.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

import polars as pl

from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.rollout.outcomes import ALL_BP, FULL_RUNG, Logs, Outcomes, Scope, gateway_requests, visitor_outcomes
from recsys_assets.rollout.sequential import (
    ContrastPath,
    contrast_path,
    difference_bounds,
    rate_bounds,
    sample_ratio_evidence,
)

QUALITY: Final = "canary_is_not_worse"
ERRORS: Final = "canary_has_no_more_errors"
LATENCY: Final = "canary_is_not_slower"
DEGRADED: Final = "canary_answers_are_not_degraded"
RATIO: Final = "canary_traffic_matches_its_weight"
COUNTED: Final = "exposures_are_counted"
STABLE: Final = "stable_is_healthy"
# Those that speak against the canary itself; the others speak about the routing, the logs or stable.
GUARDRAILS: Final = (QUALITY, ERRORS, LATENCY, DEGRADED)

# The confidence sequence of means is asymptotic: before this many visitors in each arm it says nothing.
BURN_IN = 50
# The bounds are tightest at this many times the smallest allowed sample.
PLANNED_SAMPLES = 10
# A wrong alarm stops a good release, and nothing is harmed meanwhile: rarer than the plan's alpha.
SAMPLE_RATIO_ALPHA = 0.005
# The tail beyond the 99th percentile, and how much of it is tolerated where the plan's ratio is shown to hold.
TAIL, TOLERATED_TAIL = 0.01, 0.02
MIN_TAIL_SAMPLES = 100
# Twice of very little is still very little: no canary is slow below this.
LATENCY_FLOOR_MS = 25.0
MAX_UNCOUNTED_SHARE = 0.01
# Stable is called broken above this rate of failures over its recent requests.
BROKEN_RATE, RECENT_SECONDS = 0.10, 30.0


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


def guard_verdicts(logs: Logs, scope: Scope, requests: pl.DataFrame) -> tuple[Verdict, Verdict]:
    """The two that need nothing but the gateway: errors and latency."""
    return errors(logs, scope, requests), latency(logs, scope, requests)


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
    margin. A canary shown to be a little worse, but by less than was promised to be acceptable, is not harm: the plan was
    fixed before anybody looked, and so the two outcomes exclude each other. What is neither by the deadline rolls back.
    """
    path = quality_path(scope, outcomes, factor=1.0 - scope.plan.margin)
    if why := _unreadable(logs, scope, need_feedback=True):
        return _verdict(QUALITY, scope, Outcome.INCONCLUSIVE, why)
    if not path.low.size:
        return _verdict(QUALITY, scope, Outcome.INCONCLUSIVE, "no visitor's attribution window is closed yet")
    n_canary, n_stable = int(path.canary[-1]), int(path.stable[-1])
    numbers = _quality_numbers(scope, outcomes)
    enough = min(n_canary, n_stable) >= scope.plan.min_visitors_per_arm
    low, high = float(path.low[-1]), float(path.high[-1])
    said = f"{n_canary} canary and {n_stable} stable visitors, {_effect(numbers)}"
    if math.isnan(low) or math.isnan(high) or min(n_canary, n_stable) < BURN_IN:
        return _verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"too little to judge: {said}", *numbers)
    if not _stable_engages(outcomes):
        return _verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"stable has no engagement at all: {said}", *numbers)
    if high < 0:
        return _verdict(QUALITY, scope, Outcome.FAIL, f"worse by more than {scope.plan.margin:.0%}: {said}", *numbers)
    if low > 0 and enough:
        return _verdict(QUALITY, scope, Outcome.PASS, f"not worse by {scope.plan.margin:.0%}: {said}", *numbers)
    return _verdict(QUALITY, scope, Outcome.INCONCLUSIVE, f"undecided at {scope.plan.margin:.0%}: {said}", *numbers)


def errors(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of failed requests at the gateway: canary may exceed stable by at most `max_error_rate_increase`."""
    return _rates(ERRORS, "error_rate", logs, scope, requests, "failed", scope.plan.max_error_rate_increase)


def latency(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is the canary's 99th percentile more than `max_p99_ratio` times stable's?

    A ratio of two estimated percentiles has no honest interval at a few hundred samples. The same question as a rate
    has: p99(canary) <= t if and only if at most 1 % of its answers are slower than t, with t = ratio * p99(stable).
    FAIL when the share of answers slower than t is shown to exceed stable's by more than 1 %; PASS when shown to exceed it
    by less than 2 %. Both arms are counted over the same time, so that a busy machine slows both.
    """
    answered = requests.filter(~pl.col("failed") & pl.col("duration_ms").is_finite())
    stable_ms = answered.filter(pl.col("variant") == "stable")["duration_ms"]
    canary_ms = answered.filter(pl.col("variant") == "canary")["duration_ms"]
    if why := _unreadable(logs, scope):
        return _verdict(LATENCY, scope, Outcome.INCONCLUSIVE, why)
    p99 = stable_ms.quantile(1 - TAIL, interpolation="higher")
    if p99 is None or stable_ms.len() < MIN_TAIL_SAMPLES or canary_ms.is_empty():
        why = f"{canary_ms.len()} canary and {stable_ms.len()} stable answers are too few for a 99th percentile"
        return _verdict(LATENCY, scope, Outcome.INCONCLUSIVE, why)
    limit = max(p99 * scope.plan.max_p99_ratio, LATENCY_FLOOR_MS)
    slow_canary, slow_stable = int((canary_ms > limit).sum()), int((stable_ms > limit).sum())
    low, high = difference_bounds((slow_canary, canary_ms.len()), (slow_stable, stable_ms.len()), scope.plan.alpha)
    numbers = (
        _percentile("p99_canary_ms", canary_ms),
        _percentile("p99_stable_ms", stable_ms),
        Measurement(
            name="share_slower_than_limit_increase",
            value=slow_canary / canary_ms.len() - slow_stable / stable_ms.len(),
            n=canary_ms.len(),
            low=low,
            high=high,
            unit="share",
        ),
    )
    said = f"{slow_canary} of {canary_ms.len()} canary answers took more than {limit:.0f} ms (stable's p99 is {p99:.0f} ms)"
    outcome = Outcome.FAIL if low > TAIL else Outcome.PASS if high < TOLERATED_TAIL else Outcome.INCONCLUSIVE
    return _verdict(LATENCY, scope, outcome, said, *numbers)


def degraded(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of answers from a lower rung or without any item, of those answered, by the gateway's rows."""
    answered = requests.filter(~pl.col("failed") & pl.col("rung").is_not_null())
    if logs.exposures is not None:
        empty = logs.exposures.filter(pl.col("items").list.len() == 0).select("request_id", empty=pl.lit(True))
        answered = answered.join(empty.unique("request_id"), on="request_id", how="left")
    else:
        answered = answered.with_columns(empty=pl.lit(False))
    answered = answered.with_columns(lower=(pl.col("rung") != FULL_RUNG) | pl.col("empty").fill_null(False))
    return _rates(DEGRADED, "degraded_rate", logs, scope, answered, "lower", scope.plan.max_degraded_rate_increase)


def sample_ratio(logs: Logs, scope: Scope) -> Verdict:
    """Do visitors arrive in the arms at the planned shares? A mismatch makes everything else untrustworthy: INCONCLUSIVE.

    Each visitor counts once, at the first request since the canary began, failed or not, as the gateway saw it.
    """
    if why := _unreadable(logs, scope):
        return _verdict(RATIO, scope, Outcome.INCONCLUSIVE, why)
    counts = _arrivals(logs, scope)
    total = sum(canary + stable for canary, stable, _ in counts)
    evidence = sample_ratio_evidence(counts)
    limit = -math.log(SAMPLE_RATIO_ALPHA)
    steps = ", ".join(f"{c} of {c + s} at a planned {share:.0%}" for c, s, share in counts)
    number = Measurement(name="sample_ratio_log_evidence", value=evidence, n=total, high=limit)
    if total < BURN_IN:
        return _verdict(RATIO, scope, Outcome.INCONCLUSIVE, f"only {total} visitors so far", number)
    if evidence >= limit:
        why = f"visitors do not arrive as planned ({steps}): the routing or its counting is broken"
        return _verdict(RATIO, scope, Outcome.INCONCLUSIVE, why, number)
    return _verdict(RATIO, scope, Outcome.PASS, f"canary got {steps}", number)


def _arrivals(logs: Logs, scope: Scope) -> list[tuple[int, int, float]]:
    assert logs.gateway is not None
    first = (
        logs.gateway.filter(
            pl.col("variant").is_in(["stable", "canary"])
            & pl.col("visitor_id").is_not_null()
            & (pl.col("served_at") >= scope.start)
            & (pl.col("served_at") <= scope.visible_until)
        )
        .sort("served_at")
        .group_by("visitor_id", maintain_order=True)
        .first()
    )
    from recsys_assets.rollout.outcomes import SETTLE_SECONDS, with_weight

    settled = with_weight(first.sort("served_at"), scope.weights, at="served_at").filter(
        (pl.col("served_at") >= pl.col("weight_since") + timedelta(seconds=SETTLE_SECONDS))
        & pl.col("weight_bp").is_between(0, ALL_BP, closed="none")
    )
    by_step = settled.group_by("weight_bp", maintain_order=True).agg(
        canary=(pl.col("variant") == "canary").sum(), stable=(pl.col("variant") == "stable").sum()
    )
    return [(int(r["canary"]), int(r["stable"]), r["weight_bp"] / ALL_BP) for r in by_step.iter_rows(named=True)]


def counted(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Do the model servers' exposures agree with what the gateway served, answer by answer?

    An answer that the gateway served and no server logged is lost to the analysis; an exposure that the gateway never
    served is only declared. More than 1 % of either is INCONCLUSIVE: the logs are broken, which says nothing of the model.
    """
    if why := _unreadable(logs, scope):
        return _verdict(COUNTED, scope, Outcome.INCONCLUSIVE, why)
    assert logs.exposures is not None
    assert logs.gateway is not None
    served = requests.filter(pl.col("status") == 200)
    shown = logs.exposures.filter(
        pl.col("variant").is_in(["stable", "canary"])
        & (pl.col("served_at") >= scope.start)
        & (pl.col("served_at") <= scope.visible_until)
    )
    lost = served.join(logs.exposures, on="request_id", how="anti").height
    declared = shown.join(logs.gateway.filter(pl.col("status") == 200), on="request_id", how="anti").height
    if served.is_empty() or shown.is_empty():
        why = f"gateway served {served.height} answers, servers logged {shown.height}"
        return _verdict(COUNTED, scope, Outcome.INCONCLUSIVE, why)
    shares = (lost / served.height, declared / shown.height)
    numbers = (
        Measurement(name="served_but_not_logged", value=shares[0], n=served.height, unit="share"),
        Measurement(name="logged_but_not_served", value=shares[1], n=shown.height, unit="share"),
    )
    said = (
        f"{lost} of {served.height} served answers are not logged, {declared} of {shown.height} logged were not served"
    )
    outcome = Outcome.PASS if max(shares) <= MAX_UNCOUNTED_SHARE else Outcome.INCONCLUSIVE
    return _verdict(COUNTED, scope, outcome, said, *numbers)


def stable_health(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is stable fit to take the users back? FAIL when it is shown to fail above BROKEN_RATE in the last RECENT_SECONDS."""
    since = scope.now - timedelta(seconds=RECENT_SECONDS)
    recent = requests.filter((pl.col("variant") == "stable") & (pl.col("served_at") >= since))
    if why := _unreadable(logs, scope):
        return _verdict(STABLE, scope, Outcome.INCONCLUSIVE, why)
    failed, n = int(recent["failed"].sum()), recent.height
    low, high = rate_bounds(failed, n, scope.plan.alpha)
    number = Measurement(
        name="error_rate_stable_recent", value=failed / n if n else None, n=n, low=low, high=high, unit="share"
    )
    if n == 0:
        # At full weight the canary gets everything: that nobody asks stable is no news about it.
        outcome = Outcome.PASS if scope.baking else Outcome.INCONCLUSIVE
        return _verdict(STABLE, scope, outcome, "stable got no requests lately", number)
    outcome = Outcome.FAIL if low > BROKEN_RATE else Outcome.PASS
    return _verdict(STABLE, scope, outcome, f"{failed} of stable's last {n} requests failed", number)


def _rates(check: str, name: str, logs: Logs, scope: Scope, rows: pl.DataFrame, column: str, limit: float) -> Verdict:
    """Compare the rate of `column` between the arms: FAIL above `limit`, PASS below it, both only when shown."""
    if why := _unreadable(logs, scope):
        return _verdict(check, scope, Outcome.INCONCLUSIVE, why)
    counts = {
        variant: (int(events), int(n))
        for variant, events, n in rows.group_by("variant").agg(pl.col(column).sum(), n=pl.len()).iter_rows()
    }
    canary, stable = counts.get("canary", (0, 0)), counts.get("stable", (0, 0))
    if not canary[1] or not stable[1]:
        why = f"{canary[1]} canary and {stable[1]} stable requests are counted"
        return _verdict(check, scope, Outcome.INCONCLUSIVE, why)
    low, high = difference_bounds(canary, stable, scope.plan.alpha)
    numbers = (
        _rate(f"{name}_canary", canary, scope.plan.alpha),
        _rate(f"{name}_stable", stable, scope.plan.alpha),
        Measurement(
            name=f"{name}_increase",
            value=canary[0] / canary[1] - stable[0] / stable[1],
            n=canary[1],
            low=low,
            high=high,
            unit="share",
        ),
    )
    said = f"{canary[0]} of {canary[1]} on canary, {stable[0]} of {stable[1]} on stable; increase within [{low:.3f}, {high:.3f}], limit {limit}"
    outcome = Outcome.FAIL if low > limit else Outcome.PASS if high < limit else Outcome.INCONCLUSIVE
    return _verdict(check, scope, outcome, said, *numbers)


def _unreadable(logs: Logs, scope: Scope, *, need_feedback: bool = False) -> str:
    """Why the sources cannot carry a verdict, or an empty string."""
    if scope.start is None:
        return "no user has been sent to the canary yet"
    sources = {"gateway": logs.gateway, "exposures": logs.exposures}
    if need_feedback:
        sources["feedback"] = logs.feedback
    for name, frame in sources.items():
        if frame is None:
            return f"the {name} log cannot be read"
        if frame.is_empty():
            return f"the {name} log is empty"
    assert logs.gateway is not None
    limit = max(scope.plan.lease_seconds, RECENT_SECONDS)
    arms = ("canary",) if scope.baking else ("canary", "stable")
    for arm in arms if not need_feedback else ():
        newest = logs.gateway.filter(pl.col("variant") == arm)["served_at"].max()
        began = scope.weights[-1].since
        age = (scope.now - max(newest, began)).total_seconds() if newest else (scope.now - began).total_seconds()
        if newest is None or age > limit:
            return f"the gateway has no {arm} request of the last {limit:.0f} s"
    return ""


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


def _rate(name: str, counts: tuple[int, int], alpha: float) -> Measurement:
    low, high = rate_bounds(*counts, alpha)
    return Measurement(name=name, value=counts[0] / counts[1], n=counts[1], low=low, high=high, unit="share")


def _percentile(name: str, values: pl.Series) -> Measurement:
    value = values.quantile(1 - TAIL, interpolation="higher")
    return Measurement(name=name, value=value, n=values.len(), unit="ms")


def _verdict(check: str, scope: Scope, outcome: Outcome, reason: str, *numbers: Measurement) -> Verdict:
    return Verdict(check=check, model_version=scope.model_version, outcome=outcome, reason=reason, measurements=numbers)
