"""Guardrails: errors, latency and degraded answers of the canary against stable, and whether stable is fit itself.

Here: verdicts from counts at the gateway, PASS and FAIL only when shown. Not here: quality (analysis.py).
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

import polars as pl

from recsys_assets.columns import EXPOSURES
from recsys_assets.records import LatencyLimit, Measurement, Outcome, Verdict
from recsys_assets.rollout.evidence import DEGRADED, ERRORS, LATENCY, STABLE, Source, unreadable, verdict
from recsys_assets.rollout.outcomes import FULL_RUNG, Logs, Scope, lower_rung
from recsys_assets.rollout.relative_rates import Counts, design_effect, ratio_evidence
from recsys_assets.rollout.sequential import difference_bounds, rate_bounds

# The tail beyond the 99th percentile.
TAIL: Final = 0.01
# A quantile's limit is shown to hold when the share slower than it is shown to exceed the tail by less than this.
TOLERATED_EXCESS: Final = 0.01
# So many answers must lie, or be expected, beyond a quantile before it is judged.
MIN_BEYOND: Final = 1.0
MIN_TAIL_SAMPLES: Final = 100
# Twice of very little is still very little: no canary is slow below this.
LATENCY_FLOOR_MS: Final = 25.0
# Stable is called broken when shown to fail above this rate, over its requests of the last seconds.
BROKEN_RATE: Final = 0.10
RECENT_SECONDS: Final = 30.0
# Many times of next to nothing is still next to nothing: a ratio of error rates counts from here on.
MIN_CANARY_FAILURES: Final = 10
MIN_RATE_INCREASE: Final = 0.0005
NONE: Final[Counts] = (0.0, 0.0)


def guard_verdicts(logs: Logs, scope: Scope, requests: pl.DataFrame) -> tuple[Verdict, Verdict]:
    """The two that need nothing but the gateway: errors and latency."""
    return errors(logs, scope, requests), latency(logs, scope, requests)


def errors(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of failed requests at the gateway: canary may exceed stable by at most `max_error_rate_increase`, and be
    at most `max_error_rate_ratio` times stable's; either limit shown to be broken is a FAIL."""
    found = _rates(ERRORS, "error_rate", logs, scope, requests, "failed", scope.plan.max_error_rate_increase)
    return _with_ratio(found, scope, requests) if found.measurements else found


def _with_ratio(found: Verdict, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """FAIL where the ratio is shown to be broken; no PASS while it is half-way to that, on the scale of evidence."""
    limit = scope.plan.max_error_rate_ratio
    (canary, _), (stable, _), design = _arms(requests, "failed")
    evidence = ratio_evidence(_by_step(requests, "failed"), limit=limit, design=design)
    shown = -math.log(scope.plan.alpha)
    number = Measurement(
        name="error_rate_ratio_log_evidence", value=evidence, n=requests.height, high=shown, unit="log ratio"
    )
    found = found.model_copy(update={"measurements": (*found.measurements, number)})
    if canary[0] / canary[1] - stable[0] / stable[1] < MIN_RATE_INCREASE:
        return found
    if canary[0] >= MIN_CANARY_FAILURES and evidence >= shown:
        why = f"more than {limit:g} times stable's rate: {found.reason}"
        return found.model_copy(update={"outcome": Outcome.FAIL, "reason": why})
    leans = canary[0] >= MIN_CANARY_FAILURES / 2 and evidence >= shown / 2
    if leans and found.outcome is Outcome.PASS:
        why = f"perhaps more than {limit:g} times stable's rate: {found.reason}"
        return found.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": why})
    return found


def latency(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is a quantile of the canary's latency more than its ratio times stable's? p99, and what the plan names besides.

    A ratio of two estimated quantiles has no honest interval at a few hundred samples. The same question as a rate
    has: p99(canary) <= t if and only if at most 1 % of its answers are slower than t, with t = ratio * p99(stable).
    FAIL when the canary's share slower than t is shown to exceed the tail; PASS when it is shown to exceed it by less
    than one percent. Both arms are counted over the same time, so that a busy machine slows both. Each limit has
    its share of alpha for a FAIL, since one that errs is enough.
    """
    answered = requests.filter(~pl.col("failed") & pl.col("duration_ms").is_finite())
    if why := unreadable(logs, scope):
        return verdict(LATENCY, scope, Outcome.INCONCLUSIVE, why)
    limits = (LatencyLimit(quantile=1 - TAIL, max_ratio=scope.plan.max_p99_ratio), *scope.plan.latency_limits)
    found = [_slower(answered, scope, limit, scope.plan.alpha / len(limits)) for limit in limits]
    outcomes = [outcome for outcome, _, _ in found]
    worst = next(o for o in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if o in outcomes)
    said = "; ".join(reason for outcome, reason, _ in found if outcome is worst)
    return verdict(LATENCY, scope, worst, said, *(number for _, _, numbers in found for number in numbers))


def _slower(
    answered: pl.DataFrame, scope: Scope, limit: LatencyLimit, alpha: float
) -> tuple[Outcome, str, tuple[Measurement, ...]]:
    name, tail = f"p{limit.quantile * 100:g}", 1.0 - limit.quantile
    stable_ms = answered.filter(pl.col("variant") == "stable")["duration_ms"]
    canary_ms = answered.filter(pl.col("variant") == "canary")["duration_ms"]
    quantile = stable_ms.quantile(limit.quantile, interpolation="higher")
    few = max(MIN_TAIL_SAMPLES, MIN_BEYOND / tail)
    if quantile is None or stable_ms.len() < few or canary_ms.is_empty():
        why = f"{canary_ms.len()} canary and {stable_ms.len()} stable answers are too few for {name}"
        return Outcome.INCONCLUSIVE, why, ()
    slow_from = max(quantile * limit.max_ratio, LATENCY_FLOOR_MS)
    rows = answered.with_columns(slow=pl.col("duration_ms") > slow_from)
    (canary, canary_alone), (stable, stable_alone), _ = _arms(rows, "slow")
    low, high = difference_bounds(canary_alone, stable_alone, alpha)
    expected = tail - stable[0] / stable[1]
    numbers = (
        _percentile(f"{name}_canary_ms", canary_ms, limit.quantile),
        _percentile(f"{name}_stable_ms", stable_ms, limit.quantile),
        Measurement(
            name=f"share_slower_than_{name}_limit_increase",
            value=canary[0] / canary[1] - stable[0] / stable[1],
            n=int(canary[1]),
            low=low,
            high=high,
            unit="share",
        ),
    )
    said = f"{canary[0]:.0f} of {canary[1]:.0f} canary answers took more than {slow_from:.0f} ms"
    said += f" (stable's {name} is {quantile:.0f} ms)"
    if low > expected:
        return Outcome.FAIL, said, numbers
    return (Outcome.PASS if high < expected + TOLERATED_EXCESS else Outcome.INCONCLUSIVE), said, numbers


def degraded(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of answers from a lower rung or without any item, of those answered, by the gateway's rows."""
    answered = requests.filter(~pl.col("failed") & pl.col("rung").is_not_null())
    exposures = EXPOSURES.to_frame() if logs.exposures is None else logs.exposures
    empty, unknown = pl.col("items").list.len() == 0, (pl.col("rung") != FULL_RUNG) & ~lower_rung()
    excused = exposures.filter(empty | unknown).select("request_id", empty=empty, unknown=unknown).unique("request_id")
    answered = answered.join(excused, on="request_id", how="left").with_columns(
        lower=((pl.col("rung") != FULL_RUNG) & ~pl.col("unknown").fill_null(False)) | pl.col("empty").fill_null(False)
    )
    limit = scope.plan.max_degraded_rate_increase
    return _rates(DEGRADED, "degraded_rate", logs, scope, answered, "lower", limit, "exposures")


def stable_health(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is stable fit to take the users back? FAIL when shown to fail above BROKEN_RATE in the last RECENT_SECONDS."""
    since = scope.now - timedelta(seconds=RECENT_SECONDS)
    recent = requests.filter((pl.col("variant") == "stable") & (pl.col("served_at") >= since))
    if why := unreadable(logs, scope):
        return verdict(STABLE, scope, Outcome.INCONCLUSIVE, why)
    failed, n = int(recent["failed"].sum()), recent.height
    low, high = rate_bounds(failed, n, scope.plan.alpha)
    number = Measurement(
        name="error_rate_stable_recent", value=failed / n if n else None, n=n, low=low, high=high, unit="share"
    )
    if n == 0:
        # At full weight the canary gets everything: that nobody asks stable is no news about it.
        outcome = Outcome.PASS if scope.baking else Outcome.INCONCLUSIVE
        return verdict(STABLE, scope, outcome, "stable got no requests lately", number)
    outcome = Outcome.FAIL if low > BROKEN_RATE else Outcome.PASS
    return verdict(STABLE, scope, outcome, f"{failed} of stable's last {n} requests failed", number)


def _rates(
    check: str, name: str, logs: Logs, scope: Scope, rows: pl.DataFrame, column: str, limit: float, *needed: Source
) -> Verdict:
    """Compare the rate of `column` between the arms: FAIL above `limit`, PASS below it, both only when shown."""
    if why := unreadable(logs, scope, *needed):
        return verdict(check, scope, Outcome.INCONCLUSIVE, why)
    (canary, canary_alone), (stable, stable_alone), _ = _arms(rows, column)
    if not canary[1] or not stable[1]:
        why = f"{canary[1]:.0f} canary and {stable[1]:.0f} stable requests are counted"
        return verdict(check, scope, Outcome.INCONCLUSIVE, why)
    low, high = difference_bounds(canary_alone, stable_alone, scope.plan.alpha)
    numbers = (
        _rate(f"{name}_canary", canary, canary_alone, scope.plan.alpha),
        _rate(f"{name}_stable", stable, stable_alone, scope.plan.alpha),
        Measurement(
            name=f"{name}_increase",
            value=canary[0] / canary[1] - stable[0] / stable[1],
            n=int(canary[1]),
            low=low,
            high=high,
            unit="share",
        ),
    )
    said = f"{canary[0]:.0f} of {canary[1]:.0f} on canary, {stable[0]:.0f} of {stable[1]:.0f} on stable"
    said += f"; increase within [{low:.3f}, {high:.3f}], limit {limit}"
    outcome = Outcome.FAIL if low > limit else Outcome.PASS if high < limit else Outcome.INCONCLUSIVE
    return verdict(check, scope, outcome, said, *numbers)


def _by_step(rows: pl.DataFrame, column: str) -> list[tuple[Counts, Counts]]:
    """(events, rows) of canary and stable for each share in force: shares and rates both change over time (Simpson)."""
    sums = rows.group_by("weight_bp", "variant").agg(pl.col(column).sum().cast(pl.Float64), n=pl.len().cast(pl.Float64))
    steps: dict[int, dict[str, Counts]] = {}
    for weight, variant, events, n in sums.sort("weight_bp").iter_rows():
        steps.setdefault(weight, {})[variant] = (events, n)
    return [(step.get("canary", NONE), step.get("stable", NONE)) for step in steps.values()]


def _arms(rows: pl.DataFrame, column: str) -> tuple[tuple[Counts, Counts], tuple[Counts, Counts], float]:
    """(events, rows) of canary, of stable, each also as so many independent rows as they are worth, and the design
    effect of both: what fails for one user again tells less than what fails for another. A request of nobody known is a
    cluster of its own."""
    user = pl.coalesce("visitor_id", "request_id").alias("user")
    by_user = rows.group_by(user, "variant").agg(pl.col(column).sum().cast(pl.Float64), n=pl.len().cast(pl.Float64))
    canary = (by_user["variant"] == "canary").to_numpy()
    events, n = by_user[column].to_numpy(), by_user["n"].to_numpy()
    counts = [(float(events[of].sum()), float(n[of].sum())) for of in (canary, ~canary)]
    worth = [design_effect(events[of], n[of], canary[of]) for of in (canary, ~canary)]
    first, second = ((c, (c[0] / d, c[1] / d)) for c, d in zip(counts, worth, strict=True))
    return first, second, design_effect(events, n, canary)


def _rate(name: str, counts: Counts, alone: Counts, alpha: float) -> Measurement:
    low, high = rate_bounds(*alone, alpha)
    return Measurement(name=name, value=counts[0] / counts[1], n=int(counts[1]), low=low, high=high, unit="share")


def _percentile(name: str, values: pl.Series, quantile: float) -> Measurement:
    value = values.quantile(quantile, interpolation="higher")
    return Measurement(name=name, value=value, n=values.len(), unit="ms")
