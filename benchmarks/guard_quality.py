"""How long the guard needs to see that a canary's answers got worse, by the size of the loss and the rate of visits.

Here: the guard's own verdicts (rollout.breaches) at each second of a fake clock, over drawn visitors; no processes. The
way from the verdict to the gateway is measured by guard_reaction.py. Beside it healthy canaries, looked at as often:
how many the guard takes back. Run it from the project's root: `python -m benchmarks.guard_quality`, some ten minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks import harness
from recsys_assets.columns import EXPOSURES, FEEDBACK, GATEWAY_REQUESTS
from recsys_assets.records import Outcome
from recsys_assets.rollout.breaches import full_verdicts, gateway_verdicts
from recsys_assets.rollout.outcomes import Logs, Scope, WeightSince
from recsys_assets.settings import PACKAGED_CONFIG, load_settings

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LOSSES = {"clicks_vanish": 1.0, "clicks_halve": 0.5, "clicks_lose_a_quarter": 0.25}
RATES = (20, 80, 320)
SHARES = (0.1, 0.5)
CLICKS = 0.3
ERRORS = 0.005


@dataclass(frozen=True)
class Case:
    """Visits at `rate` a second, `share` of them to the canary, which loses `loss` of its clicks from `breach` on."""

    rate: float
    share: float
    loss: float
    breach: float
    until: float
    seed: int

    def rows(self) -> Logs:
        """Everything that is ever logged; each visit is a new visitor's."""
        rng = np.random.default_rng(self.seed)
        n = rng.poisson(self.rate * self.until)
        at = np.sort(rng.uniform(0, self.until, n))
        canary = rng.random(n) < self.share
        chance = np.where(canary & (at >= self.breach), CLICKS * (1 - self.loss), CLICKS)
        failed = rng.random(n) < ERRORS
        clicked = (rng.random(n) < chance) & ~failed
        served = pl.Series(at * 1e6).cast(pl.Int64)
        frame = pl.DataFrame({"number": np.arange(n), "at": served, "canary": canary, "failed": failed}).with_columns(
            request_id=pl.format("r{}", "number"),
            visitor_id=pl.format("v{}", "number"),
            served_at=pl.lit(BEGAN).cast(pl.Datetime("us", "UTC")) + pl.duration(microseconds="at"),
            variant=pl.when("canary").then(pl.lit("canary")).otherwise(pl.lit("stable")),
            model_version=pl.when("canary").then(pl.lit("2")).otherwise(pl.lit("1")),
            rung=pl.lit("full"),
            duration_ms=pl.Series(rng.lognormal(2.0, 0.4, n)),
        )
        answered = frame.filter(~pl.col("failed"))
        late = pl.duration(microseconds=pl.Series(rng.uniform(0, 1e6, n)).cast(pl.Int64))
        events = frame.with_columns(received_at=pl.col("served_at") + late).filter(pl.Series(clicked))
        return Logs(exposures=_exposures(answered), feedback=_feedback(events), gateway=_gateway(frame))

    def first_fail(self, step: float) -> tuple[float, bool] | None:
        """Seconds from the breach to the look that sees it, and whether only a half minute's own test does; or None."""
        rows, plan = self.rows(), load_settings(config=PACKAGED_CONFIG).rollout.plan
        weights = (WeightSince(BEGAN, round(self.share * 10_000)),)
        for now in _looks(self.breach, self.until, step):
            at = BEGAN + timedelta(seconds=now)
            scope = Scope("2", "1", plan, weights, 10, at)
            seen = _until(rows, at)
            verdicts = (*full_verdicts(seen, scope), *gateway_verdicts(seen, scope))
            if failed := [v for v in verdicts if v.outcome is Outcome.FAIL]:
                return now - self.breach, all(v.reason.startswith("since ") for v in failed)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="of each size, rate and share")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds after the breach")
    parser.add_argument("--healthy", type=int, default=100, help="canaries without a breach")
    parser.add_argument("--healthy-seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=4)
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    figures: dict[str, float | int] = {"seed": asked.seed, "repeats": asked.repeats}
    for loss, size in LOSSES.items():
        for rate in RATES:
            for share in SHARES:
                name = f"{loss}_{rate}_per_second_share_{share:.0%}".replace("%", "_pct")
                cases = [
                    Case(rate, share, size, 60.0, 60.0 + asked.patience, asked.seed * 1_000 + n)
                    for n in range(asked.repeats)
                ]
                figures |= reaction(name, [case.first_fail(1.0) for case in cases], asked.patience)
                print(f"{name} {figures[f'{name}_median_seconds']} s", flush=True)
    figures |= healthy(asked)
    harness.write("guard_quality", command="python -m benchmarks.guard_quality", figures=figures, peers={})


def reaction(name: str, found: list[tuple[float, bool] | None], patience: float) -> dict[str, float | int]:
    """Median and slowest of those that were seen; one that was not in time stands as `patience`."""
    seconds = sorted(patience if seen is None else seen[0] for seen in found)
    return {
        f"{name}_median_seconds": seconds[len(seconds) // 2],
        f"{name}_max_seconds": seconds[-1],
        f"{name}_not_in_time": sum(seen is None for seen in found),
    }


def healthy(asked: argparse.Namespace) -> dict[str, float | int]:
    """The same visitors in both arms, for many half minutes."""
    found = [
        Case(80, 0.5, 0.0, 10.0, asked.healthy_seconds, asked.seed * 7_000 + n).first_fail(5.0)
        for n in range(asked.healthy)
    ]
    rolled_back = [seen for seen in found if seen is not None]
    return {
        "healthy_canaries": len(found),
        "healthy_seconds_each": asked.healthy_seconds,
        # The others by the verdicts since the canary began, which are the tick's as well.
        "healthy_rolled_back": len(rolled_back),
        "healthy_rolled_back_by_a_half_minute_alone": sum(alone for _, alone in rolled_back),
    }


def _looks(breach: float, until: float, step: float) -> Iterator[float]:
    now = breach + step
    while now < until:
        yield now
        now += step


def _until(rows: Logs, at: datetime) -> Logs:
    def of(frame: pl.DataFrame | None, time: str) -> pl.DataFrame:
        assert frame is not None
        return frame.filter(pl.col(time) <= at)

    return Logs(of(rows.exposures, "served_at"), of(rows.feedback, "received_at"), of(rows.gateway, "served_at"))


def _exposures(frame: pl.DataFrame) -> pl.DataFrame:
    columns = frame.with_columns(
        user_id=pl.col("visitor_id"),
        items=pl.lit(["a", "b", "c"]),
        scores=pl.lit([3.0, 2.0, 1.0]),
        latency_ms=pl.col("duration_ms"),
        flags=pl.lit([], dtype=pl.List(pl.String)),
    )
    return columns.select(EXPOSURES.names()).cast(dict(EXPOSURES))


def _feedback(frame: pl.DataFrame) -> pl.DataFrame:
    columns = frame.with_columns(event_id=pl.col("request_id"), item_id=pl.lit("a"), event_type=pl.lit("click"))
    return columns.select(FEEDBACK.names()).cast(dict(FEEDBACK))


def _gateway(frame: pl.DataFrame) -> pl.DataFrame:
    columns = frame.with_columns(
        cluster=pl.format("recommender-v{}", "model_version"),
        status=pl.when("failed").then(500).otherwise(200),
    )
    return columns.select(GATEWAY_REQUESTS.names()).cast(dict(GATEWAY_REQUESTS))


if __name__ == "__main__":
    main()
