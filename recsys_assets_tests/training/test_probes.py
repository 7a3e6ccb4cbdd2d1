"""Every probe passes, fails for each of its reasons, and has no data. Not here: gathering the evidence."""

from dataclasses import replace
from typing import Any

import pytest

from recsys_assets.records import Outcome
from recsys_assets.training.probes import (
    LeakEvidence,
    RowCounts,
    ScoreEvidence,
    judge_leaks,
    judge_row_counts,
    judge_scores,
)

CLEAN = LeakEvidence(rebuilt=10, differing={}, recounted=5, knowing_more=0, aucs={"age_days": 0.7})
SOUND = ScoreEvidence(scored=10, not_finite=0, distinct=8, flat_lists_share=0.0)


def test_rows_that_nothing_speaks_against_pass() -> None:
    verdict = judge_leaks(CLEAN, version="training_rows@3", max_auc=0.98)
    assert (verdict.outcome, verdict.model_version) == (Outcome.PASS, "training_rows@3")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"differing": {"popularity_7d": 3}}, "change when the future is taken away: popularity_7d"),
        ({"knowing_more": 2}, "2 of 5 feature rows count more events"),
        ({"aucs": {"age_days": 0.7, "label_copy": 1.0}}, "label_copy alone ranks with AUC 1.000 > 0.98"),
    ],
)
def test_each_kind_of_leak_fails_by_name(change: dict[str, Any], told: str) -> None:
    verdict = judge_leaks(replace(CLEAN, **change), version="v", max_auc=0.98)
    assert verdict.outcome is Outcome.FAIL
    assert told in verdict.reason


@pytest.mark.parametrize("change", [{"rebuilt": 0}, {"recounted": 0}, {"aucs": {}}])
def test_a_leak_probe_without_evidence_is_inconclusive(change: dict[str, Any]) -> None:
    assert judge_leaks(replace(CLEAN, **change), version="v", max_auc=0.98).outcome is Outcome.INCONCLUSIVE


def test_a_found_leak_fails_even_where_the_rest_is_missing() -> None:
    evidence = replace(CLEAN, differing={"x": 1}, recounted=0)
    assert judge_leaks(evidence, version="v", max_auc=0.98).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("holdout", "outcome"),
    [
        (RowCounts(100, 10, 5), Outcome.PASS),
        (RowCounts(99, 10, 5), Outcome.FAIL),
        (RowCounts(100, 0, 5), Outcome.FAIL),
        (RowCounts(100, 100, 5), Outcome.FAIL),
    ],
)
def test_each_fit_needs_rows_of_both_classes(holdout: RowCounts, outcome: Outcome) -> None:
    counts = {"holdout": holdout, "release": RowCounts(100, 10, 5)}
    assert judge_row_counts(counts, version="v", min_rows=100).outcome is outcome


@pytest.mark.parametrize("counts", [{}, {"holdout": RowCounts(0, 0, 0), "release": RowCounts(0, 0, 0)}])
def test_no_rows_at_all_are_inconclusive(counts: dict[str, RowCounts]) -> None:
    assert judge_row_counts(counts, version="v", min_rows=1).outcome is Outcome.INCONCLUSIVE


def test_scores_that_tell_items_apart_pass() -> None:
    assert judge_scores({"holdout": SOUND, "release": SOUND}, version="1").passed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"not_finite": 1}, "1 of 10 scores are NaN or infinite"),
        ({"distinct": 1}, "all 10 scores are the same"),
        ({"flat_lists_share": 0.6}, "60% of the lists"),
    ],
)
def test_degenerate_scores_of_either_fit_fail(change: dict[str, Any], told: str) -> None:
    verdict = judge_scores({"holdout": SOUND, "release": replace(SOUND, **change)}, version="1")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith("release model")
    assert told in verdict.reason


@pytest.mark.parametrize("fits", [{}, {"holdout": replace(SOUND, scored=0), "release": SOUND}])
def test_a_fit_without_scored_rows_is_inconclusive(fits: dict[str, ScoreEvidence]) -> None:
    assert judge_scores(fits, version="1").outcome is Outcome.INCONCLUSIVE
