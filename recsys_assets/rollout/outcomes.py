"""From logged rows to what is analysed: one outcome for each visitor, and the gateway's requests by arm.

Here: which rows count, and for whom. Not here: any verdict on them (analysis.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from recsys_assets.columns import EXPOSURES, FEEDBACK, GATEWAY_REQUESTS, UTC_TIME
from recsys_assets.records import AnalysisPlan, MetricPlan
from recsys_assets.stalls import Stall

FULL_RUNG = "full"
UNKNOWN_USER = "unknown_user"
ALL_BP = 10_000
# Rows reach their files a moment after the answer: newer ones are not looked at yet.
LOG_GRACE_SECONDS = 1.0
# A new weight needs a moment to reach the gateway. Visitors who first come in it may have been drawn at either weight.
SETTLE_SECONDS = 2.0
# Reported by clients, but not an act of the visitor.
_NOT_ENGAGEMENT = ("impression",)


@dataclass(frozen=True)
class Logs:
    """The three sources, as in columns.py. None is a source that could not be read, which is not an empty one."""

    exposures: pl.DataFrame | None
    feedback: pl.DataFrame | None
    gateway: pl.DataFrame | None


@dataclass(frozen=True)
class WeightSince:
    """From `since` on the canary's planned share was `weight_bp` basis points.

    From `in_force` on the gateway was seen to give it; None: nobody could say.
    """

    since: datetime
    weight_bp: int
    in_force: datetime | None = None

    @property
    def settled(self) -> datetime:
        """From when on visitors are split as planned."""
        return max(self.since, self.in_force or self.since) + timedelta(seconds=SETTLE_SECONDS)


@dataclass(frozen=True)
class Scope:
    """What is analysed: which two versions, under which plan, at which shares, as seen at `now`.

    `weights` lists every share since the canary began, oldest first; `top_k` bounds a visitor's outcome. `stalls` are
    what processes noted of themselves: they explain a verdict and change none.
    """

    model_version: str
    stable_version: str
    plan: AnalysisPlan
    weights: Sequence[WeightSince]
    top_k: int
    now: datetime
    stalls: Sequence[Stall] = ()

    @property
    def start(self) -> datetime | None:
        """When the first user could see the canary."""
        return next((w.since for w in self.weights if w.weight_bp > 0), None)

    @property
    def split_ended(self) -> datetime:
        """When visitors were no longer split between two arms, or now."""
        start = self.start
        ends = (w.since for w in self.weights if start and w.since > start and w.weight_bp in (0, ALL_BP))
        return next(ends, self.now)

    @property
    def baking(self) -> bool:
        return bool(self.weights) and self.weights[-1].weight_bp == ALL_BP

    @property
    def visible_until(self) -> datetime:
        return self.now - timedelta(seconds=LOG_GRACE_SECONDS)


@dataclass(frozen=True)
class Outcomes:
    """`visitors`: visitor_id, first_at, is_canary, weight_bp, outcome, in order of arrival. Counts: those left out."""

    visitors: pl.DataFrame
    saw_both: int
    degraded: int
    unmatured: int
    unsettled: int


def visitor_outcomes(logs: Logs, scope: Scope, metric: MetricPlan | None = None) -> Outcomes:
    """One row for each visitor: what the metric (the plan's first, if none is given) counts in the attribution window.

    The window starts at the visitor's first answer since the canary began and never moves, so that a longer stay in
    one arm gives no more chances than in the other. Left out, each counted:
      - saw both variants, or an answer of the other version, inside the window. Whoever changes arm after the window is
        closed keeps the outcome: leaving those out would take returning visitors away from stable only, since
        growing the weight moves users only from stable to canary;
      - got an answer from a lower rung of the ladder inside the window: it says nothing about the model;
      - unmatured: the window is still open, so late clicks may come, and may come later in one arm;
      - unsettled: came before the gateway gave the planned share, or within SETTLE_SECONDS of that.
    """
    metric = metric or scope.plan.all_metrics[0]
    seen = _windowed(logs, scope)
    done = _acts(logs, seen, metric)
    window = timedelta(seconds=scope.plan.attribution_seconds)
    rows = (
        seen.group_by("visitor_id")
        .agg(
            pl.col("first_at").first(),
            (pl.col("first_variant").first() == "canary").alias("is_canary"),
            pl.col("mixed").any(),
            pl.col("degraded").any(),
        )
        .join(done, on="visitor_id", how="left")
        .with_columns(
            outcome=pl.col("done").fill_null(0).clip(upper_bound=metric.cap or scope.top_k).cast(pl.Float64),
            open=pl.col("first_at") + window > scope.visible_until,
        )
        .sort("first_at", "visitor_id")
    )
    rows = with_weight(rows, scope.weights, at="first_at")
    unsettled = pl.col("first_at") < pl.col("settled")
    kept = rows.filter(~pl.col("mixed") & ~pl.col("degraded") & ~pl.col("open") & ~unsettled)
    return Outcomes(
        visitors=kept.select("visitor_id", "first_at", "is_canary", "weight_bp", "outcome"),
        saw_both=int(rows["mixed"].sum()),
        degraded=int(rows["degraded"].sum()),
        unmatured=int(rows["open"].sum()),
        unsettled=rows.filter(unsettled).height,
    )


def lower_rung() -> pl.Expr:
    """Whether an exposure is from a lower rung for want of something, not because nothing is known of the user."""
    unknown = (pl.col("rung") == "popular") & pl.col("flags").list.contains(UNKNOWN_USER).fill_null(False)
    return (pl.col("rung") != FULL_RUNG) & ~unknown


def _windowed(logs: Logs, scope: Scope) -> pl.DataFrame:
    """The exposures inside each visitor's window, with first_at, first_variant and `mixed` (of the other arm)."""
    exposures = EXPOSURES.to_frame() if logs.exposures is None else logs.exposures
    rows = exposures.filter(
        pl.col("variant").is_in(["stable", "canary"])
        & pl.col("visitor_id").is_not_null()
        # Before the first weight there is no start, and no row is later than none.
        & (pl.col("served_at") >= pl.lit(scope.start, dtype=UTC_TIME))
    )
    rows = rows.with_columns(degraded=lower_rung()).sort("served_at", maintain_order=True)
    first = rows.group_by("visitor_id", maintain_order=True).agg(
        first_at=pl.col("served_at").first(), first_variant=pl.col("variant").first()
    )
    first = first.filter(pl.col("first_at") < pl.lit(scope.split_ended, dtype=UTC_TIME))
    expected = (
        pl.when(pl.col("first_variant") == "canary")
        .then(pl.lit(scope.model_version))
        .otherwise(pl.lit(scope.stable_version))
    )
    window = timedelta(seconds=scope.plan.attribution_seconds)
    return (
        rows.join(first, on="visitor_id")
        .filter(pl.col("served_at") <= pl.col("first_at") + window)
        .with_columns(
            mixed=(pl.col("variant") != pl.col("first_variant")) | pl.col("model_version").ne_missing(expected),
            window_end=pl.col("first_at") + window,
        )
    )


def counting_events(feedback: pl.DataFrame, metric: MetricPlan) -> pl.DataFrame:
    """The events that the metric counts, each once."""
    wanted = pl.col("event_type").is_in(metric.event_types)
    acts = feedback.filter(wanted if metric.event_types else ~pl.col("event_type").is_in(_NOT_ENGAGEMENT))
    return acts.unique("event_id", keep="first")


def _acts(logs: Logs, seen: pl.DataFrame, metric: MetricPlan) -> pl.DataFrame:
    """What each visitor did with the items shown, inside the window, as the metric counts it."""
    feedback = FEEDBACK.to_frame() if logs.feedback is None else logs.feedback
    counts = {"distinct_items": pl.col("item_id").n_unique(), "any_event": pl.lit(1), "events": pl.len()}
    return (
        counting_events(feedback, metric)
        .join(seen.select("request_id", "visitor_id", "items", "window_end"), on="request_id")
        .filter(pl.col("item_id").is_in(pl.col("items")) & (pl.col("received_at") <= pl.col("window_end")))
        # A request may ask for several users at once, and each of their lists may hold the item.
        .unique(["visitor_id", "event_id"])
        .group_by("visitor_id")
        .agg(done=counts[metric.statistic])
    )


def gateway_requests(logs: Logs, scope: Scope) -> pl.DataFrame:
    """The gateway's rows since the canary began, those too new to be complete left out, with `failed` and `weight_bp`.

    Failed means: the server or the gateway did not answer (5xx, 0), or the other arm's version had to (failover).
    The client's own mistakes (4xx) say nothing about a version and are left out.
    """
    gateway = GATEWAY_REQUESTS.to_frame() if logs.gateway is None else logs.gateway
    expected = (
        pl.when(pl.col("variant") == "canary").then(pl.lit(scope.model_version)).otherwise(pl.lit(scope.stable_version))
    )
    status = pl.col("status").fill_null(0)
    rows = gateway.filter(
        pl.col("variant").is_in(["stable", "canary"])
        & (pl.col("served_at") >= pl.lit(scope.start, dtype=UTC_TIME))
        & (pl.col("served_at") <= pl.lit(scope.visible_until, dtype=UTC_TIME))
        & ~status.is_between(400, 499)
    ).with_columns(
        failed=(status >= 500)
        | (status < 100)
        | ((status == 200) & (pl.col("model_version") != expected).fill_null(False))
    )
    return with_weight(rows.sort("served_at"), scope.weights, at="served_at")


def with_weight(rows: pl.DataFrame, weights: Sequence[WeightSince], *, at: str) -> pl.DataFrame:
    """Add the share that was planned at each row's time, since when, and from when on visitors are split so.

    Rows before the first change are dropped.
    """
    steps = pl.DataFrame(
        [(w.since, w.weight_bp, w.settled) for w in weights],
        schema={"weight_since": UTC_TIME, "weight_bp": pl.Int64, "settled": UTC_TIME},
        orient="row",
    ).sort("weight_since")
    return rows.join_asof(steps, left_on=at, right_on="weight_since").filter(pl.col("weight_bp").is_not_null())


def seen_in_step(logs: Logs, scope: Scope) -> tuple[int, int]:
    """Visitors (canary, stable) whose window is closed, counted from the first answer since the step began."""
    if logs.exposures is None or not scope.weights:
        return 0, 0
    since = scope.weights[-1].since
    window = timedelta(seconds=scope.plan.attribution_seconds)
    matured = (
        logs.exposures.filter(pl.col("served_at") >= pl.lit(since, dtype=UTC_TIME))
        .group_by("visitor_id", "variant")
        .agg(pl.col("served_at").min())
        .filter(pl.col("served_at") + window <= pl.lit(scope.visible_until, dtype=UTC_TIME))
    )
    counts = dict(matured.group_by("variant").len().iter_rows())
    return int(counts.get("canary", 0)), int(counts.get("stable", 0))
