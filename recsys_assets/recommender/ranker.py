"""The ranker: LightGBM LambdaRank over the candidates of a user at a cut.

Here: fitting one booster, deterministically. Not here: rows, tuning, storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys_assets.columns import ITEM, USER

CUT, LABEL = "cut", "label"
KEYS = (USER, ITEM, CUT, LABEL)
SOURCE_FLAG = "from_"


class NoTrainingRowsError(ValueError):
    """There is no row, or no row with a positive label, to fit a ranker on."""


def feature_columns(rows: pl.DataFrame) -> tuple[str, ...]:
    """The feature columns of ranking rows, in order: all but the keys and the source flags."""
    return tuple(c for c in rows.columns if c not in KEYS and not c.startswith(SOURCE_FLAG))


def fit_ranker(
    rows: pl.DataFrame,
    *,
    params: Mapping[str, Any],
    num_boost_round: int,
    seed: int,
    features: tuple[str, ...] | None = None,
) -> Any:
    """A lightgbm.Booster. Groups are (cut, user); the same rows, parameters and seed give the same model."""
    import lightgbm

    if rows.is_empty() or not rows[LABEL].sum():
        raise NoTrainingRowsError(f"{rows.height} rows and no positive label among them: nothing to learn from")
    names = list(features or feature_columns(rows))
    place = rows.select(CUT, USER, ITEM).with_row_index("_place").sort(CUT, USER, ITEM)
    groups = place.group_by(CUT, USER, maintain_order=True).len()["len"].to_numpy()
    order = place["_place"]
    data = lightgbm.Dataset(
        _block(rows, names, order),
        label=rows[LABEL].gather(order).to_numpy(),
        group=groups,
        feature_name=names,
        free_raw_data=True,
    )
    return lightgbm.train(ranker_params(seed) | dict(params), data, num_boost_round=num_boost_round)


def _block(rows: pl.DataFrame, names: Sequence[str], order: pl.Series) -> npt.NDArray[np.float32]:
    """The features in this order: one copy, made column by column, as rows may take up most of the memory."""
    block = np.empty((rows.height, len(names)), dtype=np.float32)
    for place, name in enumerate(names):
        block[:, place] = rows[name].gather(order).to_numpy()
    return block


def ranker_params(seed: int) -> dict[str, Any]:
    """What does not change from run to run; `params` of fit_ranker override it."""
    return {
        "objective": "lambdarank",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 200,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "lambdarank_truncation_level": 20,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "verbosity": -1,
    }
