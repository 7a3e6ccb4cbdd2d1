"""Retrieval sources on tables that a person can work out."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys_assets.recommender.content import category_columns, fit_content
from recsys_assets.recommender.events import EmptyCatalogueError, encode
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.latent import fit_als, fit_ease
from recsys_assets.recommender.neighbours import fit_neighbours
from recsys_assets.recommender.popularity import counts_in_windows, decayed_counts, fitting_half_life
from recsys_assets_tests.recommender.world import AS_OF, SETTINGS, START, events, interactions, items

AT = START + timedelta(days=10)


def encoded(*rows: tuple[str, str, float]):
    return encode(events(*rows), None, as_of=AT, lookback_days=365)


def test_events_at_or_after_the_cut_and_before_the_lookback_are_not_read():
    table = events(("u", "old", 0), ("u", "in", 5), ("u", "at_the_cut", 10), ("u", "later", 11))
    assert encode(table, None, as_of=AT, lookback_days=6).item_ids == ("in",)


def test_a_repeated_event_counts_once_and_with_its_newest_time():
    pairs = encoded(("u", "a", 1), ("u", "b", 2), ("u", "a", 3)).distinct()
    assert [pairs.item_ids[c] for c in pairs.items] == ["b", "a"]
    assert pairs.times[1] == (START + timedelta(days=3)).timestamp()


def test_only_the_newest_events_of_a_user_are_kept():
    kept = encoded(("u", "a", 1), ("v", "a", 2), ("u", "b", 3), ("u", "c", 4)).newest(2)
    assert [(kept.user_ids[u], kept.item_ids[i]) for u, i in zip(kept.users, kept.items, strict=True)] == [
        ("v", "a"),
        ("u", "b"),
        ("u", "c"),
    ]


def test_windows_count_events_from_their_start_to_just_before_the_moment():
    made = encoded(("u", "a", 9), ("v", "a", 6.5), ("u", "b", 8.9))
    assert counts_in_windows(made, AT.timestamp(), (1.0, 4.0)).tolist() == [[1, 0], [2, 1]]


def test_a_decayed_count_halves_with_every_half_life():
    made = encoded(("u", "a", 10 - 1e-9), ("v", "a", 8), ("u", "b", 6))
    assert decayed_counts(made, AT.timestamp(), 2.0) == pytest.approx([1.5, 0.25])


def test_the_half_life_is_short_where_only_fresh_items_are_met_and_long_where_taste_is_steady():
    news = encoded(*[(f"u{n}", f"story{n // 20}", n / 10) for n in range(100)])
    steady = encoded(*[(f"u{n}", f"misc{n}" if n % 10 == 9 else "hit", n / 10) for n in range(100)])
    short, long = (fitting_half_life(e, AT.timestamp(), horizon_days=1, top=1) for e in (news, steady))
    assert short < long


def test_a_neighbour_met_lately_outweighs_one_met_as_often_long_ago():
    made = encoded(("u", "x", 1), ("u", "old", 1), ("v", "x", 9), ("v", "new", 9), ("w", "old", 1), ("w", "new", 9))
    x, old, new = (made.item_ids.index(name) for name in ("x", "old", "new"))
    steady = fit_neighbours(made, AT.timestamp(), half_life_days=None)
    fresh = fit_neighbours(made, AT.timestamp(), half_life_days=2.0)
    one = np.ones(1, dtype=np.float32)
    assert np.diff(steady.scores(np.array([x]), one, 3)[[old, new]]) == pytest.approx([0.0])
    assert fresh.scores(np.array([x]), one, 3)[new] == pytest.approx(
        fresh.scores(np.array([x]), one, 3)[old] * 2 ** (8 / 2), rel=1e-5
    )


def test_a_neighbour_weight_is_the_shared_users_over_their_history_length_and_the_damped_norm():
    made = encoded(("u", "a", 1), ("u", "b", 2))
    lists = fit_neighbours(made, AT.timestamp(), half_life_days=None, shrink=0.0, target_power=0.0, length_power=1.0)
    # One shared user with a history of two: 1/2, over the square root of the one event with a.
    assert lists.items.tolist() == [[1], [0]]
    assert lists.weights.tolist() == [[0.5], [0.5]]


def test_ease_is_the_closed_form():
    made = encoded(("u", "a", 1), ("u", "b", 2), ("v", "a", 1), ("w", "b", 1), ("w", "c", 1))
    gram = np.array([[2.0, 1, 0], [1, 2, 1], [0, 1, 1]]) + 0.5 * np.eye(3)
    inverse = np.linalg.inv(gram)
    expected = np.eye(3) - inverse / np.diag(inverse)
    assert fit_ease(made, regularization=0.5).weights == pytest.approx(expected, abs=1e-6)


def test_als_folds_a_history_in_and_finds_the_other_item_of_the_pair():
    pairs = [(f"u{n}", f"{'ab' if n % 2 else 'cd'}"[side], side + 1.0) for n in range(20) for side in (0, 1)]
    model = fit_als(encoded(*pairs), seed=1, factors=2, regularization=0.1)
    scores = model.scores(np.array([0]), np.ones(1, dtype=np.float32))
    assert scores[1] > max(scores[2], scores[3])


def test_content_is_a_cosine_and_knows_items_that_nobody_has_met():
    table = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "genres": [["x", "y"], ["x"], ["z"], None]})
    content = fit_content(table, ("a", "b", "c", "d", "unlisted"))
    scores = content.scores(np.array([1]), np.ones(1, dtype=np.float32))
    assert scores[1] == pytest.approx(1.0)
    assert 0 < scores[0] < 1
    assert scores[2:].tolist() == [0.0, 0.0, 0.0]


def test_a_title_is_no_category():
    table = pl.DataFrame({"item_id": list("abcd"), "title": list("wxyz"), "genre": ["p", "p", "q", "q"]})
    assert category_columns(table, "item_id") == ["genre"]


def test_an_empty_catalogue_is_a_clear_error():
    with pytest.raises(EmptyCatalogueError, match="no interaction before 2024-02-01"):
        CandidateIndex.build(events(), None, as_of=AS_OF, settings=SETTINGS)


def test_an_index_of_an_item_table_alone_can_be_built():
    table = pl.DataFrame({"item_id": ["a", "b"]})
    assert CandidateIndex.build(events(), table, as_of=AS_OF, settings=SETTINGS).item_ids == ("a", "b")


def test_an_index_comes_back_from_disk_as_it_was(tmp_path):
    made = CandidateIndex.build(events(("u", "a", 1), ("u", "ü", 2)), None, as_of=AS_OF, settings=SETTINGS)
    made.save(tmp_path)
    back = CandidateIndex.load(tmp_path)
    assert (back.item_ids, back.as_of, back.half_life_days) == (made.item_ids, made.as_of, made.half_life_days)
    for name, array in made._arrays().items():
        assert np.array_equal(back._arrays()[name], array, equal_nan=True), name


def test_a_long_history_is_remembered_in_full_beyond_the_recent_items():
    rows = [("long", f"i{n:03}", n / 20) for n in range(120)] + [("short", "i000", 1)]
    made = CandidateIndex.build(events(*rows), None, as_of=AS_OF, settings=SETTINGS)
    assert len(made.seen_before("long")) == 120
    assert len(made.seen_before("short")) == len(made.seen_before("stranger")) == 0


@pytest.mark.parametrize("kind", ["ease", "als"])
def test_scores_towards_a_few_items_are_those_of_the_whole_catalogue(kind):
    many = encode(interactions(), items(), as_of=AS_OF, lookback_days=365)
    model = fit_als(many, seed=1, factors=4) if kind == "als" else fit_ease(many)
    history, weights = np.array([3, 1, 40], np.int32), np.array([0.2, 1.0, 0.5], np.float32)
    few = np.array([0, 7, 40, 61], np.int32)
    assert np.array_equal(model.towards(history, weights, few), model.scores(history, weights)[few])


def test_als_learns_from_the_users_met_last_and_an_item_that_only_others_met_scores_zero(monkeypatch):
    table = events(("old", "a", 1), ("old", "b", 1), ("ann", "c", 5), ("ann", "d", 5), ("bob", "c", 6), ("bob", "d", 6))
    many = encode(table, None, as_of=AS_OF, lookback_days=365)
    assert set(many.of_newest_users(2).items) == {2, 3}
    assert many.of_newest_users(3) is many
    monkeypatch.setattr("recsys_assets.recommender.latent.MAX_ALS_USERS", 2)
    scores = fit_als(many, seed=1, factors=2).scores(np.array([2], np.int32), np.ones(1, np.float32))
    assert scores[0] == scores[1] == 0 < scores[3]
