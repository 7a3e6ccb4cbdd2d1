"""Laws of the whole recommender, over any profile."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.recommender.candidates import retrieve
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile, profile_frame, profile_of_row
from recsys_assets.recommender.recommender import Recommender, SchemaMismatchError
from recsys_assets_tests.recommender.world import AS_OF, SETTINGS, events, interactions, items, recommender, users

KNOWN = [f"i{n:02}" for n in range(62)]


@st.composite
def profiles(draw: st.DrawFn) -> UserProfile:
    recent = draw(st.lists(st.sampled_from([*KNOWN, "left-the-catalogue"]), max_size=40))
    first = AS_OF.timestamp() - 86_400 * 20
    features = draw(st.dictionaries(st.sampled_from(["age", "region_is_north", "no_such_feature"]), st.floats(0, 100)))
    return UserProfile("someone", features, recent, [first + 3_600 * n for n in range(len(recent))])


@settings(max_examples=40, deadline=None)
@given(profiles(), st.integers(1, 40))
def test_a_ranking_has_no_seen_item_no_duplicate_and_falling_scores(profile, k):
    ranking = recommender().recommend(profile, k=k)
    assert not set(ranking.items) & set(profile.recent_items)
    assert len(set(ranking.items)) == len(ranking.items) == len(ranking.scores) <= k
    assert ranking.scores == sorted(ranking.scores, reverse=True)


@settings(max_examples=20, deadline=None)
@given(st.lists(profiles(), max_size=6))
def test_many_at_once_is_the_same_as_one_by_one(several):
    model = recommender()
    assert model.recommend_many(several, k=7) == [model.recommend(p, k=7) for p in several]


@settings(max_examples=20, deadline=None)
@given(profiles())
def test_feature_rows_are_what_the_ranker_scored(profile):
    model = recommender()
    ranking = model.recommend(profile, k=5)
    if ranking.items:
        rows = model.feature_rows(profile, ranking.items)
        assert rows.dtype == np.float32
        assert rows.shape == (len(ranking.items), len(model.feature_names))
        assert model.boosters[0].predict(rows, num_threads=1).tolist() == ranking.scores


def test_a_saved_recommender_gives_identical_rankings(tmp_path):
    model = recommender(boosters=2)
    model.save(tmp_path)
    back = Recommender.load(tmp_path)
    asked = [model.profile(user) for user in model.users()]
    assert [back.profile(user) for user in back.users()] == asked
    assert back.recommend_many(asked) == model.recommend_many(asked)
    assert back.popular(3) == model.popular(3)


def test_several_rankers_are_averaged():
    model = recommender(boosters=2)
    profile = model.profile("u00")
    one, two = (
        Recommender(
            model.index, [b], items=model.maker.items, user_names=model.maker.user_names, profiles=model.profiles
        )
        for b in model.boosters
    )
    everything = model.recommend(profile, k=99)
    single = [
        dict(zip(r.items, r.scores, strict=True)) for r in (one.recommend(profile, k=99), two.recommend(profile, k=99))
    ]
    for item, score in zip(everything.items, everything.scores, strict=True):
        assert score == pytest.approx((single[0][item] + single[1][item]) / 2)


def test_taste_is_learnt():
    model = recommender()
    for user, half in (("u00", range(30)), ("u01", range(30, 60))):
        own = {f"i{n:02}" for n in half}
        profile = model.profile(user)
        unseen = own - set(profile.recent_items)
        top = model.recommend(profile, k=max(len(unseen), 1)).items
        assert len(unseen & set(top)) >= len(unseen) / 2


def test_a_user_without_history_gets_popular_items():
    model = recommender()
    ranking = model.recommend(UserProfile("stranger"), k=5)
    assert len(ranking.items) == 5
    candidates = retrieve(model.index, UserProfile("stranger"))
    assert set(ranking.items) <= {model.index.item_ids[c] for c in candidates.items}
    assert (candidates.scores[1] > 0).all()


def test_a_user_who_has_seen_everything_gets_an_empty_answer():
    profile = UserProfile("u", {}, KNOWN, [AS_OF.timestamp()] * len(KNOWN))
    assert recommender().recommend(profile).items == []


def test_popular_is_in_order_of_recent_events_and_leaves_out_what_it_is_told():
    model = recommender()
    first = model.popular(3)
    assert first.scores == sorted(first.scores, reverse=True)
    assert model.popular(2, exclude=[first.items[0], "no-such-item"]).items == first.items[1:]


def test_an_unknown_user_has_no_profile_and_a_user_without_events_has_attributes():
    model = recommender()
    assert model.profile("nobody") is None
    quiet = model.profile("u99")
    assert (quiet.recent_items, quiet.features["region_is_north"]) == ((), 1.0)


def test_it_works_without_any_attribute():
    model = recommender(attributes=False)
    assert len(model.recommend(model.profile("u00"), k=4).items) == 4
    assert not [name for name in model.feature_names if "genres" in name or "region" in name]


def test_the_default_moment_is_the_newest_event_and_never_a_clock():
    model = recommender()
    late = AS_OF + timedelta(days=3)
    profile = UserProfile("u", {}, ["i01"], [late.timestamp()])
    column = model.feature_names.index("last_event_days")
    row, same = model.feature_rows(profile, ["i02"]), model.feature_rows(profile, ["i02"], late)
    assert np.array_equal(row, same, equal_nan=True)
    assert row[0, column] - model.feature_rows(UserProfile("u"), ["i02"])[0, column] == pytest.approx(3, abs=1e-4)


def test_a_ranker_fitted_on_other_features_is_refused():
    model, other = recommender(), recommender(attributes=False)
    with pytest.raises(SchemaMismatchError, match="genres"):
        Recommender(
            model.index,
            other.boosters,
            items=model.maker.items,
            user_names=model.maker.user_names,
            profiles=model.profiles,
        )


def test_a_profile_whose_lists_do_not_pair_up_is_refused():
    with pytest.raises(ValueError, match="u1: 1 recent items and 0 times"):
        UserProfile("u1", {}, ["a"], [])


def profiles_at(rows: pl.DataFrame, at: datetime) -> list[UserProfile]:
    return [profile_of_row(row) for row in profile_frame(rows, None, at=at).iter_rows(named=True)]


def test_profiles_know_nothing_after_their_moment():
    rows = pl.DataFrame(
        {
            "user_id": ["u", "u"],
            "event_time": [AS_OF, AS_OF + timedelta(days=1)],
            "events_7d": [3, 4],
            "recent_items": [["a"], ["a", "b"]],
            "recent_times": [[1.0], [1.0, 2.0]],
        }
    )
    (profile,) = profiles_at(rows, AS_OF)
    assert (profile.recent_items, profile.features["events_7d"]) == (("a",), 3.0)
    (later,) = profiles_at(rows, AS_OF + timedelta(days=8))
    assert (later.recent_items, later.features["events_7d"]) == (("a", "b"), 0.0)


def test_the_index_does_not_change_with_events_after_its_moment():
    future = events(("u00", "i29", 40), ("new", "unheard-of", 41))
    grown = pl.concat([interactions(), future])
    before = CandidateIndex.build(interactions(), items(), as_of=AS_OF, settings=SETTINGS)
    after = CandidateIndex.build(grown, items(), as_of=AS_OF, settings=SETTINGS)
    assert before.item_ids == after.item_ids
    for name, array in before._arrays().items():
        assert np.array_equal(after._arrays()[name], array, equal_nan=True), name


def test_users_are_sorted_and_complete():
    assert recommender().users() == users()["user_id"].to_list()
