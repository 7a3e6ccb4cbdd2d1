"""Rules about training and its gate: lists long enough, users that can be there, a metric that is known.

Here: counts. Not here: days (days.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules.rule import number, rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

# The metrics that are larger where a model is better (evaluation/metrics.py), and how many items they look at.
METRICS: Final = ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "mrr_at_10")
METRIC_ITEMS: Final = 10


@rule("Each source proposes as many items as are shown", "serving.top_k", "training.candidates_per_source")
def candidates_fill_the_list(settings: Settings) -> Iterator[str]:
    shown, proposed = settings.serving.top_k, settings.training.candidates_per_source
    if shown > proposed:
        yield (
            f"serving.top_k {shown} is more than training.candidates_per_source {proposed}: lists would end early; "
            "raise the second"
        )


@rule("Each source proposes as many items as the gate looks at", "training.candidates_per_source", "gate.metric")
def candidates_fill_the_metric(settings: Settings) -> Iterator[str]:
    proposed = settings.training.candidates_per_source
    if proposed < METRIC_ITEMS:
        yield (
            f"training.candidates_per_source {proposed} is less than the {METRIC_ITEMS} items of gate.metric "
            f"{settings.gate.metric}: raise it"
        )


@rule("The gate's metric is one that is measured, and larger where a model is better", "gate.metric")
def metric_is_known(settings: Settings) -> Iterator[str]:
    if settings.gate.metric not in METRICS:
        yield f"gate.metric {settings.gate.metric!r} is not known: choose one of {', '.join(METRICS)}"


@rule("The gate can have the users that it asks for", "gate.min_test_users", "gate.max_test_users")
def enough_test_users_can_be_there(settings: Settings) -> Iterator[str]:
    low, high = settings.gate.min_test_users, settings.gate.max_test_users
    if low > high:
        yield f"gate.min_test_users {low} is more than gate.max_test_users {high}: no model could pass; lower the first"


@rule("A slice can have the users that it asks for", "gate.min_slice_users", "gate.max_test_users")
def enough_slice_users_can_be_there(settings: Settings) -> Iterator[str]:
    low, high = settings.gate.min_slice_users, settings.gate.max_test_users
    if low > high:
        yield f"gate.min_slice_users {low} is more than gate.max_test_users {high}: no slice is judged; lower the first"


@rule("An interval at alpha has samples outside it", "gate.alpha", "gate.bootstrap_samples")
def samples_reach_the_quantile(settings: Settings) -> Iterator[str]:
    alpha, samples = settings.gate.alpha, settings.gate.bootstrap_samples
    if alpha * samples < 1:
        yield (
            f"gate.bootstrap_samples {samples} cannot show a bound at gate.alpha {number(alpha)}: "
            f"take at least {int(-(-1 // alpha))} samples, or a larger alpha"
        )


@rule("The fewest rows of a fit fill two leaves", "training.min_rows", "training.min_data_in_leaf")
def rows_fill_two_leaves(settings: Settings) -> Iterator[str]:
    rows, leaf = settings.training.min_rows, settings.training.min_data_in_leaf
    if rows < 2 * leaf:
        yield (
            f"training.min_rows {rows} is less than two leaves of training.min_data_in_leaf {leaf}: a "
            "fit on so few rows "
            f"would score everything alike; ask for {2 * leaf} rows, or for smaller leaves"
        )
