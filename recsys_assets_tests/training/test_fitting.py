"""Which rows a booster learns from. Not here: the ranker, or what becomes of the model."""

from datetime import UTC, datetime

import polars as pl

from recsys_assets.training.fitting import thinned

CUT = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "user_id": ["u"] * 6 + ["v"] * 3,
        "item_id": [f"i{n}" for n in range(9)],
        "cut": [CUT] * 9,
        "label": [1, 1, 0, 0, 0, 0, 1, 0, 0],
    }
)


def test_every_positive_stays_and_of_each_list_as_many_others_as_asked() -> None:
    kept = thinned(ROWS, 2, seed=7)
    assert kept.group_by("user_id", "label").len().sort("user_id", "label").rows() == [
        ("u", 0, 2),
        ("u", 1, 2),
        ("v", 0, 2),
        ("v", 1, 1),
    ]


def test_another_seed_draws_other_rows_and_the_same_seed_the_same() -> None:
    drawn = [tuple(thinned(ROWS, 1, seed=seed)["item_id"]) for seed in range(20)]
    assert len(set(drawn)) > 1
    assert drawn[3] == tuple(thinned(ROWS, 1, seed=3)["item_id"])


def test_without_a_limit_every_row_stays() -> None:
    assert thinned(ROWS, None, seed=7).equals(ROWS)
    assert thinned(ROWS, 100, seed=7).equals(ROWS)
