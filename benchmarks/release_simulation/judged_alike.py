"""The same people under a fixed schedule of weights: what each visitor did and which requests failed, as arrays.

Here: what the rules of peers.py look at, and the size of a fixed sample. Not here: any rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.release_simulation.crowd import Crowd, Floats, Ints, Traffic, Truth, draw
from recsys_assets.rollout.noninferiority import fixed_information
from recsys_assets.rollout.sequential import Scores, contrast_scores

# When the product's releases change their weights, about; other rules ramp alike, so that only the rules differ.
SCHEDULE = ((0.0, 0.1), (480.0, 0.25), (720.0, 0.5))


@dataclass(frozen=True)
class Population:
    """Of one visitor's outcome at stable; drawn, since nothing else gives it exactly. `fixed` by share of weights."""

    mean: float
    variance: float

    @property
    def variation(self) -> float:
        return float(np.sqrt(self.variance) / self.mean)

    def fixed_visitors(self, shares: Floats, *, margin: float, alpha: float, power: float) -> int:
        """How many of these visitors a z-test of the same contrast at one sample needs, if the truth is no loss.

        (margin * mean * T)^2 / V = (z of alpha + z of power)^2, where T is the sum of p(1 - p) over the visitors and V
        the variance of the sum of their scores.
        """
        weight = shares * (1 - shares)
        variance = weight * self.variance * ((1 - shares) + shares * (1 - margin) ** 2)
        information = (margin * self.mean * np.cumsum(weight)) ** 2 / np.cumsum(variance)
        return int(np.searchsorted(information, fixed_information(alpha, power))) + 1


@dataclass(frozen=True)
class Seen:
    """Visitors in order of arrival, under SCHEDULE. `matured_at` is when the window is closed; `before` is NaN where
    nothing is known. Requests in order, with their arm and whether they failed; clicks on each, were it answered so."""

    first_at: Floats
    matured_at: Floats
    canary: NDArray[np.bool_]
    share: Floats
    outcome: Floats
    before: Floats
    at: Floats
    request_canary: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    clicked: NDArray[np.bool_]
    ms: Floats
    clicks_if_stable: Ints
    clicks_if_canary: Ints

    def scores(self, upto: int, *, factor: float) -> Scores:
        return contrast_scores(self.outcome[:upto], self.canary[:upto], self.share[:upto], factor=factor)


def share_at(at: Floats, schedule: tuple[tuple[float, float], ...] = SCHEDULE) -> Floats:
    since, shares = (np.array(x) for x in zip(*schedule, strict=True))
    found: Floats = shares[np.maximum(np.searchsorted(since, at, side="right") - 1, 0)]
    return found


def see(crowd: Crowd, truth: Truth) -> Seen:
    """Who would have done what. A visitor's arm is that of the first answer; the weight only grows, as does the arm."""
    canary = crowd.hash[crowd.visitor] < share_at(crowd.at)
    failed = crowd.failed(canary, slice(None), truth)
    first = np.full(len(crowd.hash), np.inf)
    np.minimum.at(first, crowd.visitor[~failed], crowd.at[~failed])
    end = first + crowd.traffic.window_seconds
    owner = crowd.visitor[crowd.click_request]
    made = ~failed[crowd.click_request] & (crowd.spared >= truth.lost(canary[crowd.click_request]))
    in_time = made & (crowd.click_at <= end[owner])
    pairs = np.unique(owner[in_time] * 100 + crowd.click_item[in_time])
    outcome = np.bincount(pairs // 100, minlength=len(first)).astype(float)
    clicked = np.zeros(len(crowd.at), dtype=bool)
    clicked[crowd.click_request[made]] = True
    order = np.argsort(first, kind="stable")
    order = order[np.isfinite(first[order])]
    share = share_at(first[order])
    before = np.where(crowd.before_answers > 0, _before(crowd), np.nan)
    return Seen(
        first_at=first[order],
        matured_at=end[order],
        canary=crowd.hash[order] < share,
        share=share,
        outcome=outcome[order],
        before=before[order],
        at=crowd.at,
        request_canary=canary,
        failed=failed,
        clicked=clicked,
        ms=crowd.ms,
        clicks_if_stable=np.bincount(crowd.click_request, minlength=len(crowd.at)),
        clicks_if_canary=np.bincount(crowd.click_request[crowd.spared >= truth.loss], minlength=len(crowd.at)),
    )


def _before(crowd: Crowd) -> Floats:
    average = crowd.before_clicks.sum() / max(crowd.before_answers.sum(), 1)
    shrunk: Floats = (crowd.before_clicks - average * crowd.before_answers) / (crowd.before_answers + 1.0)
    return shrunk


def population(traffic: Traffic, *, crowds: int, seed: int) -> tuple[Population, float]:
    """Mean and variance of the outcome without any canary, and the R^2 of history on it."""
    rng = np.random.default_rng(seed)
    outcomes, befores = [], []
    for _ in range(crowds):
        seen = see(draw(traffic, rng), Truth())
        outcomes.append(seen.outcome)
        befores.append(np.nan_to_num(seen.before))
    outcome, before = np.concatenate(outcomes), np.concatenate(befores)
    return Population(float(outcome.mean()), float(outcome.var())), float(np.corrcoef(outcome, before)[0, 1] ** 2)
