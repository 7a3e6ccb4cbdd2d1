"""A home folder with events, real MLflow and real fitted holdouts, small enough for a test.

Here: making versions to evaluate. Not here: any test.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from recsys_assets.columns import INTERACTIONS
from recsys_assets.evaluation.assets import build_assets
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.recommender.bundle import write_bundle
from recsys_assets.recommender.ranker import feature_columns, fit_ranker
from recsys_assets.recommender.recommender import Recommender, assemble
from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.records import ModelVersion
from recsys_assets.resources.registry import ModelRegistryResource, mlflow_client, mlflow_uri
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import FeatureSettings, GateSettings, Settings, TrainingSettings
from recsys_assets.signing import sign_bundle
from recsys_assets_tests.features.rows import user_feature_rows

START, DAYS = date(2024, 1, 1), 56
AS_OF = datetime(2024, 2, 26, tzinfo=UTC)
CUT = AS_OF - timedelta(days=14)
TRAINING = TrainingSettings(candidates_per_source=30, min_data_in_leaf=5, num_boost_round=15)


def events() -> pl.DataFrame:
    """Users of two tastes, 40 items each, liking the first of them most; 40 of 160 users come in the last 14 days."""
    rng, rows = np.random.default_rng(3), []
    weights = 1 / np.arange(2, 42)
    for user in range(160):
        first = 42 if user >= 120 else 0
        wanted = rng.choice(40, size=24, replace=False, p=weights / weights.sum()) + 40 * (user % 2)
        days = np.sort(rng.integers(first, DAYS, size=24))
        for item, day in zip(wanted, days, strict=True):
            at = datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=int(day), minutes=user)
            rows.append((f"u{user:03}", f"i{item:02}", at, at.date(), 4.0, "view"))
    return pl.DataFrame(rows, schema=INTERACTIONS, orient="row").sort("event_time")


def fitted(interactions: pl.DataFrame, *, spoiled: bool = False) -> Recommender:
    """A recommender that knows the events before the cut; a spoiled one has learnt to put the wrong items first."""
    past = interactions.filter(pl.col("event_time") < CUT)
    days = [START + timedelta(days=n) for n in range(DAYS - 14)]
    users, items = user_feature_rows(past, days, FeatureSettings()), item_feature_rows(past, days, FeatureSettings())
    rows = rows_at_cut(past, None, None, users, items, cut=CUT - timedelta(days=7), settings=TRAINING)
    if spoiled:
        rows = rows.with_columns(label=(1 - pl.col("label")).cast(rows.schema["label"]))
    params = {"num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1}
    booster = fit_ranker(rows, params=params, num_boost_round=15, seed=7, features=feature_columns(rows))
    return assemble([booster], past, None, None, users, items, as_of=CUT, settings=TRAINING)


class House:
    """Registers versions and materializes `evaluation_report` with what stands below it."""

    def __init__(self, settings: Settings) -> None:
        gate = GateSettings(bootstrap_samples=300, non_inferiority_margin=0.2)
        self.settings = settings.model_copy(update={"gate": gate})
        home = settings.home
        self.tables = TablesResource(root=str(home / "tables"))
        self.registry = ModelRegistryResource(home=str(home), model_name=settings.model_name)
        self.events = events()
        self.tables.overwrite("interactions", self.events)
        client = mlflow_client(mlflow_uri(str(home), ""))
        kept = (home / "mlflow" / "artifacts").as_uri()
        self.run_id = client.create_run(client.create_experiment("test", artifact_location=kept)).info.run_id

    def holdout(self, version: str) -> Path:
        return self.settings.path("holdouts", version)

    def register(self, recommender: Recommender) -> str:
        """A new version with this holdout; it becomes the challenger."""
        version = self.registry.next_version()
        folder = self.holdout(version)
        digest = write_bundle(recommender, folder, model_name=self.settings.model_name, version=version)
        sign_bundle(folder, self.settings.path("keys"))
        record = ModelVersion(
            name=self.settings.model_name,
            version=version,
            run_id=self.run_id,
            feature_service="ranker_v1",
            table_versions={"interactions": 0},
            code_version="test",
            bundle_digest=digest,
            as_of=AS_OF,
        )
        self.registry.register(folder, record, dagster_run_id=f"run-{version}")
        self.registry.set_alias("challenger", version)
        return version

    def materialize(self, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        """Run the report, and one asset below it that must only run when the gate is open."""

        @dg.asset(deps=["evaluation_report"])
        def below() -> None: ...

        resources: dict[str, Any] = {"tables": self.tables, "registry": self.registry}
        chosen = [*build_assets(self.settings), below]
        return dg.materialize(chosen, instance=instance, resources=resources, raise_on_error=False)
