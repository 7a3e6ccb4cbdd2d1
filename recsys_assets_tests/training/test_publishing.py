"""From a fitted pair to one registered version, however often it dies on the way. Not here: fitting."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.bundle_store import FolderStore, StoreUnavailable
from recsys_assets.recommender.bundle import check_bundle
from recsys_assets.recommender.recommender import Recommender
from recsys_assets.records import ModelVersion
from recsys_assets.resources.registry import ModelRegistryResource, VersionTaken, mlflow_client, mlflow_uri
from recsys_assets.resources.tracking import TrackedRun
from recsys_assets.training.publishing import Facts, Fitted, publish
from recsys_assets_tests.training.house import AS_OF, House

FACTS = Facts(attempt="run-a", feature_service="s", table_versions={"items": 1}, code_version="1", as_of=AS_OF)


class Place:
    """A folder and a model name of the test's own, in the trained house's MLflow."""

    def __init__(self, house: House, home: Path) -> None:
        self.home = home
        self.client = mlflow_client(mlflow_uri(str(house.home), ""))
        (home / "keys").symlink_to(house.home / "keys")  # the registry verifies with the house's key
        self.registry = ModelRegistryResource(home=str(house.home), model_name=f"m-{home.name.replace('_', '-')}")
        loaded = {kind: Recommender.load(house.home / kind / "1") for kind in ("holdouts", "bundles")}
        self.fitted = Fitted(holdout=loaded["holdouts"], release=loaded["bundles"])

    def run(self) -> TrackedRun:
        [experiment] = self.client.search_experiments(filter_string="name = 'recommender'")
        return TrackedRun(self.client.create_run(experiment.experiment_id).info.run_id, self.client)

    def publish(self, facts: Facts = FACTS, **other: Any) -> ModelVersion:
        return publish(self.fitted, facts, home=self.home, **({"registry": self.registry, "run": self.run()} | other))

    def folders(self) -> list[str]:
        return sorted(
            p.relative_to(self.home).as_posix()
            for p in self.home.glob("*/*")
            if p.name != ".lock" and p.parent.name != "keys"
        )


@pytest.fixture
def place(trained: tuple[House, Any], tmp_path: Path) -> Place:
    return Place(trained[0], tmp_path)


def test_a_second_attempt_of_the_same_run_finds_the_first_ones_version(place: Place) -> None:
    first = place.publish()
    assert place.publish() == first
    assert [v.version for v in place.registry.versions()] == ["1"]
    assert place.folders() == ["bundles/1", "holdouts/1"]


def test_another_run_makes_another_version_even_of_the_same_model(place: Place) -> None:
    place.publish()
    second = place.publish(Facts(**{**vars(FACTS), "attempt": "run-b"}))
    assert second.version == "2"
    assert check_bundle(place.home / "bundles" / "2").version == "2"


class DyingRun:
    """An MLflow run whose artifact store goes away in the middle of the upload."""

    run_id = "r"

    def log_bundle(self, bundle: Path, *, features: Any, digest: str) -> None:
        raise ConnectionError("the artifact store is gone")


def test_a_death_before_the_registration_leaves_no_version_and_the_retry_takes_its_number(place: Place) -> None:
    with pytest.raises(ConnectionError):
        place.publish(run=DyingRun())
    assert place.registry.versions() == []
    made = place.publish()
    assert made.version == "1"
    assert check_bundle(place.home / "bundles" / "1").extra["run_id"] == made.run_id


def test_a_number_that_somebody_else_took_is_written_anew_into_both_bundles(place: Place) -> None:
    place.publish()
    client, name = place.client, place.registry.model_name
    client.delete_model_version(name, str(client.create_model_version(name, "x").version))  # 2 is burnt, and unseen
    made = place.publish(Facts(**{**vars(FACTS), "attempt": "run-b"}))
    # 2 was foreseen, MLflow gave 3, which was taken back: MLflow never gives a number twice.
    assert made.version == "4"
    assert {check_bundle(place.home / kind / "4").version for kind in ("bundles", "holdouts")} == {"4"}
    assert place.folders() == ["bundles/1", "bundles/4", "holdouts/1", "holdouts/4"]
    assert [v.version for v in place.registry.versions()] == ["1", "4"]


def test_the_contents_of_a_bundle_do_not_depend_on_its_number(place: Place) -> None:
    place.publish()
    place.publish(Facts(**{**vars(FACTS), "attempt": "run-b"}))
    one, two = (check_bundle(place.home / "bundles" / version) for version in ("1", "2"))
    assert one.files == two.files


def test_the_error_for_a_taken_number_names_the_next() -> None:
    assert VersionTaken("4", "6").next_version == "6"


def test_an_mlflow_run_ends_failed_when_its_body_raises(trained: tuple[House, Any]) -> None:
    house, _ = trained

    @dg.asset(name="broken")
    def broken(context: dg.AssetExecutionContext) -> None:
        with house.tracking.run(context):
            raise ValueError("boom")

    result = dg.materialize([broken], instance=house.instance, raise_on_error=False)
    client = mlflow_client(mlflow_uri(str(house.home), ""))
    [experiment] = client.search_experiments(filter_string="name = 'recommender'")
    [run] = client.search_runs([experiment.experiment_id], f"tags.`dagster.run_id` = '{result.run_id}'")
    assert run.info.status == "FAILED"


def test_the_servers_store_gets_the_registered_bundle_and_a_retry_brings_what_it_lacks(
    place: Place, tmp_path: Path
) -> None:
    class Lost:
        def put(self, version: str, bundle: Path) -> None:
            raise StoreUnavailable("gone")

    store = FolderStore(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        place.publish(bundles=Lost())
    assert [version.version for version in place.registry.versions()] == ["1"]  # it stands, and is not trained again
    made = place.publish(bundles=store)
    assert (made.version, store.versions()) == ("1", ["1"])
    assert check_bundle(store.get("1", tmp_path / "into")).version == "1"


def test_a_death_before_the_registration_leaves_the_servers_store_empty(place: Place, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "elsewhere")
    with pytest.raises(ConnectionError):
        place.publish(run=DyingRun(), bundles=store)
    assert store.versions() == []
