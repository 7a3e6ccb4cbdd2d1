"""The search for hyper-parameters: an Optuna study over validation cuts in the order of time.

Here: the objective, the study and its stored result. Not here: the space (search_space.py), or the test period: no cut
whose labels reach into it is ever looked at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys_assets.recommender.ranker import ranker_params
from recsys_assets.settings import TrainingSettings
from recsys_assets.training.cuts import folds
from recsys_assets.training.fitting import Recipe, predict
from recsys_assets.training.quality import ndcg_at
from recsys_assets.training.search_space import SPACE, OutsideSpace, Trial, Value, validated

if TYPE_CHECKING:
    from optuna import Study


class TuningBroken(ValueError):  # noqa: N818
    """The stored result of a search cannot be used; the message names the file and the reason."""


class NothingToTune(ValueError):  # noqa: N818
    """There are not two cuts with positives, so no validation in the order of time is possible."""


class Tuned(BaseModel):
    """The result of one search. `default_value` is what the settings' own parameters reached on the same cuts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    params: dict[str, Value]
    value: float
    default_value: float
    trials: int
    as_of: datetime
    table_versions: dict[str, int]


def default_params(settings: TrainingSettings) -> dict[str, Value]:
    """A value for every axis of the space: the settings', and the ranker's own where the settings have none."""
    base: dict[str, Any] = ranker_params(settings.seed) | settings.model_dump()
    return {parameter.name: base[parameter.name] for parameter in SPACE}


def search(rows: pl.DataFrame, cuts: Sequence[datetime], *, settings: TrainingSettings, trials: int) -> Study:
    """Maximize the mean NDCG@10 of the newest cuts under a model of the older ones, the defaults first."""
    import optuna

    pairs = folds(rows, cuts, label_days=settings.label_days)
    if not pairs:
        raise NothingToTune(f"{rows.height} rows over {len(cuts)} cuts leave no cut to validate on")

    def objective(trial: Trial) -> float:
        params = {parameter.name: parameter.suggest(trial) for parameter in SPACE}
        recipe = Recipe(params, seed=settings.seed, negatives=settings.negatives_per_list)
        values = [ndcg_at(judged, predict(recipe.fit(older), judged)) or 0.0 for older, judged in pairs]
        return sum(values) / len(values)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=settings.seed))
    start = default_params(settings)
    study.enqueue_trial({parameter.name: parameter.nearest(start[parameter.name]) for parameter in SPACE})
    study.optimize(objective, n_trials=trials)
    return study


def tuned_of(study: Study, *, as_of: datetime, table_versions: dict[str, int]) -> Tuned:
    """The study's best trial beside its first one, which took the default parameters (or the space's bounds)."""
    return Tuned(
        params=study.best_trial.params,
        value=study.best_value,
        default_value=study.trials[0].value or 0.0,
        trials=len(study.trials),
        as_of=as_of,
        table_versions=dict(table_versions),
    )


def tuned_path(home: Path) -> Path:
    return home / "training" / "hyperparameters.json"


def write_tuned(home: Path, tuned: Tuned) -> Path:
    """Replace the stored result in one step."""
    path = tuned_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(tuned.model_dump(mode="json"), indent=1), encoding="utf-8")
    draft.replace(path)
    return path


def read_tuned(home: Path) -> Tuned | None:
    """The stored result, None where there was no search, TuningBroken where it cannot be trusted."""
    path = tuned_path(home)
    if not path.exists():
        return None
    try:
        tuned = Tuned.model_validate_json(path.read_text(encoding="utf-8"))
        validated(tuned.params)
    except (ValidationError, OutsideSpace) as broken:
        raise TuningBroken(f"{path}: {broken}") from broken
    return tuned
