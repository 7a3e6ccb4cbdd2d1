"""Baselines on a table that a person can work out, and the laws that all of them keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.recommender.baselines import _top, als, ease, item_knn_decayed, recent_popularity
from recsys_assets_tests.recommender.world import AS_OF, events, interactions

ALL = {
    "recent popularity": recent_popularity(7),
    "decayed item-kNN": item_knn_decayed(14),
    "EASE": ease(10.0),
    "ALS": als(4),
}


@pytest.mark.parametrize("baseline", ALL.values(), ids=ALL)
def test_seen_items_duplicates_and_strangers(baseline):
    ranked = baseline.rank(interactions(), ["u00", "u01", "stranger"], 50, as_of=AS_OF)
    seen = dict(interactions().group_by("user_id").agg("item_id").iter_rows())
    for user, items in ranked.items():
        assert not set(items) & set(seen.get(user, []))
        assert len(set(items)) == len(items)
    assert len(ranked["stranger"]) == 50


def test_recent_popularity_counts_the_window_only():
    table = events(*[(f"u{n}", "old", 0) for n in range(5)], ("a", "new", 9), ("b", "new", 9), ("c", "rare", 9))
    assert recent_popularity(3).rank(table, ["x"], 3)["x"] == ["new", "rare", "old"]
    assert recent_popularity(30).rank(table, ["x"], 3)["x"] == ["old", "new", "rare"]


@pytest.mark.parametrize("name", ["decayed item-kNN", "EASE", "ALS"])
def test_personal_baselines_follow_taste(name):
    ranked = ALL[name].rank(interactions(), ["u00", "u01"], 1, as_of=AS_OF)
    assert ranked["u00"][0] < "i30"
    assert ranked["u01"][0] >= "i30"


def test_no_training_events_rank_nothing():
    assert recent_popularity().rank(events(), ["x"], 3) == {"x": []}


@given(
    scores=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=12),
    data=st.data(),
    k=st.integers(1, 12),
)
def test_the_best_few_are_the_head_of_the_full_order(scores, data, k):
    n = len(scores)
    popular = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=n, max_size=n)), np.float32)
    seen = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), np.int32)
    values = np.array(scores, np.float32)
    full = [code for code in np.lexsort((-popular, -values)) if code not in seen]
    assert _top(values, np.argsort(-popular, kind="stable"), seen, k).tolist() == full[:k]


def test_ease_on_a_large_catalogue_models_its_best_known_items_and_ranks_the_others_behind():
    table = events(("a", "x", 1), ("a", "y", 1), ("b", "x", 2), ("b", "y", 2), ("c", "x", 3), ("c", "z", 3))
    assert ease(1.0, most_items=2).rank(table, ["c"], 3) == {"c": ["y"]}
    assert ease(1.0, most_items=3).rank(table, ["c", "b"], 3) == ease(1.0).rank(table, ["c", "b"], 3)
