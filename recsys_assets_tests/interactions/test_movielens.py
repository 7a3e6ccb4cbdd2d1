"""The packaged data: MovieLens-100K lands as the packaged settings expect it.

Here: the embedded data set through the real reader. Not here: any other source.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from recsys_assets.columns import INTERACTIONS
from recsys_assets.interactions.entities import read_entities
from recsys_assets.interactions.movielens import (
    land_day,
    land_days,
    land_items_users,
    read_ratings,
    write_future,
)
from recsys_assets.interactions.reader import read_interactions
from recsys_assets.settings import Settings


def test_a_hundred_thousand_ratings_stand_in_the_wheel() -> None:
    ratings = read_ratings()
    assert ratings.shape == (100_000, 4)
    assert ratings["user_id"].n_unique() == 943


def test_landed_days_are_read_by_the_packaged_settings(settings: Settings) -> None:
    paths = land_days(settings.home, [date(1997, 9, 20), date(1997, 12, 11)])
    assert [path.name for path in paths] == ["1997-09-20.parquet", "1997-12-11.parquet"]
    rows = read_interactions(settings, settings.data.interactions)
    assert (rows.height, rows.schema) == (915, INTERACTIONS)  # nobody rated on 11 December
    assert not list((settings.home / "inbox" / "interactions").glob(".*"))


def test_a_day_landed_again_has_the_same_bytes(settings: Settings) -> None:
    first = land_day(settings.home, date(1997, 9, 20)).read_bytes()
    assert land_day(settings.home, date(1997, 9, 20)).read_bytes() == first


def test_titles_and_genres_come_out_well(settings: Settings) -> None:
    land_items_users(settings.home)
    source = settings.data.items
    assert source is not None
    items = read_entities(settings.home / "inbox" / "items.parquet", source, "item_id")
    by_id = {row["item_id"]: row for row in items.rows(named=True)}
    assert items.height == 1682
    assert (by_id["265"]["title"], by_id["265"]["genres"]) == ("The Hunt for Red October", ["Action", "Thriller"])
    assert by_id["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert (by_id["267"]["title"], by_id["267"]["genres"], by_id["267"]["release_year"]) == ("Unknown", [], None)


def test_users_keep_age_gender_and_occupation(settings: Settings) -> None:
    land_items_users(settings.home)
    source = settings.data.users
    assert source is not None
    users = read_entities(settings.home / "inbox" / "users.parquet", source, "user_id")
    assert users.filter(pl.col("user_id") == "1").row(0) == ("1", 24.0, "M", "technician")


def test_the_future_begins_with_its_day(settings: Settings) -> None:
    last = date(1998, 4, 22)
    write_future(settings.home, last)
    assert settings.traffic.future is not None
    assert read_interactions(settings, settings.traffic.future)["day"].unique().to_list() == [last]
