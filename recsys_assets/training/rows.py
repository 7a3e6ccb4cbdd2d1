"""The training rows of all cuts out of pinned tables.

Here: one frame over many cuts. Not here: the rows of one cut (the recommender makes them), reading, or judging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.cuts import Cuts


def build_rows(sources: Mapping[str, Any], cuts: Cuts, *, settings: TrainingSettings) -> pl.DataFrame:
    """Rows of every cut, oldest cut first; a cut before the first event has none."""
    interactions: pl.DataFrame = sources["interactions"]
    first = interactions["event_time"].min()
    frames = [
        rows_at_cut(**sources, cut=cut, settings=settings)
        for cut in sorted(cuts.all)
        if first is not None and first < cut  # type: ignore[operator]
    ]
    return pl.concat(frames) if frames else rows_at_cut(**sources, cut=cuts.as_of, settings=settings)
