"""A poisoned day: what a broken exporter might land, made from the day's real rows.

Here: the four wounds. Not here: how they are found (interactions/contract.py).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

FUTURE_SECONDS = 400 * 86_400


def poison(day_file: Path) -> list[str]:
    """Rewrite a landed day file with a null, a future time, duplicates and a shifted column; say what was done.

    Rows are numbered from 1 as in the file. Its columns are user_id, item_id, timestamp, rating.
    """
    rows = pl.read_parquet(day_file)
    if rows.height < 8:
        raise ValueError(f"{day_file}: only {rows.height} rows, too few to poison")
    wounded = rows.with_row_index("row", offset=1).with_columns(
        user_id=pl.when(pl.col("row") == 2).then(None).otherwise(pl.col("user_id")),
        timestamp=pl.when(pl.col("row") == 3).then(pl.col("timestamp") + FUTURE_SECONDS).otherwise(pl.col("timestamp")),
        # The exporter slipped by one column from here on: the rating holds what was the item.
        rating=pl.when(pl.col("row") >= rows.height - 2)
        .then(pl.col("item_id").cast(pl.Float64) + 100)
        .otherwise(pl.col("rating").cast(pl.Float64)),
    )
    poisoned = pl.concat([wounded.drop("row"), wounded.drop("row").slice(4, rows.height // 4)])
    aside = day_file.with_suffix(".new")
    poisoned.write_parquet(aside)
    aside.replace(day_file)
    return [
        "row 2 has no user_id",
        "row 3 lies in the future",
        "a quarter of the rows twice",
        "ratings shifted by a column",
    ]
