"""Rules about a release: what its plan promises must be reachable, and those who look must look in time.

Here: times and counts of the plan. Not here: its statistics (docs/statistics.md), which one plan alone decides
(records.AnalysisPlan). The constants are those of rollout/, held equal by a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules.rule import number, rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

# A step settles for so long, and rows are looked at so long after they were written (rollout/outcomes.py).
STEP_SECONDS: Final = 3.0
# The shadow settles, and its copies have so long to be answered (rollout/shadow.py).
SHADOW_SECONDS: Final = 7.0
# A guard that has not looked for so long is no guard (rollout/guarding.py).
GUARD_STALE_SECONDS: Final = 15.0
# Below so many visitors in an arm nothing is judged (rollout/evidence.py).
BURN_IN: Final = 50


def _least_seconds(settings: Settings) -> float:
    """What shadow and steps take at the least: each step waits for visitors whose window is closed."""
    plan = settings.rollout.plan
    shadow = SHADOW_SECONDS if plan.shadow_requests else 0.0
    return shadow + len(plan.steps_bp) * (plan.attribution_seconds + STEP_SECONDS)


@rule(
    "Every step can see its visitors' windows close before the deadline",
    "rollout.plan.steps_bp",
    "rollout.plan.attribution_seconds",
    "rollout.plan.shadow_requests",
    "rollout.plan.deadline_seconds",
)
def windows_close_before_the_deadline(settings: Settings) -> Iterator[str]:
    plan, needed = settings.rollout.plan, _least_seconds(settings)
    if needed >= plan.deadline_seconds:
        yield (
            f"rollout.plan.deadline_seconds {number(plan.deadline_seconds)} is over before "
            f"{len(plan.steps_bp)} steps of "
            f"rollout.plan.attribution_seconds {number(plan.attribution_seconds)} can be: they take more than "
            f"{number(needed)} s, so no release could ever pass; lengthen the deadline or shorten the window"
        )


@rule(
    "Replayed users are enough for every step before the deadline",
    "traffic.in_jobs",
    "traffic.rate",
    "rollout.plan.steps_bp",
    "rollout.plan.min_visitors_per_arm",
    "rollout.plan.shadow_requests",
    "rollout.plan.deadline_seconds",
)
def replayed_users_suffice(settings: Settings) -> Iterator[str]:
    plan, rate = settings.rollout.plan, settings.traffic.rate
    if not settings.traffic.in_jobs:
        return
    smaller = [min(bp, 10_000 - bp) / 10_000 for bp in plan.steps_bp]
    visitors = sum(plan.min_visitors_per_arm / share for share in smaller if share > 0) + plan.shadow_requests
    needed = visitors / rate + _least_seconds(settings)
    if needed >= plan.deadline_seconds:
        yield (
            f"traffic.rate {number(rate)} brings rollout.plan.min_visitors_per_arm "
            f"{plan.min_visitors_per_arm} to every "
            f"step in {needed:.0f} s at the soonest, rollout.plan.deadline_seconds is "
            f"{number(plan.deadline_seconds)}: raise the rate or the deadline, ask for fewer, or "
            "begin with a larger step"
        )


@rule("Jobs that replay users have users to replay", "traffic.in_jobs", "traffic.future")
def replayed_users_are_named(settings: Settings) -> Iterator[str]:
    if settings.traffic.in_jobs and settings.traffic.future is None:
        yield (
            "traffic.in_jobs true replays users, but traffic.future names no later events: name "
            "them, or leave in_jobs off"
        )


@rule(
    "The lease runs out before the deadline does",
    "rollout.plan.lease_seconds",
    "rollout.plan.deadline_seconds",
    warning=True,
)
def lease_is_shorter_than_the_deadline(settings: Settings) -> Iterator[str]:
    plan = settings.rollout.plan
    if plan.lease_seconds >= plan.deadline_seconds:
        yield (
            f"rollout.plan.lease_seconds {number(plan.lease_seconds)} is not shorter than "
            "rollout.plan.deadline_seconds "
            f"{number(plan.deadline_seconds)}: where nobody looks, the guard takes the weight after the deadline only; "
            "shorten the lease"
        )


@rule("A run renews the lease before it runs out", "rollout.tick_seconds", "rollout.plan.lease_seconds")
def ticks_renew_the_lease(settings: Settings) -> Iterator[str]:
    tick, lease = settings.rollout.tick_seconds, settings.rollout.plan.lease_seconds
    # It is renewed once a third of it is gone, so two thirds may pass until the next look.
    if tick >= lease * 2 / 3:
        yield (
            f"rollout.tick_seconds {number(tick)} is not below two thirds of "
            f"rollout.plan.lease_seconds {number(lease)}: "
            "the guard would take the weight between two looks; look more often or lengthen the lease"
        )


@rule(
    "The guard looks often enough to count as a living guard",
    "rollout.guard_interval_seconds",
    "rollout.plan.lease_seconds",
)
def guard_counts_as_alive(settings: Settings) -> Iterator[str]:
    interval, lease = settings.rollout.guard_interval_seconds, settings.rollout.plan.lease_seconds
    limit = min(GUARD_STALE_SECONDS, lease)
    if interval >= limit:
        yield (
            f"rollout.guard_interval_seconds {number(interval)} is not below {number(limit)} s (a guard that has not "
            f"looked for {number(GUARD_STALE_SECONDS)} s counts as dead, and rollout.plan.lease_seconds is "
            f"{number(lease)}): no release could move on; shorten it"
        )


@rule("A quantile of latency has one limit", "rollout.plan.latency_limits", "rollout.plan.max_p99_ratio")
def quantiles_have_one_limit(settings: Settings) -> Iterator[str]:
    plan = settings.rollout.plan
    quantiles = [0.99, *(limit.quantile for limit in plan.latency_limits)]
    for twice in sorted({q for q in quantiles if quantiles.count(q) > 1}):
        also = " (rollout.plan.max_p99_ratio is one of them)" if twice == 0.99 else ""
        yield f"rollout.plan.latency_limits: the quantile {number(twice)} has two limits{also}: keep the stricter one"


@rule("Steps ask for as many visitors as a verdict needs", "rollout.plan.min_visitors_per_arm", warning=True)
def visitors_reach_the_burn_in(settings: Settings) -> Iterator[str]:
    least = settings.rollout.plan.min_visitors_per_arm
    if least < BURN_IN:
        yield (
            f"rollout.plan.min_visitors_per_arm {least}: nothing is judged below {BURN_IN}, so {BURN_IN} are waited for"
        )


@rule(
    "The bake lasts until late labels are in",
    "rollout.plan.bake_seconds",
    "rollout.plan.attribution_seconds",
    warning=True,
)
def bake_outlasts_the_window(settings: Settings) -> Iterator[str]:
    plan = settings.rollout.plan
    if plan.bake_seconds < plan.attribution_seconds:
        yield (
            f"rollout.plan.bake_seconds {number(plan.bake_seconds)} ends before rollout.plan.attribution_seconds "
            f"{number(plan.attribution_seconds)}: labels that come later can no longer turn the "
            "verdict; lengthen the bake"
        )


@rule("A metric that is a yes or no has no cap", "rollout.plan.metrics", warning=True)
def caps_can_matter(settings: Settings) -> Iterator[str]:
    for metric in settings.rollout.plan.metrics:
        if metric.statistic == "any_event" and metric.cap is not None:
            yield f"rollout.plan.metrics {metric.name}: cap {metric.cap} has no effect on any_event; leave it out"


@rule("A metric's margin is said once", "rollout.plan.margin", "rollout.plan.metrics", warning=True)
def margins_agree(settings: Settings) -> Iterator[str]:
    plan = settings.rollout.plan
    for metric in plan.metrics:
        if metric.name == plan.metric and metric.margin != plan.margin:
            yield (
                f"rollout.plan.margin {number(plan.margin)} has no effect: rollout.plan.metrics gives "
                f"{metric.name} the "
                f"margin {number(metric.margin)}; say the same in both"
            )
