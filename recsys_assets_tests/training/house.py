"""A home folder with the five source tables, and the training room run over it with real parts.

Here: data and runs. Not here: any test.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from recsys_assets.columns import EXPOSURE_ROWS, FEEDBACK_ROWS, INTERACTIONS
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.resources.tracking import TrackingResource
from recsys_assets.settings import GateSettings, Settings, TrainingSettings
from recsys_assets.training.assets import SOURCES, build_assets
from recsys_assets_tests.features.rows import user_feature_rows

START, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 42
AS_OF = START + timedelta(days=DAYS)
NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
TRAINING = TrainingSettings(
    candidates_per_source=8, cuts=2, label_days=5, num_boost_round=8, min_data_in_leaf=2, num_leaves=7, min_rows=100
)
GATE = GateSettings(test_days=5)
ROOM = ("training_rows", "candidate_index", "ranker_model")


@cache
def interactions() -> pl.DataFrame:
    """40 users, six weeks, an event every second day: each takes new items of its own taste, the popular ones first."""
    rng = np.random.default_rng(5)
    popularity = 1 / np.arange(3, 63)
    rows = []
    for user in range(40):
        taken = rng.choice(60, size=DAYS // 2, replace=False, p=popularity / popularity.sum()) + 60 * (user % 2)
        for place, item in enumerate(taken):
            when = START + timedelta(days=2 * place + user % 2, hours=user % 24)
            rows.append((f"u{user:02}", f"i{item:03}", when))
    full = [(user, item, time, time.date(), None, None) for user, item, time in rows]
    return pl.DataFrame(full, schema=INTERACTIONS, orient="row")


def days() -> list[date]:
    return sorted(interactions()["day"].unique().to_list())


@cache
def sources() -> dict[str, Any]:
    """The frames as the upstream rooms write them."""
    from recsys_assets.settings import FeatureSettings

    return {
        "interactions": interactions(),
        "items": interactions().select("item_id").unique().sort("item_id"),
        "users": interactions().select("user_id").unique().sort("user_id"),
        "user_features": user_feature_rows(interactions(), days(), FeatureSettings()),
        "item_features": item_feature_rows(interactions(), days(), FeatureSettings()),
    }


def shown(request: str, *items: str, at: datetime = NOON, **change: Any) -> dict[str, Any]:
    row = {"request_id": request, "served_at": at, "visitor_id": "v", "user_id": "u", "model_version": "2"}
    row |= {"variant": "canary", "rung": "full", "items": list(items), "latency_ms": 1.0, "flags": []}
    row |= {"scores": [1.0 / (n + 1) for n in range(len(items))], "day": at.date(), "rolled_back": False}
    return row | change


def said(event: str, request: str, item: str, *, at: datetime = NOON, kind: str = "click") -> dict[str, Any]:
    row = {"event_id": event, "request_id": request, "item_id": item, "event_type": kind}
    return row | {"received_at": at, "day": at.date()}


class House:
    """One home folder and one Dagster instance over it."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings.model_copy(update={"training": TRAINING, "gate": GATE})
        self.home: Path = settings.home
        self.instance = instance
        self.tables = TablesResource(root=str(self.home / "tables"))
        self.registry = ModelRegistryResource(home=str(self.home), model_name=settings.model_name)
        self.tracking = TrackingResource(home=str(self.home), experiment=settings.model_name)

    def fill(self) -> "House":
        for name, frame in sources().items():
            self.tables.overwrite(name, frame)
        return self

    def report(self, answers: list[dict[str, Any]], clicks: list[dict[str, Any]]) -> "House":
        """What was shown and reported, as it is collected."""
        self.tables.overwrite("exposures", pl.DataFrame(answers, schema=EXPOSURE_ROWS))
        self.tables.overwrite("feedback", pl.DataFrame(clicks, schema=FEEDBACK_ROWS))
        return self

    def run(self, *names: str, config: dict[str, Any] | None = None, **changes: Any) -> dg.ExecuteInProcessResult:
        """Materialize these assets; `changes` replace parts of the training settings."""
        training = self.settings.training.model_copy(update=changes)
        assets = build_assets(self.settings.model_copy(update={"training": training}))
        return dg.materialize(
            [*assets, *(dg.AssetSpec(name) for name in SOURCES)],
            selection=list(names),
            instance=self.instance,
            resources={"tables": self.tables, "registry": self.registry, "tracking": self.tracking},
            run_config={"ops": {name: {"config": values} for name, values in (config or {}).items()}},
            raise_on_error=False,
        )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    """What the failed step told."""
    [event] = [e for e in result.all_events if e.is_step_failure and e.step_key == step]
    data: Any = event.event_specific_data
    return str(data.user_failure_data.description if data.user_failure_data else data.error.to_string())
