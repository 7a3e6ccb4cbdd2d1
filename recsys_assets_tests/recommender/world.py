"""A small world with taste: half of the users watch the first half of the catalogue, the others the second.

Here: literal events and a fitted recommender for this folder's tests. Not here: any test.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import polars as pl

from recsys_assets.columns import INTERACTIONS
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.recommender.ranker import fit_ranker
from recsys_assets.recommender.recommender import Recommender, assemble
from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.settings import FeatureSettings, TrainingSettings
from recsys_assets_tests.features.rows import user_feature_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = datetime(2024, 2, 1, tzinfo=UTC)
SETTINGS = TrainingSettings(candidates_per_source=8, min_data_in_leaf=2)
PARAMS = {"num_leaves": 7, "min_data_in_leaf": 2, "num_threads": 1}


def events(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """Interactions out of (user, item, days after START)."""
    times = [START + timedelta(days=days) for _, _, days in rows]
    full = [(u, i, t, t.date(), None, None) for (u, i, _), t in zip(rows, times, strict=True)]
    return pl.DataFrame(full, schema=INTERACTIONS, orient="row")


@cache
def interactions() -> pl.DataFrame:
    """24 users, 60 items, one event of each user on every third day, never twice with the same item."""
    rows = [
        (f"u{user:02}", f"i{(user % 2) * 30 + (user * 7 + day // 3 * 11) % 30:02}", day + user / 100)
        for user in range(24)
        for day in range(31)
        if (user + day) % 3 == 0
    ]
    return events(*rows)


@cache
def items() -> pl.DataFrame:
    """Every item and two that nobody has met; one attribute of each kind, some of it missing."""
    number = list(range(62))
    return pl.DataFrame(
        {
            "item_id": [f"i{n:02}" for n in number],
            "title": [f"Title {n}" for n in number],
            "genres": [["drama"] if n < 30 else ["news", "sport: live"] for n in number],
            "length": [None if n == 3 else float(n) for n in number],
            "published": [START - timedelta(days=n) for n in number],
        }
    )


@cache
def users() -> pl.DataFrame:
    """Every user and one without events."""
    names = [f"u{n:02}" for n in range(24)] + ["u99"]
    return pl.DataFrame({"user_id": names, "region": ["north", "south"] * 12 + ["north"], "age": [30.0] * 25})


@cache
def recommender(*, attributes: bool = True, boosters: int = 1) -> Recommender:
    """Fitted on the cut a week before AS_OF, assembled as of AS_OF."""
    catalogue, people = (items(), users()) if attributes else (None, None)
    days = sorted(interactions()["day"].unique())
    user_rows = user_feature_rows(interactions(), days, FeatureSettings())
    item_rows = item_feature_rows(interactions(), days, FeatureSettings())
    tables = (interactions(), catalogue, people, user_rows, item_rows)
    rows = rows_at_cut(*tables, cut=AS_OF - timedelta(days=7), settings=SETTINGS)
    fitted = [fit_ranker(rows, params=PARAMS, num_boost_round=8, seed=seed) for seed in range(boosters)]
    return assemble(fitted, *tables, as_of=AS_OF, settings=SETTINGS)
