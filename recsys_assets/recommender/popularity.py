"""Popularity of items: counts in windows before a moment, decayed counts, and the half-life that fits the data.

Here: what everybody does. Not here: anything that depends on one user.
"""

from __future__ import annotations

import numpy as np

from recsys_assets.recommender.events import DAY_SECONDS, FORGOTTEN, Doubles, Events, Floats, decay

WINDOWS_DAYS: tuple[float, ...] = (1.0, 3.0, 7.0, 14.0, 30.0, 90.0, 365.0)
HALF_LIVES_DAYS: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0, 365.0)


def counts_in_windows(events: Events, at: float, windows_days: tuple[float, ...] = WINDOWS_DAYS) -> Floats:
    """[windows, items]: events of each item in [at - window, at)."""
    n = len(events.item_ids)
    before = events.times < at
    rows = [
        np.bincount(events.items[before & (events.times >= at - w * DAY_SECONDS)], minlength=n) for w in windows_days
    ]
    return np.asarray(rows, dtype=np.float32).reshape(len(windows_days), n)


def decayed_counts(events: Events, at: float, half_life_days: float) -> Floats:
    """[items]: events before `at`, each halved every `half_life_days`; none is left of those long FORGOTTEN."""
    window = (at - FORGOTTEN * half_life_days * DAY_SECONDS, at)
    begin, end = np.searchsorted(events.times, window)  # oldest first
    weights = decay(at - events.times[begin:end], half_life_days)
    counted: Floats = np.bincount(events.items[begin:end], weights=weights, minlength=len(events.item_ids)).astype(
        np.float32
    )
    return counted


def fitting_half_life(
    events: Events,
    at: float,
    *,
    horizon_days: float,
    probes: int = 3,
    top: int = 50,
    half_lives: tuple[float, ...] = HALF_LIVES_DAYS,
) -> float:
    """The half-life whose `top` items cover most of the events in the `horizon_days` after each of a few past moments.

    It looks only at events before `at`. With too little history it is the middle of the grid.
    """
    hits = np.zeros(len(half_lives))
    for probe in range(1, probes + 1):
        cut = at - probe * horizon_days * DAY_SECONDS
        future = events.items[(events.times >= cut) & (events.times < cut + horizon_days * DAY_SECONDS)]
        if len(future) == 0 or not (events.times < cut).any():
            continue
        wanted = np.bincount(future, minlength=len(events.item_ids)) / len(future)
        for number, half_life in enumerate(half_lives):
            best = np.argsort(-decayed_counts(events, cut, half_life), kind="stable")[:top]
            hits[number] += wanted[best].sum()
    return half_lives[int(hits.argmax())] if hits.any() else half_lives[len(half_lives) // 2]


def first_and_last(events: Events) -> tuple[Doubles, Doubles]:
    """Epoch seconds of each item's first and newest event; NaN for an item without one."""
    first = np.full(len(events.item_ids), np.nan)
    last = np.full(len(events.item_ids), np.nan)
    first[events.items[::-1]] = events.times[::-1]  # oldest first, so the reversed assignment leaves the oldest
    last[events.items] = events.times
    return first, last
