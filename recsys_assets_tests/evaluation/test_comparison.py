"""The paired bootstrap: what it must be exactly, and how often its bound covers the truth.

Here: comparison.py. Not here: margins.
"""

import math

import numpy as np
import polars as pl
import pytest

from recsys_assets.evaluation.comparison import compare, mean_interval


def rows(values: list[float] | np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u{n:05}" for n in range(len(values))], "m": [float(v) for v in values]})


def test_the_relative_difference_is_that_of_the_means() -> None:
    found = compare(rows([0.2, 0.4]), rows([0.1, 0.3]), "m", alpha=0.05, samples=200)
    assert found is not None
    assert found.relative == pytest.approx((0.3 - 0.2) / 0.2)
    assert (found.n, found.worse) == (2, 0)


def test_equal_models_differ_by_exactly_nothing() -> None:
    values = np.random.default_rng(0).random(50)
    found = compare(rows(values), rows(values), "m", alpha=0.05, samples=200)
    assert found is not None
    assert (found.relative, found.low, found.high) == (0, 0, 0)


def test_pairing_takes_out_what_makes_users_easy_or_hard() -> None:
    hard = np.random.default_rng(0).random(200)
    found = compare(rows(hard * 1.05), rows(hard), "m", alpha=0.05, samples=500)
    assert found is not None
    assert found.low == pytest.approx(0.05)
    assert found.high == pytest.approx(0.05)


def test_the_order_of_the_rows_does_not_matter() -> None:
    a, b = rows(np.random.default_rng(0).random(40)), rows(np.random.default_rng(1).random(40))
    one = compare(a, b, "m", alpha=0.05, samples=200)
    assert one == compare(a.reverse(), b.sample(fraction=1, shuffle=True, seed=3), "m", alpha=0.05, samples=200)


def test_models_scored_on_other_users_are_refused() -> None:
    with pytest.raises(ValueError, match="same users"):
        compare(rows([0.1, 0.2]), rows([0.1]), "m", alpha=0.05, samples=100)


@pytest.mark.parametrize(("ours", "theirs"), [(math.nan, 0.1), (0.1, math.nan), (0.1, math.inf)])
def test_a_number_that_is_not_finite_is_refused(ours: float, theirs: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        compare(rows([ours]), rows([theirs]), "m", alpha=0.05, samples=100)


def test_no_users_is_no_comparison() -> None:
    assert compare(rows([]), rows([]), "m", alpha=0.05, samples=100) is None
    assert mean_interval(rows([]), "m", alpha=0.05, samples=100).value is None


def test_a_reference_of_zero_leaves_no_number_for_the_record() -> None:
    found = compare(rows([0.5, 0.5]), rows([0, 0]), "m", alpha=0.05, samples=100)
    assert found is not None
    assert found.relative == math.inf
    assert found.measurement("x").value is None


def test_the_lower_bound_is_wrong_about_as_often_as_alpha_says() -> None:
    # The true relative difference is 0.1; among 300 worlds of 150 users the bound at 5 % may miss it in about 15.
    rng, missed = np.random.default_rng(11), 0
    for world in range(300):
        base = rng.beta(1, 3, 150)
        ours = base * 1.1 + rng.normal(0, 0.1, 150)
        found = compare(rows(ours), rows(base), "m", alpha=0.05, samples=300, seed=world)
        assert found is not None
        missed += found.low > 0.1
    assert 3 <= missed <= 33


def test_many_users_are_resampled_in_chunks_with_the_same_kind_of_interval() -> None:
    values = np.random.default_rng(5).random(30_000)
    found = mean_interval(rows(values), "m", alpha=0.05, samples=300)
    standard_error = values.std() / math.sqrt(len(values))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.645 * standard_error, rel=0.2)
