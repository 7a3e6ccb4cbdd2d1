"""Ranking metrics against fractions worked out by hand, against scikit-learn, and against laws.

Here: metrics.py. Not here: intervals or verdicts.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.evaluation.metrics import (
    Popularity,
    catalogue_coverage,
    per_user,
    rankings_frame,
    slots_outside_top,
)

NOBODY = Popularity(pl.DataFrame(schema={"item_id": pl.String, "share": pl.Float64, "bits": pl.Float64}), 1.0)
SECOND = 1 / math.log2(3)  # the discount of the second place; the first has 1, the third 1/2


def truth(items: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    rows = [(user, item) for user, found in items.items() for item in found]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")


def score(lists: Mapping[str, Sequence[str]], true: Mapping[str, Sequence[str]], k: int = 10) -> dict[str, float]:
    frame = per_user(rankings_frame(lists, k=k), truth(true), NOBODY, k=k)
    return frame.drop("user_id").row(0, named=True)


def test_hits_in_places_one_and_three_of_two_true_items() -> None:
    found = score({"ann": ["a", "x", "b"]}, {"ann": ["a", "b"]})
    assert found["ndcg_at_10"] == pytest.approx((1 + 1 / 2) / (1 + SECOND))
    assert found["recall_at_10"] == 1
    assert found["hit_rate_at_10"] == 1
    assert found["mrr_at_10"] == 1


def test_one_hit_in_place_two_of_four_true_items() -> None:
    found = score({"ann": ["x", "a"]}, {"ann": ["a", "b", "c", "d"]}, k=2)
    assert found["ndcg_at_2"] == pytest.approx(SECOND / (1 + SECOND))
    assert found["recall_at_2"] == pytest.approx(1 / 4)
    assert found["mrr_at_2"] == pytest.approx(1 / 2)


def test_more_true_items_than_places_can_still_reach_one() -> None:
    assert score({"ann": ["a", "b"]}, {"ann": ["a", "b", "c"]}, k=2)["ndcg_at_2"] == pytest.approx(1)


def test_a_hit_below_the_last_place_does_not_count() -> None:
    assert score({"ann": ["x", "y", "a"]}, {"ann": ["a"]}, k=2)["ndcg_at_2"] == 0


def test_a_user_without_recommendations_scores_zero_and_stays_in_the_rows() -> None:
    frame = per_user(rankings_frame({"ann": ["a"]}), truth({"ann": ["a"], "bob": ["a"]}), NOBODY)
    assert frame["user_id"].to_list() == ["ann", "bob"]
    assert frame["ndcg_at_10"].to_list() == [1, 0]


def test_a_list_that_repeats_an_item_is_refused_because_it_would_count_a_hit_twice() -> None:
    with pytest.raises(ValueError, match="names item a more than once"):
        rankings_frame({"ann": ["a", "a"]})


def test_popularity_share_and_novelty_by_hand() -> None:
    # a has 3 of 4 events, b has 1; c is unseen.
    past = pl.DataFrame({"item_id": ["a", "a", "a", "b"]})
    frame = per_user(rankings_frame({"ann": ["a", "c"]}), truth({"ann": ["a"]}), Popularity.of(past))
    assert frame["popularity_share_at_10"][0] == pytest.approx((3 / 4 + 0) / 2)
    assert frame["novelty_at_10"][0] == pytest.approx((-math.log2(4 / 5) + math.log2(5)) / 2)


def test_the_head_is_the_most_popular_fifth_of_the_items() -> None:
    past = pl.DataFrame({"item_id": ["a", "b", "b", "c", "d", "e"]})
    assert Popularity.of(past).head(0.2).to_list() == ["b"]


def test_coverage_counts_each_shown_item_once() -> None:
    assert catalogue_coverage(rankings_frame({"ann": ["a", "b"], "bob": ["a"]}), 4) == pytest.approx(2 / 4)


def test_the_same_list_for_everybody_leaves_no_place_outside_the_top() -> None:
    same = rankings_frame({user: ["a", "b"] for user in ("ann", "bob")}, k=2)
    other = rankings_frame({"ann": ["a", "b"], "bob": ["a", "c"]}, k=2)
    assert slots_outside_top(same, k=2) == 0
    assert slots_outside_top(other, k=2) == pytest.approx(1 / 4)


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_agrees_with_scikit_learn(seed: int) -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(seed)
    relevant, scores = rng.random((30, 25)) < 0.2, rng.random((30, 25))
    relevant[:, 0] = True  # scikit-learn and we differ only on users without a true item, who are never test users
    items = np.array([f"i{n:02}" for n in range(25)])
    lists = {f"u{u:02}": items[np.argsort(-scores[u])].tolist() for u in range(30)}
    true = {f"u{u:02}": items[relevant[u]].tolist() for u in range(30)}
    ours = per_user(rankings_frame(lists), truth(true), NOBODY)["ndcg_at_10"].to_list()
    theirs = [ndcg_score([relevant[u]], [scores[u]], k=10) for u in range(30)]
    assert ours == pytest.approx(theirs)


ITEMS = [f"i{n}" for n in range(15)]
lists_of_items = st.lists(st.sampled_from(ITEMS), unique=True, max_size=12)
true_items = st.sets(st.sampled_from(ITEMS), min_size=1)


@given(lists_of_items, true_items)
@settings(max_examples=60, deadline=None)
def test_accuracy_lies_between_zero_and_one(shown: list[str], true: set[str]) -> None:
    found = score({"ann": shown}, {"ann": sorted(true)})
    for name in ("ndcg_at_10", "recall_at_10", "hit_rate_at_10", "mrr_at_10"):
        assert 0 <= found[name] <= 1 + 1e-12


@given(lists_of_items, true_items, st.permutations(ITEMS))
@settings(max_examples=60, deadline=None)
def test_renaming_the_items_changes_nothing(shown: list[str], true: set[str], names: list[str]) -> None:
    to = dict(zip(ITEMS, names, strict=True))
    renamed = score({"ann": [to[i] for i in shown]}, {"ann": [to[i] for i in true]})
    assert renamed == pytest.approx(score({"ann": shown}, {"ann": sorted(true)}))


@given(lists_of_items.filter(lambda shown: len(shown) >= 2), true_items, st.data())
@settings(max_examples=60, deadline=None)
def test_moving_a_true_item_up_never_lowers_ndcg(shown: list[str], true: set[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(shown) - 1))
    swapped = [*shown[: at - 1], shown[at], shown[at - 1], *shown[at + 1 :]]
    if shown[at] in true:
        before, after = (score({"ann": s}, {"ann": sorted(true)})["ndcg_at_10"] for s in (shown, swapped))
        assert after >= before - 1e-12


@given(st.permutations([("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "c"), ("cy", "d")]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_truth_does_not_matter(rows: list[tuple[str, str]]) -> None:
    true = pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")
    shown = rankings_frame({"ann": ["a"], "bob": ["x", "c"], "cy": ["y"]})
    frame = per_user(shown, true, NOBODY)
    assert frame["user_id"].to_list() == ["ann", "bob", "cy"]
    assert frame["ndcg_at_10"].to_list() == pytest.approx([1 / (1 + SECOND), SECOND / (1 + SECOND), 0])
