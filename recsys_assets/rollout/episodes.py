"""Episodes: does a failure that was shown rest on one stretch of time, on two, or on one visitor?

Here: pure, rows in, an Episode or None out. Not here: the tests that show a failure (guardrails.py, analysis.py), or
what follows from the answer (taking.py).

Failures come together in time as they do by user: a machine that stands still for five seconds is one event, whether
one request meets it or sixty. An episode is a window of EPISODE_SECONDS, wherever it begins. Of all windows the one in
which the canary has the largest excess of failures over stable is found (a scan statistic with a fixed window [N65])
and left out, both arms alike, and the same test is asked again; then without the worst window of what is left, too.
What is still shown rests on three episodes at least, as three releases that an episode ended do, however the failures
inside of any two windows depend on each other: the e-value of what is left is at most the one that all rows outside of
those windows give, which is an e-value of its own [S21]. The same is asked without the one visitor with the most
failures, who may have tried again a hundred times.

Sources:
  [N65] Naus: The distribution of the size of the maximum cluster of points on a line (1965).
  [S21] Shafer: Testing by betting (2021); e-values of separate rows multiply, so leaving some out divides by theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.records import Episode
from recsys_assets.stalls import Stall

# Longer than the machine, a garbage collection or a store stands still and is still taken as ready.
EPISODE_SECONDS: Final = 30.0
# So many releases of one digest, each ended by an episode of its own, are no coincidence any more.
EPISODES_THAT_DENY: Final = 3
# Two releases whose episodes are closer than this may have met one and the same.
APART_SECONDS: Final = 60.0

Floats = NDArray[np.float64]
StillShown = Callable[[pl.DataFrame], bool]
Named = Callable[[pl.DataFrame], str]


def heaviest_window(at: Floats, weight: Floats, seconds: float) -> slice | None:
    """The rows of the window of this length that has the largest sum of weights; None where no sum is above 0.

    `at` ascends. Only windows that begin at a row with a weight above 0 are asked: no other can have a larger sum.
    """
    starts = np.flatnonzero(weight > 0)
    if not len(starts):
        return None
    ends = np.searchsorted(at, at[starts] + seconds, side="right")
    sums = np.concatenate(([0.0], np.cumsum(weight)))
    best = int(np.argmax(sums[ends] - sums[starts]))
    return slice(int(starts[best]), int(ends[best]))


def rests_on(
    rows: pl.DataFrame,
    column: str,
    still_shown: StillShown,
    name: Named,
    *,
    arm: str = "canary",
    seconds: float = EPISODE_SECONDS,
    windows: int = EPISODES_THAT_DENY - 1,
) -> Episode | None:
    """The episode without which `column` is not shown of the arm's rows any more, or None where it is shown without it.

    `rows` have served_at, variant, visitor_id and the boolean `column`; `name` says what the events of an episode are.
    Where `windows` are left out before it is not shown, `others` names those after the worst.
    """
    rows = rows.sort("served_at")
    hits = (pl.col("variant") == arm) & pl.col(column)
    visitor = _worst_visitor(rows, column, arm)
    if visitor is not None and not still_shown(rows.filter(~visitor)):
        return _episode(rows.filter(visitor).filter(hits), name)
    found: list[Episode] = []
    left = rows
    while len(found) < windows and (within := _worst_window(left, column, arm, seconds)) is not None:
        found.append(_episode(left.filter(within).filter(hits), name))
        left = left.filter(~within)
        if not still_shown(left):
            return joined(found)
    return None


def without_worst(
    rows: pl.DataFrame, column: str, name: Named, *, arm: str, seconds: float = EPISODE_SECONDS
) -> tuple[pl.DataFrame, Episode] | None:
    """The rows outside of the window with the most events of the arm, and the episode in it; None without an event."""
    rows = rows.sort("served_at")
    if (within := _worst_window(rows, column, arm, seconds)) is None:
        return None
    hits = rows.filter(within & (rows["variant"] == arm) & rows[column])
    return rows.filter(~within), _episode(hits, name)


def joined(found: Sequence[Episode]) -> Episode:
    """The worst, which names the others."""
    return found[0].model_copy(update={"others": ", ".join(other.told() for other in found[1:])})


def _worst_window(rows: pl.DataFrame, column: str, arm: str, seconds: float) -> pl.Series | None:
    """Which rows lie in the window with the largest excess of the arm's events over what the other arm's ask for."""
    own, hit = (rows["variant"] == arm).to_numpy(), rows[column].to_numpy()
    others = max(1, int((~own).sum()))
    weight = np.where(own, 1.0, -own.sum() / others) * hit
    window = heaviest_window(rows["served_at"].dt.epoch("us").to_numpy() / 1e6, weight, seconds)
    if window is None:
        return None
    within = np.zeros(rows.height, dtype=bool)
    within[window] = True
    return pl.Series(within)


def _worst_visitor(rows: pl.DataFrame, column: str, arm: str) -> pl.Series | None:
    """Which rows are those of the visitor with the most events, where one has several. Nobody known is no visitor."""
    hits = rows.filter((pl.col("variant") == arm) & pl.col(column) & pl.col("visitor_id").is_not_null())
    counts = hits.group_by("visitor_id").len().sort("len", "visitor_id", descending=[True, False])
    if counts.is_empty() or counts["len"][0] < 2:
        return None
    visitor: str = counts["visitor_id"][0]
    return rows.select((pl.col("visitor_id") == visitor).fill_null(False)).to_series()


def _episode(hits: pl.DataFrame, name: Named) -> Episode:
    began, ended = hits["served_at"][0], hits["served_at"][-1]
    one = hits["visitor_id"].n_unique() == 1 and hits.height > 1 and hits["visitor_id"][0] is not None
    what = f"{name(hits)} of one visitor" if one else name(hits)
    return Episode(what=what, count=hits.height, began=began, seconds=(ended - began).total_seconds())


def errors_named(hits: pl.DataFrame) -> str:
    """Timeouts, where the gateway gave up waiting for every one of them."""
    return "timeouts" if (hits["status"] == 504).all() else "errors"


def with_stalls(episode: Episode | None, stalls: Sequence[Stall]) -> Episode | None:
    """The episode with the stalls that a process noted at the time: a request may have waited for one that was over."""
    if episode is None:
        return None
    edge = timedelta(seconds=EPISODE_SECONDS)
    near = [s.told() for s in stalls if s.began <= episode.ended and s.ended >= episode.began - edge]
    return episode.model_copy(update={"stalled": ", ".join(near)}) if near else episode


def apart(episodes: Sequence[Episode]) -> list[Episode]:
    """Those that are episodes of their own: each began APART_SECONDS after the one counted before it was over."""
    counted: list[Episode] = []
    for episode in sorted(episodes, key=lambda e: e.began):
        if not counted or episode.began >= counted[-1].ended + timedelta(seconds=APART_SECONDS):
            counted.append(episode)
    return counted
