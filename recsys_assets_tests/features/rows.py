"""A whole table of user features at once, as tests and benchmarks want it; the product writes it a few days at a time.

Here: the batches put together. Not here: how a row is counted (features/windows.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from recsys_assets.columns import DAY, USER
from recsys_assets.features.windows import user_feature_batches, user_schema
from recsys_assets.settings import FeatureSettings


def user_feature_rows(interactions: pl.DataFrame, days: Sequence[date], settings: FeatureSettings) -> pl.DataFrame:
    """Rows of every user with events on `days`. `interactions` must reach back to the first event."""
    frames = [frame for _, frame in user_feature_batches(interactions, days, settings)]
    return pl.concat([user_schema(settings).to_frame(), *frames]).sort(USER, DAY)
