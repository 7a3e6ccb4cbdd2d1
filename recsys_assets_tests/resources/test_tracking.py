"""An MLflow run around an asset: it ends as the asset did, and what the libraries have to say stays in the run's log.

Here: TrackingResource over a local MLflow. Not here: the registry.
"""

import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.resources.registry import mlflow_client, mlflow_uri
from recsys_assets.resources.tracking import ASSET_TAG, TrackingResource

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def tracked(home: Path, instance: dg.DagsterInstance, *, breaks: bool = False) -> dg.ExecuteInProcessResult:
    @dg.asset
    def model(context: dg.AssetExecutionContext, tracking: TrackingResource) -> None:
        with tracking.run(context) as run:
            run.log_metrics({"ndcg": 0.5})
            if breaks:
                raise ValueError("planted")

    resources = {"tracking": TrackingResource(home=str(home), experiment="test")}
    return dg.materialize([model], instance=instance, resources=resources, run_config=QUIET, raise_on_error=False)


def newest_run(home: Path) -> Any:
    client = mlflow_client(mlflow_uri(str(home), ""))
    found = client.get_experiment_by_name("test")
    assert found
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)[0]


def test_the_run_ends_as_its_asset_did(home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert tracked(home, instance).success
        finished = newest_run(home)
        assert (finished.info.status, finished.data.metrics) == ("FINISHED", {"ndcg": 0.5})
        assert finished.data.tags[ASSET_TAG] == "model"
        assert not tracked(home, instance, breaks=True).success
        assert newest_run(home).info.status == "FAILED"


def test_the_libraries_words_stand_in_the_runs_log_and_not_on_a_quiet_console(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with dg.DagsterInstance.ephemeral() as instance, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("error", dg.BetaWarning)
        result = tracked(home, instance)
        assert result.success
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("mlflow run with id" in message for message in told)
    assert "mlflow run with id" not in "".join(capfd.readouterr())
