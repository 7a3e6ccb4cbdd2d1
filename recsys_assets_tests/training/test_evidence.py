"""Planted leaks are seen in real rows. Not here: the verdict on them."""

from typing import Any

import polars as pl
import pytest

from recsys_assets.training.cuts import Cuts
from recsys_assets.training.evidence import count_rows, leak_evidence
from recsys_assets.training.rows import build_rows
from recsys_assets_tests.training.house import AS_OF, GATE, TRAINING, sources

CUTS = Cuts.of(AS_OF, TRAINING, GATE)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return build_rows(sources(), CUTS, settings=TRAINING)


def evidence(rows: pl.DataFrame, **changed: Any) -> Any:
    return leak_evidence(rows, sources() | changed, settings=TRAINING)


def test_honest_rows_are_the_same_without_a_future(rows: pl.DataFrame) -> None:
    found = evidence(rows)
    assert (dict(found.differing), found.knowing_more) == ({}, 0)
    assert found.rebuilt > 0
    assert found.recounted > 0
    assert 0.5 <= max(found.aucs.values()) < 0.98


def test_a_feature_that_looked_past_the_cut_is_named(rows: pl.DataFrame) -> None:
    total = sources()["interactions"].group_by("item_id").len("all_time")
    leaked = rows.join(total, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("all_time").cast(pl.Float32).fill_null(0).alias("popularity_30d")
    )
    assert "popularity_30d" in evidence(leaked.drop("all_time")).differing


def test_a_copy_of_the_label_has_auc_one(rows: pl.DataFrame) -> None:
    copied = rows.with_columns(pl.col("label").cast(pl.Float32).alias("age_days"))
    assert evidence(copied).aucs["age_days"] == 1.0


def test_feature_rows_dated_too_early_count_events_that_had_not_happened(rows: pl.DataFrame) -> None:
    early = sources()["user_features"].with_columns(pl.col("event_time") - pl.duration(days=3))
    assert evidence(rows, user_features=early).knowing_more > 0


def test_each_fit_is_counted_on_its_own_cuts(rows: pl.DataFrame) -> None:
    counts = count_rows(rows, CUTS)
    assert counts["holdout"].rows + counts["release"].rows > rows.height  # one cut is in both
    assert all(0 < count.positives < count.rows for count in counts.values())
