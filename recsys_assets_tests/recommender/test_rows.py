"""Ranking rows: labels, point in time, sampling, and equality with what serving computes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys_assets.features.windows import item_feature_rows
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.profiles import UserProfile, profile_frame, profile_of_row
from recsys_assets.recommender.ranker import NoTrainingRowsError, feature_columns, fit_ranker
from recsys_assets.recommender.recommender import assemble
from recsys_assets.recommender.rows import ranking_rows, rows_at_cut, sample_users
from recsys_assets.recommender.state import item_state
from recsys_assets.settings import FeatureSettings
from recsys_assets_tests.features.rows import user_feature_rows
from recsys_assets_tests.recommender.world import AS_OF, PARAMS, SETTINGS, events, interactions, items, users

CUT = AS_OF - timedelta(days=7)


def tables(table: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    days = sorted(table["day"].unique())
    features = FeatureSettings()
    return (table, items(), users(), user_feature_rows(table, days, features), item_feature_rows(table, days, features))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return rows_at_cut(*tables(interactions()), cut=CUT, settings=SETTINGS)


def test_a_label_is_an_event_in_the_days_after_the_cut(rows):
    window = interactions().filter(pl.col("event_time").is_between(CUT, CUT + timedelta(days=7), closed="left"))
    truth = set(window.select("user_id", "item_id").iter_rows())
    assert rows["label"].sum() > 0
    for user, item, label in rows.select("user_id", "item_id", "label").iter_rows():
        assert label == ((user, item) in truth)


def test_nothing_but_labels_depends_on_what_happens_after_the_cut(rows):
    moved = interactions().with_columns(
        pl.when((pl.col("event_time") >= CUT) & (pl.col("user_id") == "u03"))
        .then(pl.lit("i31"))
        .otherwise(pl.col("item_id"))
        .alias("item_id")
    )
    others = rows_at_cut(*tables(moved), cut=CUT, settings=SETTINGS)
    kept = rows.filter(pl.col("user_id") != "u03")
    assert others.filter(pl.col("user_id") != "u03").equals(kept)


def test_training_rows_and_serving_rows_are_equal(rows):
    table = tables(interactions())
    params = PARAMS | {"min_data_in_leaf": 1}
    model = assemble([fit_ranker(rows, params=params, num_boost_round=2, seed=1)], *table, as_of=CUT, settings=SETTINGS)
    for (user,), group in rows.group_by("user_id"):
        served = model.feature_rows(model.profile(user), group["item_id"].to_list())
        trained = group.select(feature_columns(rows)).to_numpy()
        assert np.array_equal(served, trained, equal_nan=True)


def test_every_source_is_flagged_and_no_flag_is_a_feature(rows):
    flags = [name for name in rows.columns if name.startswith("from_")]
    assert rows.select(pl.any_horizontal(flags)).to_series().all()
    assert not set(flags) & set(feature_columns(rows))


def test_users_above_the_cap_are_sampled_the_same_way_each_time():
    people = [UserProfile(f"u{n}") for n in range(50)]
    first = sample_users(people, 5, seed=3)
    assert len(first) == 5
    assert first == sample_users(people, 5, seed=3)
    assert first == sorted(first, key=people.index)
    assert sample_users(people, 50, seed=3) == people


def test_a_cut_without_events_after_it_has_no_rows_but_all_columns(rows):
    empty = rows_at_cut(*tables(interactions()), cut=AS_OF, settings=SETTINGS)
    assert empty.is_empty()
    assert empty.schema == rows.schema


def test_no_rows_and_no_positive_label_are_refused(rows):
    for useless in (rows.head(0), rows.with_columns(pl.lit(0, pl.Int8).alias("label"))):
        with pytest.raises(NoTrainingRowsError):
            fit_ranker(useless, params=PARAMS, num_boost_round=2, seed=1)


def test_the_same_rows_and_seed_give_the_same_ranker(rows):
    first, again = (
        fit_ranker(rows.sample(fraction=1, shuffle=True, seed=s), params=PARAMS, num_boost_round=4, seed=1)
        for s in (1, 2)
    )
    assert first.model_to_string() == again.model_to_string()


def test_a_user_with_no_history_before_the_cut_still_teaches():
    table = pl.concat([interactions(), events(("newcomer", "i00", 26))])
    everything = SETTINGS.model_copy(update={"candidates_per_source": 60})
    made = rows_at_cut(*tables(table), cut=CUT, settings=everything)
    mine = made.filter(pl.col("user_id") == "newcomer")
    assert mine.filter(pl.col("label") == 1)["item_id"].to_list() == ["i00"]


def test_rows_of_all_users_at_once_are_the_rows_of_each_user_alone():
    table, catalogue, _, user_rows, item_rows = tables(crowd())
    index = CandidateIndex.build(table, catalogue, as_of=CUT, settings=SETTINGS)
    profiles = [profile_of_row(row) for row in profile_frame(user_rows, None, at=CUT).iter_rows(named=True)]
    positives = table.filter(pl.col("event_time") >= CUT).select("user_id", "item_id").unique()
    state, names = item_state(item_rows, catalogue, at=CUT), tuple(profiles[0].features)

    def made(chosen: list[UserProfile]) -> pl.DataFrame:
        return ranking_rows(index, chosen, positives, state, user_names=names, at=CUT, settings=SETTINGS)

    together = made(profiles)
    assert together["user_id"].n_unique() > 20
    assert together.equals(pl.concat([made([profile]) for profile in profiles]))
    assert index.latent.kind == "als"


def crowd() -> pl.DataFrame:
    """A catalogue above the size for EASE: 80 users, 3,200 items, most of them met once."""
    rows = [
        (f"c{user:02}", f"n{item:04}", day + item / 4_000)
        for user in range(80)
        for day in range(31)
        for item in {(user * 40 + day) % 3_200, (user * 40 + day + 977) % 3_200, day, day + user % 3}
    ]
    return events(*rows)
