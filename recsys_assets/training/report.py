"""What the UI shows of a training: numbers, pictures and links as metadata of the room's assets.

Here: gathering for assets.py. Not here: drawing (plots.py), provenance, or any number of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.training.plots import curve_plot, importance_plot

if TYPE_CHECKING:
    import optuna
    import polars as pl

    from recsys_assets.recommender.index import CandidateIndex
    from recsys_assets.records import ModelVersion
    from recsys_assets.resources.registry import ModelRegistryResource
    from recsys_assets.resources.tracking import TrackedRun
    from recsys_assets.settings import Settings
    from recsys_assets.training.feedback import Learned
    from recsys_assets.training.train import Trained
    from recsys_assets.training.tuning import Tuned


def rows_metadata(rows: pl.DataFrame) -> dict[str, Any]:
    """Of the asset `training_rows`."""
    return {"dagster/row_count": rows.height, "rows_by_cut": dg.MetadataValue.md(_rows_by_cut(rows))}


def feedback_metadata(taken: Learned | None) -> dict[str, Any]:
    """Of the asset `training_rows`: how many reported events it learned from, and why not from the others."""
    if taken is None:
        return {"feedback_used": 0}
    left_out = {f"feedback_left_out_{why}": count for why, count in taken.left_out.items()}
    return {"feedback_used": taken.events.height, **left_out}


def index_metadata(release: CandidateIndex, folder: Path) -> dict[str, Any]:
    """Of the asset `candidate_index`."""
    return {
        "folder": dg.MetadataValue.path(folder),
        "items": len(release.item_ids),
        "half_life_days": release.half_life_days,
        "bytes": sum(file.stat().st_size for file in (folder / "release").iterdir()),
    }


def tuned_metadata(tuned: Tuned, study: optuna.Study, path: Path) -> dict[str, Any]:
    """Of the asset `hyperparameters`."""
    values = [(trial.number, trial.value) for trial in study.trials if trial.value is not None]
    return {
        "file": dg.MetadataValue.path(path),
        "params": dg.MetadataValue.json(tuned.params),
        "ndcg_at_10": tuned.value,
        "default_ndcg_at_10": tuned.default_value,
        "trials": dg.MetadataValue.md(curve_plot(values, x="trial", y="NDCG@10", title="Search")),
    }


def model_metadata(
    model: ModelVersion,
    trained: Trained,
    tuned: Tuned | None,
    registry: ModelRegistryResource,
    run: TrackedRun,
    settings: Settings,
) -> dict[str, Any]:
    """Of the asset `ranker_model`."""
    from recsys_assets.resources.pages import local_mlflow

    curve = curve_plot(trained.curve, x="trees", y="NDCG@10 of candidates", title="Holdout fit on cuts it has not seen")
    return {
        "model_version": model.version,
        "model": dg.MetadataValue.json(model.model_dump(mode="json")),
        "table_versions": dg.MetadataValue.json(model.table_versions),
        "mlflow_run_id": run.run_id,
        "bundle": dg.MetadataValue.path(settings.path("bundles", model.version)),
        "holdout": dg.MetadataValue.path(settings.path("holdouts", model.version)),
        "feature_importance": dg.MetadataValue.md(importance_plot(trained.importances)),
        "training_curve": dg.MetadataValue.md(curve),
        "tuned": tuned is not None,
        **({"ndcg_at_10": trained.curve[-1][1]} if trained.curve else {}),
        "mlflow": dg.MetadataValue.url(registry.page(model.version, local_ui=local_mlflow(settings))),
    }


def _rows_by_cut(rows: pl.DataFrame) -> str:
    counted = rows.group_by("cut").len("rows").sort("cut").iter_rows()
    return "\n".join(["| cut | rows |", "|---|---|", *(f"| {cut:%Y-%m-%d} | {count} |" for cut, count in counted)])
