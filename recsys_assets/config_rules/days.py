"""Rules about days: what the span of the data must hold for training, evaluation and drift.

Here: arithmetic on windows. Not here: data. Without `data.end_date` the data grow, and every window fits one day.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING

from recsys_assets.config_rules.rule import number, rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings


def span_days(settings: Settings) -> int | None:
    """How many days the data can ever have."""
    data = settings.data
    return None if data.end_date is None else (data.end_date - data.start_date).days


def _cut_age(settings: Settings, number: int) -> int:
    """How many days before the end of the data the n-th cut lies, counted from 0 (training/cuts.py)."""
    training = settings.training
    return training.label_days + (training.cut_step_days or training.label_days) * number


def _skipped(settings: Settings) -> int:
    return ceil(settings.gate.test_days / (settings.training.cut_step_days or settings.training.label_days))


def _span(settings: Settings) -> str:
    return f"data.start_date {settings.data.start_date} to data.end_date {settings.data.end_date}"


@rule(
    "The days of the data hold the test window, the labels of one cut before it, and one day of history",
    "data.start_date",
    "data.end_date",
    "gate.test_days",
    "training.label_days",
    "training.cut_step_days",
)
def one_cut_fits_before_the_test_window(settings: Settings) -> Iterator[str]:
    span, needed = span_days(settings), _cut_age(settings, _skipped(settings)) + 1
    if span is not None and span < needed:
        yield (
            f"{_span(settings)} are {span} days, but gate.test_days {settings.gate.test_days} after labels of "
            f"training.label_days {settings.training.label_days} need {needed}: bring more days, or shorten the windows"
        )


@rule(
    "Every cut has days before it",
    "data.start_date",
    "data.end_date",
    "training.cuts",
    "training.label_days",
    "training.cut_step_days",
    warning=True,
)
def all_cuts_fit(settings: Settings) -> Iterator[str]:
    span, count = span_days(settings), settings.training.cuts
    oldest = _cut_age(settings, count + _skipped(settings) - 1)
    if span is not None and span < oldest + 1:
        yield (
            f"{_span(settings)} are {span} days, but the oldest of training.cuts {count} lies {oldest} days before the "
            "end: cuts before the first day have no rows; ask for fewer"
        )


@rule(
    "The current window of drift leaves days to compare with", "data.start_date", "data.end_date", "drift.current_days"
)
def drift_has_a_reference(settings: Settings) -> Iterator[str]:
    span, current = span_days(settings), settings.drift.current_days
    if span is not None and span <= current:
        yield (
            f"{_span(settings)} are {span} days, and drift.current_days {current} takes all of them: "
            "nothing is left to "
            "compare with; shorten it"
        )


@rule(
    "The days of the data hold both windows of drift",
    "data.start_date",
    "data.end_date",
    "drift.reference_days",
    "drift.current_days",
    warning=True,
)
def drift_windows_fit(settings: Settings) -> Iterator[str]:
    span, drift = span_days(settings), settings.drift
    if span is not None and span < drift.reference_days + drift.current_days:
        yield (
            f"{_span(settings)} are {span} days, fewer than drift.reference_days {drift.reference_days} and "
            f"drift.current_days {drift.current_days} together: the reference is shorter than it says"
        )


@rule(
    "No window of features is longer than the data",
    "data.start_date",
    "data.end_date",
    "features.windows_days",
    warning=True,
)
def feature_windows_fit(settings: Settings) -> Iterator[str]:
    span = span_days(settings)
    longer = [w for w in settings.features.windows_days if span is not None and w > span]
    if longer:
        named = ", ".join(str(w) for w in longer)
        yield (
            f"{_span(settings)} are {span} days, so features.windows_days {named} count what all days "
            "do: leave them out"
        )


@rule("Sources are fitted on more days than one label takes", "training.lookback_days", "training.label_days")
def lookback_is_longer_than_labels(settings: Settings) -> Iterator[str]:
    training = settings.training
    if training.lookback_days <= training.label_days:
        yield (
            f"training.lookback_days {training.lookback_days} is not longer than training.label_days "
            f"{training.label_days}: the sources would have nothing from before the labels; lengthen it"
        )


@rule("A day's volume may lie between its limits", "data.min_volume_ratio", "data.max_volume_ratio")
def volume_limits_are_ordered(settings: Settings) -> Iterator[str]:
    low, high = settings.data.min_volume_ratio, settings.data.max_volume_ratio
    if low >= high:
        yield (
            f"data.min_volume_ratio {number(low)} is not below data.max_volume_ratio {number(high)}: "
            "every day would be "
            "refused; lower the first or raise the second"
        )
