"""What must be true of training rows and of a fitted ranker: pure verdicts on evidence that was gathered elsewhere.

Here: verdicts. Not here: gathering (evidence.py), or Dagster. No evidence is INCONCLUSIVE, never a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recsys_assets.records import Measurement, Outcome, Verdict

DO_NOT_LEAK = "training_rows_do_not_leak"
ARE_ENOUGH = "training_rows_are_enough"
NOT_DEGENERATE = "scores_are_not_degenerate"
MAX_FLAT_LISTS = 0.5


@dataclass(frozen=True)
class LeakEvidence:
    """`rebuilt` rows were made again from tables without a future; `differing` counts their changed values by feature.

    `recounted` feature rows were compared with the events before their time; `knowing_more` of them count more events
    than there were. `aucs` is how well each feature alone tells the label.
    """

    rebuilt: int
    differing: Mapping[str, int]
    recounted: int
    knowing_more: int
    aucs: Mapping[str, float]


@dataclass(frozen=True)
class RowCounts:
    """Rows, positives and lists (user, cut) that one of the two fits gets."""

    rows: int
    positives: int
    lists: int


@dataclass(frozen=True)
class ScoreEvidence:
    """Scores of rows that the model was not fitted on, where there are such rows."""

    scored: int
    not_finite: int
    distinct: int
    flat_lists_share: float


def judge_leaks(evidence: LeakEvidence, *, version: str, max_auc: float) -> Verdict:
    """FAIL where a feature moves with the future, counts it, or alone tells the label too well."""
    worst, auc = max(evidence.aucs.items(), key=lambda pair: pair[1], default=("", 0.0))
    measured = (
        Measurement(name="rebuilt_rows", value=evidence.rebuilt, n=evidence.rebuilt),
        Measurement(name="differing_values", value=sum(evidence.differing.values()), n=evidence.rebuilt),
        Measurement(name="feature_rows_knowing_more", value=evidence.knowing_more, n=evidence.recounted),
        Measurement(name="max_single_feature_auc", value=auc or None, n=len(evidence.aucs)),
    )
    if evidence.differing:
        names = ", ".join(sorted(evidence.differing)[:5])
        return _fail(DO_NOT_LEAK, version, f"features change when the future is taken away: {names}", measured)
    if evidence.knowing_more:
        reason = f"{evidence.knowing_more} of {evidence.recounted} feature rows count more events than came before them"
        return _fail(DO_NOT_LEAK, version, reason, measured)
    if auc > max_auc:
        reason = f"feature {worst} alone ranks with AUC {auc:.3f} > {max_auc}: a leak, not a discovery"
        return _fail(DO_NOT_LEAK, version, reason, measured)
    if not (evidence.rebuilt and evidence.recounted and evidence.aucs):
        return _unknown(DO_NOT_LEAK, version, "no rows to rebuild, recount or rank: nothing was proven", measured)
    reason = f"{evidence.rebuilt} rows are the same without a future; best single feature {worst} has AUC {auc:.3f}"
    return _pass(DO_NOT_LEAK, version, reason, measured)


def judge_row_counts(counts: Mapping[str, RowCounts], *, version: str, min_rows: int) -> Verdict:
    """Each fit needs `min_rows` rows, and a positive and a negative among them."""
    measured = tuple(
        Measurement(name=f"{fit}_{name}", value=value, n=count.rows)
        for fit, count in counts.items()
        for name, value in (("rows", count.rows), ("positives", count.positives), ("lists", count.lists))
    )
    if not counts or not any(count.rows for count in counts.values()):
        return _unknown(ARE_ENOUGH, version, "there are no training rows at all", measured)
    few = [
        f"{fit} has {count.rows} rows, {min_rows} are asked" for fit, count in counts.items() if count.rows < min_rows
    ]
    one = [f"{fit} has one class only" for fit, count in counts.items() if not 0 < count.positives < count.rows]
    if few or one:
        return _fail(ARE_ENOUGH, version, "; ".join(few + one), measured)
    return _pass(ARE_ENOUGH, version, "; ".join(f"{fit}: {count.rows} rows" for fit, count in counts.items()), measured)


def judge_scores(fits: Mapping[str, ScoreEvidence], *, version: str) -> Verdict:
    """No NaN or infinity, more than one value, and most lists told apart, in every fit."""
    measured = tuple(
        Measurement(name=f"{fit}_{name}", value=value, n=seen.scored)
        for fit, seen in fits.items()
        for name, value in (("not_finite", seen.not_finite), ("flat_lists_share", seen.flat_lists_share))
    )
    if not fits or not all(seen.scored for seen in fits.values()):
        return _unknown(NOT_DEGENERATE, version, "there were no rows to score", measured)
    for fit, seen in fits.items():
        if reason := _degenerate(seen):
            return _fail(NOT_DEGENERATE, version, f"{fit} model: {reason}", measured)
    reason = "; ".join(f"{fit}: {seen.distinct} distinct scores" for fit, seen in fits.items())
    return _pass(NOT_DEGENERATE, version, reason, measured)


def _degenerate(seen: ScoreEvidence) -> str:
    if seen.not_finite:
        return f"{seen.not_finite} of {seen.scored} scores are NaN or infinite"
    if seen.distinct < 2:
        return f"all {seen.scored} scores are the same"
    if seen.flat_lists_share > MAX_FLAT_LISTS:
        return f"{seen.flat_lists_share:.0%} of the lists have one score for all their items"
    return ""


def _pass(check: str, version: str, reason: str, measured: tuple[Measurement, ...]) -> Verdict:
    return Verdict(check=check, model_version=version, outcome=Outcome.PASS, reason=reason, measurements=measured)


def _fail(check: str, version: str, reason: str, measured: tuple[Measurement, ...]) -> Verdict:
    return Verdict(check=check, model_version=version, outcome=Outcome.FAIL, reason=reason, measurements=measured)


def _unknown(check: str, version: str, reason: str, measured: tuple[Measurement, ...]) -> Verdict:
    return Verdict(
        check=check, model_version=version, outcome=Outcome.INCONCLUSIVE, reason=reason, measurements=measured
    )
