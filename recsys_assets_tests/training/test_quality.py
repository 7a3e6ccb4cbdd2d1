"""Numbers worked out by hand. Not here: what is good enough."""

from datetime import UTC, datetime
from math import log2

import numpy as np
import polars as pl
import pytest

from recsys_assets.columns import UTC_TIME
from recsys_assets.training.quality import constant_share, ndcg_at, single_feature_aucs, some_lists

CUT = datetime(2024, 1, 1, tzinfo=UTC)


def rows(labels: dict[str, list[int]]) -> pl.DataFrame:
    """Rows of users u with these labels, in order."""
    flat = [(user, f"i{n}", CUT, label) for user, own in labels.items() for n, label in enumerate(own)]
    schema = {"user_id": pl.String, "item_id": pl.String, "cut": UTC_TIME, "label": pl.Int8}
    return pl.DataFrame(flat, schema=schema, orient="row")


def test_one_positive_in_second_place_gives_one_over_log2_of_three() -> None:
    assert ndcg_at(rows({"a": [0, 1, 0]}), np.array([3.0, 2.0, 1.0])) == pytest.approx(1 / log2(3))


def test_users_count_alike_and_those_without_a_positive_not_at_all() -> None:
    # a: perfect, 1. b: positive in place 2. c: nothing to find.
    table, scores = rows({"a": [1, 0], "b": [0, 1], "c": [0, 0]}), np.array([2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    assert ndcg_at(table, scores) == pytest.approx((1 + 1 / log2(3)) / 2)


def test_a_positive_below_k_counts_nothing() -> None:
    assert ndcg_at(rows({"a": [0, 0, 1]}), np.array([3.0, 2.0, 1.0]), k=2) == 0.0


def test_without_any_positive_there_is_no_number() -> None:
    assert ndcg_at(rows({"a": [0, 0]}), np.array([1.0, 2.0])) is None


def test_the_auc_of_a_feature_is_the_share_of_pairs_it_orders() -> None:
    # Positives 3 and 1 against 2 and 0: pairs (3,2) (3,0) (1,0) are right, (1,2) is wrong: 3/4.
    table = rows({"a": [1, 1, 0, 0]}).with_columns(
        half=pl.Series([3.0, 1.0, 2.0, 0.0]),
        copy=pl.Series([1.0, 1.0, 0.0, 0.0]),
        inverse=pl.Series([0.0, 0.0, 1.0, 1.0]),
        flat=pl.Series([5.0] * 4),
        missing=pl.Series([1.0, 1.0, None, float("nan")]),
    )
    assert single_feature_aucs(table, ["half", "copy", "inverse", "flat", "missing"]) == {
        "half": 0.75,
        "copy": 1.0,
        "inverse": 1.0,
        "flat": 0.5,
        "missing": 1.0,
    }


def test_rows_of_one_class_have_no_auc() -> None:
    assert single_feature_aucs(rows({"a": [0, 0]}).with_columns(x=pl.Series([1.0, 2.0])), ["x"]) == {}


def test_flat_lists_are_counted_and_lists_of_one_item_are_not() -> None:
    table = rows({"a": [0, 1], "b": [0, 1], "c": [1]})
    assert constant_share(table, np.array([1.0, 1.0, 1.0, 2.0, 7.0])) == 0.5


def test_some_lists_are_whole_lists_of_evenly_spread_users_in_their_order():
    rows = pl.DataFrame({"user_id": [f"u{n // 5}" for n in range(40)], "item_id": [f"i{n}" for n in range(40)]})
    some = some_lists(rows, 20)
    assert some["user_id"].unique(maintain_order=True).to_list() == ["u0", "u2", "u4", "u6"]
    assert some.height == 20
    assert some_lists(rows, 40) is rows
