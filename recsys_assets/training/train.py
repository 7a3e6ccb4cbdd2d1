"""One training: two fits of one recipe, what can be seen of them, and the two recommenders they become.

Here: the order of the steps, on frames. Not here: reading tables, registering, or Dagster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.recommender.recommender import assemble
from recsys_assets.records import Verdict
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.cuts import Cuts, rows_of
from recsys_assets.training.evidence import score_evidence
from recsys_assets.training.fitting import Recipe, importances, training_curve
from recsys_assets.training.probes import judge_scores
from recsys_assets.training.publishing import Fitted

CODE = ("recommender", "features", "training")


class DegenerateScores(ValueError):  # noqa: N818
    """The fitted model cannot rank; its verdict says how. Nothing may be registered."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


@dataclass(frozen=True)
class Trained:
    """`curve` is (rounds, NDCG@10) of the holdout model on cuts it has not seen."""

    fitted: Fitted
    verdict: Verdict
    curve: list[tuple[int, float]]
    importances: dict[str, float]


def train(
    rows: pl.DataFrame,
    sources: Mapping[str, Any],
    indexes: Mapping[str, CandidateIndex],
    cuts: Cuts,
    recipe: Recipe,
    *,
    settings: TrainingSettings,
    attempt: str,
) -> Trained:
    """Fit both, look at their scores, and assemble; DegenerateScores where one of them cannot rank."""
    parts = {"holdout": rows_of(rows, cuts.holdout), "release": rows_of(rows, cuts.release)}
    boosters = recipe.fit_all(parts)
    unseen = rows_of(rows, cuts.unseen)
    judged = parts if unseen.is_empty() else {**parts, "holdout": unseen}
    scored = {name: score_evidence(fit, judged[name]) for name, fit in boosters.items()}
    verdict = judge_scores(scored, version=attempt)
    if not verdict.passed:
        raise DegenerateScores(verdict)
    moments = {"holdout": cuts.test_from, "release": cuts.as_of}
    made = {
        name: assemble(fit, **sources, as_of=moments[name], settings=settings, index=indexes[name])
        for name, fit in boosters.items()
    }
    return Trained(
        fitted=Fitted(holdout=made["holdout"], release=made["release"]),
        verdict=verdict,
        curve=training_curve(boosters["holdout"], unseen),
        importances=importances(boosters["release"]),
    )


def code_version() -> str:
    """The package's version and a digest of the code that decides what a model is."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for room in CODE for path in (package / room).glob("*.py")):
        digest.update(path.read_bytes())
    return f"{metadata.version('recsys-assets')}+{digest.hexdigest()[:12]}"
