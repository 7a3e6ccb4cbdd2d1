"""The rows of a simulated release as the product reads them: exposures, feedback and the gateway's requests.

Here: a MetricsSource that shows what would stand in the logs by now. Not here: what is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.release_simulation.crowd import TOP_K, Crowd, Floats, Truth, texts
from recsys_assets.columns import EXPOSURES, FEEDBACK, GATEWAY_REQUESTS, UTC_TIME
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.stalls import Stall

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BEGINS = 5.0  # the canary's first second on the fake clock; people come from 0 on
HISTORY_SECONDS = 86_400.0
# The gateway takes so long to hear of a new weight.
GATEWAY_LAG_SECONDS = 0.7
ITEMS = [f"item-{i}" for i in range(TOP_K)]
STABLE, CANARY = "1", "2"


def moment(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Rows:
    """What was served up to `until`. `advance` serves the time since then, at the weights that stood in it."""

    def __init__(self, crowd: Crowd, truth: Truth) -> None:
        self.crowd, self.truth, self.until = crowd, truth, 0.0
        self._visitors, self._requests = texts(crowd)
        self._weights: list[tuple[float, float]] = [(-1.0, 0.0)]
        self.canary = np.zeros(len(crowd.at), dtype=bool)
        self._answered = np.zeros(len(crowd.at), dtype=bool)
        self._clicks = pl.DataFrame(
            {
                "item_id": pl.Series(np.array(ITEMS)[crowd.click_item]),
                "received_at": _times(crowd.click_at),
            }
        )
        self._gateway, self._exposures, self._feedback = (GATEWAY_REQUESTS.to_frame(), *self._history())

    def set_weight(self, share: float, at: float) -> None:
        if share != self._weights[-1][1]:
            self._weights.append((at + GATEWAY_LAG_SECONDS, share))

    def advance(self, until: float) -> None:
        crowd = self.crowd
        of = slice(*np.searchsorted(crowd.at, [self.until, until]))
        since, shares = (np.array(x) for x in zip(*self._weights, strict=True))
        share = shares[np.searchsorted(since, crowd.at[of], side="right") - 1]
        canary = crowd.hash[crowd.visitor[of]] < share
        failed = crowd.failed(canary, of, self.truth)
        self.canary[of], self._answered[of] = canary, ~failed
        rows = self._rows(of, canary, failed, crowd.timed_out(canary, of))
        logged = ~failed & ~crowd.unlogged[of]
        self._gateway = pl.concat([self._gateway, rows.select(GATEWAY_REQUESTS.names())])
        exposures = rows.filter(pl.Series(logged)).with_columns(
            user_id=pl.col("visitor_id"),
            items=pl.lit(ITEMS, dtype=pl.List(pl.String)),
            scores=pl.lit([], dtype=pl.List(pl.Float64)),
            latency_ms=pl.col("duration_ms"),
            flags=pl.lit([], dtype=pl.List(pl.String)),
        )
        self._exposures = pl.concat([self._exposures, exposures.select(EXPOSURES.names())])
        self._receive(until)
        self.until = until

    def _rows(self, of: slice, canary: np.ndarray, failed: np.ndarray, timed_out: np.ndarray) -> pl.DataFrame:
        crowd = self.crowd
        version = np.where(canary, CANARY, STABLE)
        rung = np.where(crowd.lower[of], "no_online_store", "full")
        ok = pl.Series("ok", ~failed)
        return pl.DataFrame(
            {
                "request_id": self._requests[of],
                "served_at": _times(crowd.at[of]),
                "visitor_id": self._visitors.gather(crowd.visitor[of]),
                "variant": np.where(canary, "canary", "stable"),
                "cluster": version,
                "status": np.where(timed_out, 504, np.where(failed, 503, 200)),
                "duration_ms": crowd.ms[of],
                "model_version": version,
                "rung": rung,
            },
            schema_overrides={"status": pl.Int64},
        ).with_columns(pl.when(ok).then(pl.col("model_version", "rung")))

    def _receive(self, until: float) -> None:
        """Clicks that came in by now, of requests that were answered; two in a hundred are sent twice."""
        crowd = self.crowd
        low, high = np.searchsorted(crowd.click_at, [self.until, until])
        request = crowd.click_request[low:high]
        made = self._answered[request] & (crowd.spared[low:high] >= self.truth.lost(self.canary[request]))
        index = np.flatnonzero(made) + low
        index = np.concatenate((index, index[index % 50 == 0]))
        new = self._clicks[index].with_columns(
            event_id="click-" + pl.Series(index).cast(pl.String),
            request_id=self._requests.gather(crowd.click_request[index]),
            event_type=pl.lit("click"),
        )
        self._feedback = pl.concat([self._feedback, new.select(FEEDBACK.names())])

    def _history(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Answers of the day before, and clicks on them, of those visitors who had come before."""
        crowd = self.crowd
        who = np.repeat(np.arange(len(crowd.hash)), crowd.before_answers)
        number = pl.Series(np.arange(len(who))).cast(pl.String)
        answers = pl.DataFrame({"request_id": "before-" + number, "visitor_id": self._visitors.gather(who)})
        first = np.cumsum(crowd.before_answers) - crowd.before_answers
        owner = np.repeat(np.arange(len(crowd.hash)), crowd.before_clicks)
        rank = np.arange(len(owner)) - np.repeat(
            np.cumsum(crowd.before_clicks) - crowd.before_clicks, crowd.before_clicks
        )
        answers = answers.with_columns(
            served_at=pl.lit(moment(-3_600), dtype=UTC_TIME),
            user_id=pl.col("visitor_id"),
            model_version=pl.lit(STABLE),
            variant=pl.lit("stable"),
            rung=pl.lit("full"),
            items=pl.lit(ITEMS, dtype=pl.List(pl.String)),
            scores=pl.lit([], dtype=pl.List(pl.Float64)),
            latency_ms=pl.lit(15.0),
            flags=pl.lit([], dtype=pl.List(pl.String)),
        ).select(EXPOSURES.names())
        on = first[owner] + rank % np.maximum(crowd.before_answers[owner], 1)
        clicks = pl.DataFrame(
            {
                "event_id": "before-click-" + pl.Series(np.arange(len(on))).cast(pl.String),
                "request_id": answers["request_id"].gather(on),
                "item_id": pl.Series(np.array(ITEMS)[rank % TOP_K], dtype=pl.String),
                "event_type": pl.Series(["click"] * len(on), dtype=pl.String),
                "received_at": pl.Series([moment(-3_500)] * len(on), dtype=UTC_TIME),
            }
        )
        return answers, clicks

    def logs(self, since: datetime) -> Logs:
        return Logs(exposures=self._exposures, feedback=self._feedback, gateway=self._gateway)

    def stalls(self, since: datetime) -> Sequence[Stall]:
        return ()

    def gateway_only(self, since: datetime) -> Logs:
        return Logs(exposures=None, feedback=None, gateway=self._gateway)


def _times(seconds: Floats) -> pl.Series:
    start = np.datetime64(T0.replace(tzinfo=None), "us")
    stamps = start + (seconds * 1e6).astype("timedelta64[us]")
    return pl.Series(stamps).dt.replace_time_zone("UTC")
