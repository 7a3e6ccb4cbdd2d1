"""The comparison in the shadow: copies of real requests, answered by the new model for nobody.

Here: one verdict from both answers to the same request. Not here: the canary's analysis; users' acts, which need users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from recsys_assets.columns import EXPOSURES, GATEWAY_REQUESTS
from recsys_assets.records import Episode, Measurement, Outcome, Verdict
from recsys_assets.rollout.episodes import with_stalls, without_worst
from recsys_assets.rollout.guardrails import LATENCY_FLOOR_MS, TAIL
from recsys_assets.rollout.outcomes import SETTLE_SECONDS, Logs, lower_rung
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.sequential import difference_bounds, rate_bounds
from recsys_assets.stalls import Stall

SHADOW: Final = "shadow_answers_as_it_should"
MIN_PAIRS: Final = 20
# A copy is answered after the user's own answer, and has less claim to a busy machine: so long it may take.
COPY_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Pairs:
    """`asked`: requests that the gateway answered and copied; `copies`: request_id and served_at of each. `pairs`:
    those that both answered, one row for each: request_id, overlap (share of stable's items, None where stable had
    none), stable_ms, shadow_ms, stable_lower, shadow_lower, shadow_empty."""

    asked: int
    pairs: pl.DataFrame
    copies: pl.DataFrame


def shadow_pairs(logs: Logs, state: RouteState, *, now: datetime) -> Pairs:
    """Stable's and the shadow's answers to the same request, since the copies began and old enough to be complete."""
    gateway = GATEWAY_REQUESTS.to_frame() if logs.gateway is None else logs.gateway
    exposures = EXPOSURES.to_frame() if logs.exposures is None else logs.exposures
    exposures = exposures.with_columns(lower=lower_rung()).unique(["request_id", "variant"])
    since = state.entered_at + timedelta(seconds=SETTLE_SECONDS)
    until = now - timedelta(seconds=COPY_GRACE_SECONDS)
    asked = gateway.filter(
        (pl.col("variant") == "stable") & (pl.col("status") == 200) & pl.col("served_at").is_between(since, until)
    ).select("request_id", "served_at")
    stable = exposures.filter(pl.col("variant") == "stable")
    shadow = exposures.filter((pl.col("variant") == "shadow") & (pl.col("model_version") == state.version))
    both = asked.select("request_id").join(stable, on="request_id").join(shadow, on="request_id", suffix="_shadow")
    common = pl.col("items").list.set_intersection("items_shadow").list.len()
    pairs = both.select(
        "request_id",
        overlap=pl.when(pl.col("items").list.len() > 0).then(common / pl.col("items").list.len()),
        stable_ms="latency_ms",
        shadow_ms="latency_ms_shadow",
        stable_lower="lower",
        shadow_lower="lower_shadow",
        shadow_empty=pl.col("items_shadow").list.len() == 0,
    )
    return Pairs(asked.height, pairs, asked)


def compare_shadow(logs: Logs, state: RouteState, *, now: datetime, stalls: Sequence[Stall] = ()) -> Verdict:
    """PASS when `plan.shadow_requests` copies were answered and nothing is shown to be wrong; how alike is only told.

    A copy without an answer is an error of the shadow. FAIL is only said when shown, with the canary's limits, and not
    by one episode alone: nobody waits for a shadow's answers, so it is given the time to show that it was no more. As
    many copies as the plan asks for, beyond the episode, then decide.
    """
    plan = state.release.plan
    for name in ("gateway", "exposures"):
        if getattr(logs, name) is None:
            return _verdict(state, Outcome.INCONCLUSIVE, f"the {name} log cannot be read")
    found = shadow_pairs(logs, state, now=now)
    if found.asked < MIN_PAIRS:
        return _verdict(state, Outcome.INCONCLUSIVE, f"{found.asked} of {plan.shadow_requests} requests copied")
    numbers, limit = _numbers(found), _limit_ms(found, state)
    if against := _against(found, state, limit):
        left, episode = _beyond_one_episode(found, limit)
        if still := _against(left, state, limit):
            return _verdict(state, Outcome.FAIL, "; ".join(still), *numbers)
        seen = with_stalls(episode, stalls) or episode
        outcome, said = _enough(left, state)
        return _verdict(state, outcome, f"beyond {seen.told()} ({'; '.join(against)}): {said}", *numbers)
    return _verdict(state, *_enough(found, state), *numbers)


def _enough(found: Pairs, state: RouteState) -> tuple[Outcome, str]:
    """Whether so many copies were answered as the plan asks for, where nothing is shown to be wrong with them."""
    plan, answered = state.release.plan, found.pairs.height
    said = f"{answered} of {found.asked} copies answered, {plan.shadow_requests} wanted"
    lost = found.asked - answered
    few = answered < plan.shadow_requests or lost > plan.max_error_rate_increase * found.asked
    return Outcome.INCONCLUSIVE if few else Outcome.PASS, said


def _against(found: Pairs, state: RouteState, limit_ms: float) -> list[str]:
    """What is shown to be worse than the plan's limits for the canary."""
    plan, pairs, n = state.release.plan, found.pairs, found.pairs.height
    if found.asked < MIN_PAIRS:
        return []
    lost, useless = found.asked - n, int((pairs["shadow_empty"] | pairs["shadow_lower"]).sum())
    slow, slow_stable = (int((pairs[name] > limit_ms).sum()) for name in ("shadow_ms", "stable_ms"))
    lower = int(pairs["stable_lower"].sum())
    told = []
    if rate_bounds(lost, found.asked, plan.alpha)[0] > plan.max_error_rate_increase:
        told.append(f"{lost} of {found.asked} copies got no answer")
    if difference_bounds((useless, n), (lower, n), plan.alpha)[0] > plan.max_degraded_rate_increase:
        told.append(f"{useless} of {n} answers are empty or degraded")
    if difference_bounds((slow, n), (slow_stable, n), plan.alpha)[0] > TAIL:
        told.append(f"{slow} of {n} answers took more than {limit_ms:.0f} ms")
    return told


def _limit_ms(found: Pairs, state: RouteState) -> float:
    usual = found.pairs["stable_ms"].quantile(1 - TAIL) or 0.0
    return max(usual * state.release.plan.max_p99_ratio, LATENCY_FLOOR_MS)


def _beyond_one_episode(found: Pairs, limit_ms: float) -> tuple[Pairs, Episode]:
    """The copies outside of the stretch of time with most of the bad ones, and that stretch."""
    bad = pl.col("shadow_empty") | pl.col("shadow_lower") | (pl.col("shadow_ms") > limit_ms)
    answers = found.pairs.select("request_id", bad=bad)
    copies = found.copies.join(answers, on="request_id", how="left").with_columns(
        pl.col("bad").fill_null(True), variant=pl.lit("shadow"), visitor_id=pl.lit(None, dtype=pl.String)
    )
    parted = without_worst(copies, "bad", lambda _: "copies without a good answer", arm="shadow")
    assert parted is not None, "something was shown, so that one copy at the least is bad"
    rows, episode = parted
    pairs = found.pairs.join(rows.select("request_id"), on="request_id", how="semi")
    return Pairs(rows.height, pairs, rows.select("request_id", "served_at")), episode


def _numbers(found: Pairs) -> tuple[Measurement, ...]:
    pairs = found.pairs
    n = pairs.height
    overlap = pairs["overlap"].drop_nulls()
    return (
        Measurement(name="answered", value=n / found.asked, n=found.asked, unit="share"),
        Measurement(
            name="overlap_at_10",
            value=float(overlap.sum() / overlap.len()) if overlap.len() else None,
            n=overlap.len(),
            unit="share",
        ),
        Measurement(name="p99_shadow_ms", value=pairs["shadow_ms"].quantile(1 - TAIL), n=n, unit="ms"),
        Measurement(name="p99_stable_ms", value=pairs["stable_ms"].quantile(1 - TAIL), n=n, unit="ms"),
        Measurement(name="empty", value=float(pairs["shadow_empty"].sum()), n=n, unit="answers"),
        Measurement(name="degraded", value=float(pairs["shadow_lower"].sum()), n=n, unit="answers"),
    )


def _verdict(state: RouteState, outcome: Outcome, reason: str, *numbers: Measurement) -> Verdict:
    return Verdict(check=SHADOW, model_version=state.version, outcome=outcome, reason=reason, measurements=numbers)
