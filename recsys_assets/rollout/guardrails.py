"""Guardrails: errors, latency and degraded answers of the canary against stable, and whether stable is fit itself.

Here: verdicts from counts at the gateway, PASS and FAIL only when shown. Not here: quality (analysis.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from recsys_assets.columns import EXPOSURES
from recsys_assets.records import Episode, LatencyLimit, Measurement, Outcome, Verdict
from recsys_assets.rollout.episodes import errors_named, rests_on, with_stalls
from recsys_assets.rollout.evidence import (
    DEGRADED,
    ERRORS,
    LAST_ANSWER,
    LATENCY,
    STABLE,
    STALL_SECONDS,
    Source,
    milder,
    unreadable,
    verdict,
)
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
    found = _errors(logs, scope, requests)
    fewer = MIN_CANARY_FAILURES // 2

    def again(left: pl.DataFrame) -> Verdict:
        return _errors(logs, milder(scope), left, at_least=fewer)

    return _resting(found, scope, requests, "failed", again, errors_named)


def _errors(logs: Logs, scope: Scope, requests: pl.DataFrame, *, at_least: int = MIN_CANARY_FAILURES) -> Verdict:
    found = _rates(ERRORS, "error_rate", logs, scope, requests, "failed", scope.plan.max_error_rate_increase)
    return _with_ratio(found, scope, requests, at_least) if found.measurements else found


def _resting(
    found: Verdict,
    scope: Scope,
    rows: pl.DataFrame,
    column: str,
    again: Callable[[pl.DataFrame], Verdict],
    name: Callable[[pl.DataFrame], str],
) -> Verdict:
    """A FAIL with the one episode that it rests on, if it does. It stays a FAIL: that takes the weight."""
    if found.outcome is not Outcome.FAIL:
        return found
    episode = rests_on(rows, column, lambda left: again(left).outcome is Outcome.FAIL, name)
    return found.model_copy(update={"episode": with_stalls(episode, scope.stalls)})


def _with_ratio(found: Verdict, scope: Scope, requests: pl.DataFrame, at_least: int) -> Verdict:
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
    if canary[0] >= at_least and evidence >= shown:
        why = f"more than {limit:g} times stable's rate: {found.reason}"
        return found.model_copy(update={"outcome": Outcome.FAIL, "reason": why})
    leans = canary[0] >= at_least / 2 and evidence >= shown / 2
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
    judged = [_slower(answered, scope, limit, len(limits)) for limit in limits]
    worst = next(o for o in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if any(j.outcome is o for j in judged))
    telling = [one for one in judged if one.outcome is worst]
    said = "; ".join(one.reason for one in telling)
    found = verdict(LATENCY, scope, worst, said, *(number for one in judged for number in one.numbers))
    # One limit that is shown to be broken beyond one episode is enough.
    episode = None if any(one.episode is None for one in telling) else telling[0].episode
    return found.model_copy(update={"episode": with_stalls(episode, scope.stalls)})


@dataclass(frozen=True)
class _Quantile:
    """What one limit of latency says, and the one episode that a FAIL rests on, if it does."""

    outcome: Outcome
    reason: str
    numbers: tuple[Measurement, ...] = ()
    episode: Episode | None = None


def _slower(answered: pl.DataFrame, scope: Scope, limit: LatencyLimit, among: int) -> _Quantile:
    name, tail = f"p{limit.quantile * 100:g}", 1.0 - limit.quantile
    stable_ms = answered.filter(pl.col("variant") == "stable")["duration_ms"]
    canary_ms = answered.filter(pl.col("variant") == "canary")["duration_ms"]
    quantile = stable_ms.quantile(limit.quantile, interpolation="higher")
    few = max(MIN_TAIL_SAMPLES, MIN_BEYOND / tail)
    if quantile is None or stable_ms.len() < few or canary_ms.is_empty():
        why = f"{canary_ms.len()} canary and {stable_ms.len()} stable answers are too few for {name}"
        return _Quantile(Outcome.INCONCLUSIVE, why)
    slow_from = max(quantile * limit.max_ratio, LATENCY_FLOOR_MS)
    rows = answered.with_columns(slow=pl.col("duration_ms") > slow_from)
    (canary, canary_alone), (stable, stable_alone), _ = _arms(rows, "slow")
    low, high = difference_bounds(canary_alone, stable_alone, scope.plan.alpha / among)
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
        alpha = milder(scope).plan.alpha / among
        episode = rests_on(rows, "slow", lambda left: _still_slower(left, tail, alpha), lambda _: "slow answers")
        return _Quantile(Outcome.FAIL, said, numbers, episode)
    return _Quantile(Outcome.PASS if high < expected + TOLERATED_EXCESS else Outcome.INCONCLUSIVE, said, numbers)


def _still_slower(left: pl.DataFrame, tail: float, alpha: float) -> bool:
    """Whether the share of slow answers is shown to exceed the tail by these rows alone, at the limit of all rows."""
    (_, canary_alone), (stable, stable_alone), _ = _arms(left, "slow")
    return stable[1] > 0 and difference_bounds(canary_alone, stable_alone, alpha)[0] > tail - stable[0] / stable[1]


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

    def asked(of: Scope, rows: pl.DataFrame) -> Verdict:
        return _rates(DEGRADED, "degraded_rate", logs, of, rows, "lower", limit, "exposures")

    found = asked(scope, answered)
    return _resting(
        found, scope, answered, "lower", lambda left: asked(milder(scope), left), lambda _: "degraded answers"
    )


def stable_health(logs: Logs, scope: Scope, requests: pl.DataFrame) -> Verdict:
    """Is stable fit to take the users back? FAIL when shown to fail above BROKEN_RATE in the last RECENT_SECONDS.

    With an `episode` where the worst STALL_SECONDS of them are all that shows it: then it is waited for, and nobody is
    called.
    """
    since = scope.now - timedelta(seconds=RECENT_SECONDS)
    recent = requests.filter((pl.col("variant") == "stable") & (pl.col("served_at") >= since))
    if why := unreadable(logs, scope):
        return verdict(STABLE, scope, Outcome.INCONCLUSIVE, why)
    failed, n = int(recent["failed"].sum()), recent.height
    low, high = rate_bounds(failed, n, scope.plan.alpha)
    number = Measurement(
        name="error_rate_stable_recent", value=failed / n if n else None, n=n, low=low, high=high, unit="share"
    )
    numbers = (number, _last_answer(recent, scope))
    if n == 0:
        # At full weight the canary gets everything: that nobody asks stable is no news about it.
        outcome = Outcome.PASS if scope.baking else Outcome.INCONCLUSIVE
        return verdict(STABLE, scope, outcome, "stable got no requests lately", *numbers)
    said = f"{failed} of stable's last {n} requests failed"
    if low <= BROKEN_RATE:
        return verdict(STABLE, scope, Outcome.PASS, said, *numbers)
    episode = rests_on(
        recent,
        "failed",
        lambda left: _still_broken(left, scope),
        errors_named,
        arm="stable",
        seconds=STALL_SECONDS,
        windows=1,
    )
    found = verdict(STABLE, scope, Outcome.FAIL, said, *numbers)
    return found.model_copy(update={"episode": with_stalls(episode, scope.stalls)})


def _last_answer(recent: pl.DataFrame, scope: Scope) -> Measurement:
    newest = recent.filter(~pl.col("failed"))["served_at"].max()
    age = (scope.now - newest).total_seconds() if isinstance(newest, datetime) else None
    return Measurement(name=LAST_ANSWER, value=age, n=recent.height, unit="s")


def _still_broken(left: pl.DataFrame, scope: Scope) -> bool:
    return rate_bounds(int(left["failed"].sum()), left.height, milder(scope).plan.alpha)[0] > BROKEN_RATE


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
