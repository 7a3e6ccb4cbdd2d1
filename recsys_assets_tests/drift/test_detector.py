"""Distances by hand, against scipy, and the promise that the verdict does not hang on the row count.

Here: detector.py. Not here: windows over tables, Evidently.
"""

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.drift.detector import (
    DriftReport,
    Shift,
    jensen_shannon,
    population_stability,
    shifts,
    wasserstein_normed,
)
from recsys_assets.records import Outcome

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def distance(reference: pl.Series, current: pl.Series) -> Shift:
    [found] = shifts(reference.to_frame("x"), current.to_frame("x"), prefix="t", features=["x"])
    return found


def report(*distances: float | None, limit: float = 0.5) -> DriftReport:
    found = [
        Shift(feature=f"f{n}", kind="number", n_reference=9, n_current=9, distance=d) for n, d in enumerate(distances)
    ]
    return DriftReport(
        as_of=DAY,
        reference_from=DAY,
        reference_to=DAY,
        current_from=DAY,
        champion_version=None,
        champion_as_of=None,
        shifts=tuple(found),
        max_distance=0.1,
        max_drifted_share=limit,
    )


def test_wasserstein_of_a_shift_by_one_in_units_of_the_spread() -> None:
    # 0 and 2 have standard deviation 1; both values moved by 1.
    assert wasserstein_normed(array(0, 2), array(1, 3)) == pytest.approx(1)


def test_wasserstein_of_constants() -> None:
    assert wasserstein_normed(array(3, 3), array(3, 3)) == 0
    assert wasserstein_normed(array(3, 3), array(5, 5)) == pytest.approx(2)  # 2 apart, and together they spread by 1


def test_jensen_shannon_of_equal_and_disjoint_categories() -> None:
    assert jensen_shannon(array(0, 1), array(1, 0)) == 0
    assert jensen_shannon(array(0, 0), array(1, 1)) == pytest.approx(1)


def test_psi_by_hand() -> None:
    # (.75 - .5) ln 1.5 + (.25 - .5) ln .5
    expected = 0.25 * math.log(1.5) - 0.25 * math.log(0.5)
    assert population_stability(array(0.5, 0.5), array(0.75, 0.25)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_distances_agree_with_scipy(seed: int) -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 2, 300), rng.normal(0.5, 3, 200)
    assert wasserstein_normed(a, b) == pytest.approx(wasserstein_distance(a, b) / a.std())
    x, y = rng.integers(0, 5, 300).astype(float), rng.integers(0, 4, 200).astype(float)
    p, q = (np.bincount(v.astype(int), minlength=5) for v in (x, y))
    assert jensen_shannon(x, y) == pytest.approx(jensenshannon(p, q, base=2))


@pytest.mark.parametrize("rows", [100, 1_000, 30_000])
def test_the_same_world_has_not_drifted_at_any_row_count(rows: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        numbers = [pl.Series(rng.lognormal(0, 1, rows)) for _ in range(2)]
        words = [pl.Series(rng.choice(list("abcdefgh"), rows)) for _ in range(2)]
        assert (distance(*numbers).distance or 0) < 0.1
        assert (distance(*words).distance or 0) < 0.1


@pytest.mark.parametrize("rows", [200, 1_000, 30_000])
def test_a_shift_of_a_third_of_the_spread_is_found_at_any_row_count(rows: int) -> None:
    rng = np.random.default_rng(2)
    found = distance(pl.Series(rng.normal(0, 1, rows)), pl.Series(rng.normal(0.33, 1, rows)))
    assert found.distance is not None
    assert 0.1 < found.distance < 0.45


def test_too_few_rows_or_only_nulls_cannot_be_compared() -> None:
    full, few = pl.Series([1.0] * 40), pl.Series([1.0] * 29)
    assert distance(full, few).distance is None
    assert distance(full, pl.Series([None] * 40, dtype=pl.Float64)).distance is None
    assert distance(full, pl.Series([math.nan] * 40)).distance is None


def test_a_category_that_was_never_seen_before_counts() -> None:
    found = distance(pl.Series(["a"] * 100), pl.Series(["a"] * 50 + ["new"] * 50))
    assert found.kind == "category"
    assert found.distance is not None
    assert found.distance > 0.3


def test_drifted_when_the_share_of_moved_features_reaches_the_limit() -> None:
    assert report(0.2, 0.05, limit=0.5).outcome is Outcome.FAIL
    assert report(0.2, 0.05, 0.05, limit=0.5).outcome is Outcome.PASS
    assert "1 of 2 features (50%, limit 50%)" in report(0.2, 0.05).reason


def test_a_feature_that_could_not_be_compared_does_not_dilute_the_share() -> None:
    assert report(0.2, None, None, limit=0.5).outcome is Outcome.FAIL


def test_nothing_comparable_is_inconclusive_and_not_quiet() -> None:
    assert report(None).outcome is Outcome.INCONCLUSIVE
    assert report().outcome is Outcome.INCONCLUSIVE


def test_a_report_survives_its_json() -> None:
    assert DriftReport.model_validate(report(0.2, None).model_dump(mode="json")) == report(0.2, None)


values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


@given(values, values, st.floats(0.5, 50), st.floats(-100, 100))
@settings(max_examples=60, deadline=None)
def test_the_unit_and_the_zero_of_a_number_do_not_matter(
    a: list[float], b: list[float], unit: float, zero: float
) -> None:
    plain = wasserstein_normed(array(*a), array(*b))
    if np.std(a) > 1e-3:
        assert wasserstein_normed(array(*a) * unit + zero, array(*b) * unit + zero) == pytest.approx(plain, rel=1e-6)
    assert plain >= 0


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
@settings(max_examples=60, deadline=None)
def test_jensen_shannon_is_symmetric_and_at_most_one(a: list[int], b: list[int]) -> None:
    there, back = jensen_shannon(array(*a), array(*b)), jensen_shannon(array(*b), array(*a))
    assert there == pytest.approx(back, abs=1e-9)
    assert 0 <= there <= 1 + 1e-9
