"""The people of one simulated release: when they come, what they ask, click and suffer, in either arm.

Here: everything drawn beforehand, so that every rule judges the same people. Not here: which arm somebody gets.

Returning visitors ask several times (clusters); how much somebody clicks is a heavy-tailed trait; clicks come late,
some too late; arrivals and clicking follow the hour; failures cluster by user; the machine is slow for both arms now
and then. Where it is asked for, each arm's own machine stands still now and then, and nearly all its requests time out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TOP_K = 10


@dataclass(frozen=True)
class Traffic:
    """What the world is like. Seconds are of the fake clock; a "day" is short, so that a release spans several."""

    seconds: float = 6_300.0
    visitors_per_second: float = 2.0
    requests_per_visit: float = 3.0
    returns: float = 0.9
    return_after_seconds: float = 900.0
    clicks: float = 0.9
    click_delay_seconds: float = 25.0
    window_seconds: float = 120.0
    day_seconds: float = 1_500.0
    arrivals_swing: float = 0.5
    clicks_swing: float = 0.25
    error_rate: float = 0.005
    error_shape: float = 0.2  # of the gamma over users: their rates vary with a coefficient of 2.2
    degraded_rate: float = 0.003
    unlogged_rate: float = 0.001
    history_share: float = 0.55
    # Of the trait that stays with a visitor; the rest is the day's mood. Sets how much history tells of the outcome.
    lasting_shape: float = 1.2
    mood_shape: float = 3.0
    # Of each arm's own machine, on average in all of the time; and how long one lasts, evenly drawn.
    stalls: float = 0.0
    stall_seconds: tuple[float, float] = (1.0, 20.0)


@dataclass(frozen=True)
class Truth:
    """How the canary differs: `loss` of clicks (0.1 = one in ten is not made), and how many times the failures.

    A negative loss is a gain: at -0.2 the canary's visitors click 1.2 times as much, since stable's leave out a sixth.
    """

    loss: float = 0.0
    errors: float = 1.0

    def lost(self, canary: NDArray[np.bool_]) -> Floats:
        """The share of clicks that is not made in each request's arm."""
        lost: Floats = np.where(canary, max(self.loss, 0.0), max(-self.loss, 0.0) / (1.0 - min(self.loss, 0.0)))
        return lost


@dataclass(frozen=True)
class Crowd:
    """Visitors by number; requests in order of time; clicks in order of their coming in.

    `hash` is where a visitor lies in [0, 1): the canary's when below the weight. A request fails where `fails` is below
    the arm's rate of its visitor; a click of the canary is not made where `spared` is below the loss. Rates of clicks
    are thus exactly (1 - loss) times stable's, for every visitor.
    """

    traffic: Traffic
    hash: Floats
    first_at: Floats
    error_rate: Floats
    visitor: Ints
    at: Floats
    fails: Floats
    ms: Floats
    lower: NDArray[np.bool_]
    unlogged: NDArray[np.bool_]
    click_request: Ints
    click_item: Ints
    click_at: Floats
    spared: Floats
    before_answers: Ints
    before_clicks: Ints
    # Whether each request comes while the canary's machine, or stable's, stands still.
    canary_stalls: NDArray[np.bool_]
    stable_stalls: NDArray[np.bool_]

    def timed_out(self, canary: NDArray[np.bool_], of: slice) -> NDArray[np.bool_]:
        """One in twenty comes through all the same."""
        stalls = np.where(canary, self.canary_stalls[of], self.stable_stalls[of])
        out: NDArray[np.bool_] = stalls & (self.fails[of] < 0.95)
        return out

    def failed(self, canary: NDArray[np.bool_], of: slice, truth: Truth) -> NDArray[np.bool_]:
        rate = self.error_rate[self.visitor[of]] * np.where(canary, truth.errors, 1.0)
        failed: NDArray[np.bool_] = (self.fails[of] < rate) | self.timed_out(canary, of)
        return failed


def draw(traffic: Traffic, rng: np.random.Generator) -> Crowd:
    """Draw everybody."""
    n = rng.poisson(traffic.seconds * traffic.visitors_per_second)
    first_at = _arrivals(traffic, n, rng)
    visitor, at = _requests(traffic, first_at, rng)
    m = len(at)
    lasting = rng.gamma(traffic.lasting_shape, 1 / traffic.lasting_shape, n)
    mood = rng.gamma(traffic.mood_shape, 1 / traffic.mood_shape, n)
    season = 1 + traffic.clicks_swing * np.sin(2 * np.pi * first_at / traffic.day_seconds + 1.0)
    clicks = np.minimum(rng.poisson(traffic.clicks * lasting * mood * season), TOP_K)
    request, item, click_at, spared = _clicks(traffic, clicks, visitor, at, first_at, rng)
    answers = np.where(rng.random(n) < traffic.history_share, 1 + rng.poisson(0.8, n), 0)
    ms = rng.lognormal(np.log(15.0), 0.5, m)
    for stall in rng.uniform(0, traffic.seconds, 3):
        ms[(at >= stall) & (at < stall + 20)] *= 3.0
    crowd = Crowd(
        traffic=traffic,
        hash=rng.random(n),
        first_at=first_at,
        error_rate=traffic.error_rate * rng.gamma(traffic.error_shape, 1 / traffic.error_shape, n),
        visitor=visitor,
        at=at,
        fails=rng.random(m),
        ms=ms,
        lower=rng.random(m) < traffic.degraded_rate,
        unlogged=rng.random(m) < traffic.unlogged_rate,
        click_request=request,
        click_item=item,
        click_at=click_at,
        spared=spared,
        before_answers=answers,
        before_clicks=np.minimum(rng.poisson(0.45 * lasting * answers), 3 * answers),
        canary_stalls=np.zeros(m, dtype=bool),
        stable_stalls=np.zeros(m, dtype=bool),
    )
    # Drawn last: without stalls the same seed gives the same people as with them.
    return replace(crowd, canary_stalls=_stalls(traffic, at, rng), stable_stalls=_stalls(traffic, at, rng))


def _stalls(traffic: Traffic, at: Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which requests come while one machine stands still."""
    meets = np.zeros(len(at), dtype=bool)
    for began in rng.uniform(0, traffic.seconds, rng.poisson(traffic.stalls)):
        meets |= (at >= began) & (at < began + rng.uniform(*traffic.stall_seconds))
    return meets


def _arrivals(traffic: Traffic, n: int, rng: np.random.Generator) -> Floats:
    """By the hour: drawn evenly, and thrown again where the season has fewer."""
    drawn = rng.uniform(0, traffic.seconds, 3 * n + 100)
    season = 1 + traffic.arrivals_swing * np.sin(2 * np.pi * drawn / traffic.day_seconds)
    kept = drawn[rng.random(len(drawn)) * (1 + traffic.arrivals_swing) < season]
    arrivals: Floats = np.sort(kept[:n])
    return arrivals


def _requests(traffic: Traffic, first_at: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    n = len(first_at)
    visits = 1 + rng.geometric(1 / (1 + traffic.returns), n) - 1
    visit_of = np.repeat(np.arange(n), visits)
    opening = np.concatenate(([0], np.cumsum(visits)[:-1]))
    gap = rng.exponential(traffic.return_after_seconds, len(visit_of)) + traffic.window_seconds
    gap[opening] = 0.0
    total = np.cumsum(gap)
    began = first_at[visit_of] + total - np.repeat(total[opening], visits)
    asked = rng.geometric(1 / traffic.requests_per_visit, len(visit_of))
    of = np.repeat(np.arange(len(visit_of)), asked)
    starts = np.concatenate(([0], np.cumsum(asked)[:-1]))
    pause = rng.exponential(12.0, len(of))
    pause[starts] = 0.0
    total = np.cumsum(pause)
    at = began[of] + total - np.repeat(total[starts], asked)
    order = np.argsort(at, kind="stable")
    return visit_of[of][order].astype(np.int64), at[order]


def _clicks(
    traffic: Traffic, clicks: Ints, visitor: Ints, at: Floats, first_at: Floats, rng: np.random.Generator
) -> tuple[Ints, Ints, Floats, Floats]:
    """Distinct items in the first visit, each on one of its requests; one in seven is clicked twice.

    An item that the canary's visitor spares is spared both times, or the loss would be less than it is told to be.
    """
    in_first = at <= first_at[visitor] + traffic.window_seconds
    candidates = np.flatnonzero(in_first)
    owner = visitor[candidates]
    order = np.argsort(owner, kind="stable")
    candidates, owner = candidates[order], owner[order]
    counts = np.bincount(owner, minlength=len(first_at))
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    who = np.repeat(np.arange(len(first_at)), clicks)
    rank = np.arange(len(who)) - np.repeat(np.cumsum(clicks) - clicks, clicks)
    request = candidates[starts[who] + (rng.random(len(who)) * counts[who]).astype(np.int64)]
    again = rng.random(len(who)) < 1 / 7
    spared = rng.random(len(who))
    spared = np.concatenate((spared, spared[again]))
    request = np.concatenate((request, request[again]))
    item = np.concatenate((rank, rank[again]))
    came = at[request] + rng.exponential(traffic.click_delay_seconds, len(request))
    order = np.argsort(came, kind="stable")
    return request[order].astype(np.int64), item[order].astype(np.int64), came[order], spared[order]


def texts(crowd: Crowd) -> tuple[pl.Series, pl.Series]:
    """Names of visitors and requests, as strings."""
    visitors = pl.Series("visitor_id", np.arange(len(crowd.hash))).cast(pl.String)
    requests = pl.Series("request_id", np.arange(len(crowd.at))).cast(pl.String)
    return "visitor-" + visitors, "request-" + requests
