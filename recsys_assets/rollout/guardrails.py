"""Guardrails: errors, latency and degraded answers of the canary against stable, and whether stable is fit itself.

Here: verdicts from counts at the gateway, PASS and FAIL only when shown. Not here: quality (analysis.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import polars as pl

from recsys_assets.columns import EXPOSURES
from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.rollout.evidence import DEGRADED, ERRORS, LATENCY, STABLE, Source, unreadable, verdict
from recsys_assets.rollout.outcomes import FULL_RUNG, Logs, Scope, lower_rung
from recsys_assets.rollout.sequential import difference_bounds, rate_bounds

# The tail beyond the 99th percentile, and how much of it is tolerated where the plan's ratio is shown to hold.
TAIL: Final = 0.01
TOLERATED_TAIL: Final = 0.02
MIN_TAIL_SAMPLES: Final = 100
# Twice of very little is still very little: no canary is slow below this.
LATENCY_FLOOR_MS: Final = 25.0
# Stable is called broken when shown to fail above this rate, over its requests of the last seconds.
BROKEN_RATE: Final = 0.10
RECENT_SECONDS: Final = 30.0


def guard_verdicts(logs: Logs, scope: Scope, requests: pl.DataFrame) -> tuple[Verdict, Verdict]:
    """The two that need nothing but the gateway: errors and latency."""
    return errors(logs, scope, requests), latency(logs, scope, requests)


def errors(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of failed requests at the gateway: canary may exceed stable by at most `max_error_rate_increase`."""
    return _rates(ERRORS, "error_rate", logs, scope, requests, "failed", scope.plan.max_error_rate_increase)


def latency(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is the canary's 99th percentile more than `max_p99_ratio` times stable's?

    A ratio of two estimated percentiles has no honest interval at a few hundred samples. The same question as a rate
    has: p99(canary) <= t if and only if at most 1 % of its answers are slower than t, with t = ratio * p99(stable).
    FAIL when the share of answers slower than t is shown to exceed stable's by more than 1 %; PASS when shown to
    exceed it by less than 2 %. Both arms are counted over the same time, so that a busy machine slows both.
    """
    answered = requests.filter(~pl.col("failed") & pl.col("duration_ms").is_finite())
    stable_ms = answered.filter(pl.col("variant") == "stable")["duration_ms"]
    canary_ms = answered.filter(pl.col("variant") == "canary")["duration_ms"]
    if why := unreadable(logs, scope):
        return verdict(LATENCY, scope, Outcome.INCONCLUSIVE, why)
    p99 = stable_ms.quantile(1 - TAIL, interpolation="higher")
    if p99 is None or stable_ms.len() < MIN_TAIL_SAMPLES or canary_ms.is_empty():
        why = f"{canary_ms.len()} canary and {stable_ms.len()} stable answers are too few for a 99th percentile"
        return verdict(LATENCY, scope, Outcome.INCONCLUSIVE, why)
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
    said = f"{slow_canary} of {canary_ms.len()} canary answers took more than {limit:.0f} ms"
    said += f" (stable's p99 is {p99:.0f} ms)"
    outcome = Outcome.FAIL if low > TAIL else Outcome.PASS if high < TOLERATED_TAIL else Outcome.INCONCLUSIVE
    return verdict(LATENCY, scope, outcome, said, *numbers)


def degraded(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Share of answers from a lower rung or without any item, of those answered, by the gateway's rows."""
    answered = requests.filter(~pl.col("failed") & pl.col("rung").is_not_null())
    exposures = EXPOSURES.to_frame() if logs.exposures is None else logs.exposures
    excused = exposures.select(
        "request_id",
        empty=pl.col("items").list.len() == 0,
        unknown=(pl.col("rung") != FULL_RUNG) & ~lower_rung(),
    ).unique("request_id")
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
    counts = {
        variant: (int(events), int(n))
        for variant, events, n in rows.group_by("variant").agg(pl.col(column).sum(), n=pl.len()).iter_rows()
    }
    canary, stable = counts.get("canary", (0, 0)), counts.get("stable", (0, 0))
    if not canary[1] or not stable[1]:
        why = f"{canary[1]} canary and {stable[1]} stable requests are counted"
        return verdict(check, scope, Outcome.INCONCLUSIVE, why)
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
    said = f"{canary[0]} of {canary[1]} on canary, {stable[0]} of {stable[1]} on stable"
    said += f"; increase within [{low:.3f}, {high:.3f}], limit {limit}"
    outcome = Outcome.FAIL if low > limit else Outcome.PASS if high < limit else Outcome.INCONCLUSIVE
    return verdict(check, scope, outcome, said, *numbers)


def _rate(name: str, counts: tuple[int, int], alpha: float) -> Measurement:
    low, high = rate_bounds(*counts, alpha)
    return Measurement(name=name, value=counts[0] / counts[1], n=counts[1], low=low, high=high, unit="share")


def _percentile(name: str, values: pl.Series) -> Measurement:
    value = values.quantile(1 - TAIL, interpolation="higher")
    return Measurement(name=name, value=value, n=values.len(), unit="ms")
