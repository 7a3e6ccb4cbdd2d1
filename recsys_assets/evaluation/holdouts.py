"""The holdout bundles of two versions and the events they are judged on, read from disk.

Here: finding and verifying what an evaluation needs. Not here: scoring it, or any verdict.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from recsys_assets.columns import ITEM
from recsys_assets.evaluation.evaluate import Evaluation, Reference, evaluate
from recsys_assets.evaluation.splits import split
from recsys_assets.recommender.baselines import Baseline, als, ease, item_knn_decayed, recent_popularity
from recsys_assets.recommender.bundle import BundleError, check_bundle
from recsys_assets.recommender.recommender import Recommender, SchemaMismatchError
from recsys_assets.records import ModelVersion
from recsys_assets.settings import GateSettings
from recsys_assets.signing import BundleRefused, verify_bundle


def baselines(popularity_window_days: float) -> dict[str, Baseline]:
    """The models that stand beside every evaluation; the first is the floor."""
    return {
        "recent_popularity": recent_popularity(popularity_window_days),
        "item_knn_decayed": item_knn_decayed(window_days=popularity_window_days),
        "ease": ease(),
        "als": als(),
    }


def load_holdout(folder: Path, version: str, public_key: Path) -> Recommender:
    """The holdout model of one version; BundleError where it is absent, not the signed one, or another version's."""
    if not folder.is_dir():
        raise BundleError(f"{folder}: there is no holdout of version {version}")
    try:
        verify_bundle(folder, public_key)
    except BundleRefused as refused:
        raise BundleError(f"{type(refused).__name__}: {refused}") from refused
    manifest = check_bundle(folder)
    if manifest.version != version:
        raise BundleError(f"{folder}: holds version {manifest.version}, not {version}")
    return Recommender.load(folder)


def load_champion(
    holdouts: Path, champion: ModelVersion | None, public_key: Path
) -> tuple[Recommender | None, Reference]:
    """The champion's holdout; one that cannot be read is a problem to report, not a missing champion."""
    if champion is None:
        return None, Reference()
    try:
        ours = load_holdout(holdouts / champion.version, champion.version, public_key)
    except (BundleError, SchemaMismatchError) as broken:
        problem = f"champion {champion.version} cannot be compared with: {broken}"
        return None, Reference(champion.version, problem)
    return ours, Reference(champion.version)


def evaluate_version(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    *,
    interactions: pl.DataFrame,
    holdouts: Path,
    public_key: Path,
    gate: GateSettings,
) -> Evaluation:
    """Evaluate the challenger's holdout on the last `test_days` before its `as_of`."""
    cut = challenger.as_of - timedelta(days=gate.test_days)
    holdout = split(interactions, cut=cut, as_of=challenger.as_of, max_users=gate.max_test_users)
    ours = load_holdout(holdouts / challenger.version, challenger.version, public_key)
    theirs, reference = load_champion(holdouts, champion, public_key)
    return evaluate(
        holdout,
        model_version=challenger.version,
        challenger=ours,
        champion=theirs,
        reference=reference,
        baselines=baselines(gate.popularity_window_days),
        catalogue=holdout.past[ITEM].n_unique(),
    )
