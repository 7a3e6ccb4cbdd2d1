"""One MLflow run around one asset's work, over dagster-mlflow's settings: opened, tagged, and always ended.

Here: the run's life and what is logged to it. Not here: model versions, which are in the registry.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import dagster as dg

from recsys_assets.resources.registry import ARTIFACT_PATH, RUN_TAG, mlflow_client, mlflow_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

ASSET_TAG = "dagster.asset_key"


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run. Metric names must not carry `@`: MLflow refuses it."""

    run_id: str
    client: MlflowClient

    def log_params(self, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        self._metrics({name: [(0, value)] for name, value in metrics.items()})

    def log_points(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """One metric over steps, such as the rounds of boosting: a chart in MLflow, its last value the run's."""
        self._metrics({name: points})

    def log_tables(self, versions: Mapping[str, int], root: str) -> None:
        """The pinned Delta versions as the run's dataset inputs."""
        from mlflow.entities import Dataset, DatasetInput

        self.client.log_inputs(
            self.run_id,
            datasets=[
                DatasetInput(
                    Dataset(name=name, digest=str(version), source_type="delta", source=f"{root.rstrip('/')}/{name}")
                )
                for name, version in sorted(versions.items())
            ],
        )

    def log_bundle(self, bundle: Path, *, features: Sequence[str], digest: str) -> None:
        """The bundle as an artifact, with an MLmodel file beside it.

        MLflow's UI reads a version's schema from the file `MLmodel` of its artifacts and from nowhere else. Its only
        flavour is a name of our own, which no loader of MLflow takes: nothing here can be unpickled.
        """
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        inputs = Schema([ColSpec(DataType.float, name) for name in features])
        outputs = Schema([ColSpec(DataType.double, "score")])
        model = Model(artifact_path=ARTIFACT_PATH, run_id=self.run_id, signature=ModelSignature(inputs, outputs))
        model.add_flavor("recsys_assets_bundle", path="bundle", digest=digest)
        with TemporaryDirectory() as folder:
            model.save(str(Path(folder) / "MLmodel"))
            self.client.log_artifacts(self.run_id, folder, ARTIFACT_PATH)
        self.client.log_artifacts(self.run_id, str(bundle), f"{ARTIFACT_PATH}/bundle")

    def tag(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def _metrics(self, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()  # type: ignore[no-untyped-call]
        rows = [Metric(name, value, now, step) for name, points in series.items() for step, value in points]
        for first in range(0, len(rows), 1_000):  # MLflow takes at most 1,000 metrics at once.
            self.client.log_batch(self.run_id, metrics=rows[first : first + 1_000])


def attempt_of(context: dg.AssetExecutionContext) -> str:
    """The Dagster run that was first asked for: the same for a run and for its re-executions after a failure."""
    return context.run.root_run_id or context.run.run_id


class TrackingResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens MLflow runs. `tracking_uri` empty means SQLite below `home`, artifacts beside it."""

    home: str
    experiment: str
    tracking_uri: str = ""

    @contextmanager
    def run(self, context: dg.AssetExecutionContext) -> Iterator[TrackedRun]:
        """A run for the asset that is being materialized. It ends FINISHED, or FAILED when the body raises.

        dagster-mlflow leaves its run RUNNING in asset jobs, so the end is written here, through the client. A run
        that an earlier, killed attempt of the same step left open is ended as KILLED first.
        """
        from mlflow import end_run

        asset = context.asset_key.to_user_string()
        client = mlflow_client(mlflow_uri(self.home, self.tracking_uri))
        experiment_id = self._experiment_id(client)
        tags = {RUN_TAG: attempt_of(context), ASSET_TAG: asset}
        _end_leftovers(client, experiment_id, tags)
        run_id = client.create_run(experiment_id, tags=tags).info.run_id
        status = "FAILED"
        try:
            with self._active(context, run_id, f"{asset}-{context.run.run_id[:8]}"):
                yield TrackedRun(run_id, client)
            status = "FINISHED"
        finally:
            end_run(status)
            client.set_terminated(run_id, status)

    @contextmanager
    def _active(self, context: dg.AssetExecutionContext, run_id: str, run_name: str) -> Iterator[None]:
        """Make the run MLflow's active one through dagster-mlflow's own resource, so that autologging lands in it."""
        config = {
            "experiment_name": self.experiment,
            "mlflow_tracking_uri": mlflow_uri(self.home, self.tracking_uri),
            "mlflow_run_id": run_id,
            "env": {},
            "extra_tags": {"mlflow.runName": run_name},
        }
        with ExitStack() as stack:
            with warnings.catch_warnings():
                # dagster-mlflow is beta, and in this version asks Dagster for the run by names that are deprecated.
                warnings.simplefilter("ignore", dg.BetaWarning)
                warnings.filterwarnings("ignore", "InitResourceContext", DeprecationWarning)
                from dagster_mlflow import mlflow_tracking

                stack.enter_context(
                    dg.build_resources(
                        {"mlflow": mlflow_tracking},
                        resource_config={"mlflow": {"config": config}},
                        dagster_run=context.run,
                        instance=context.instance,
                        # Of the step: what it says stands in the run's log, as loud as the run's own lines.
                        log_manager=context.log,
                    )
                )
            yield

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        # A server chooses where artifacts go; beside a local database they would land in the working folder.
        local = None if self.tracking_uri else (Path(self.home) / "mlflow" / "artifacts").as_uri()
        try:
            return str(client.create_experiment(self.experiment, artifact_location=local))
        except MlflowException as refused:
            made = client.get_experiment_by_name(self.experiment)
            if refused.error_code != "RESOURCE_ALREADY_EXISTS" or made is None:
                raise
            return str(made.experiment_id)  # another run was faster


def _end_leftovers(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> None:
    of_this_step = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    for run in client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and {of_this_step}"):
        client.set_terminated(run.info.run_id, "KILLED")
