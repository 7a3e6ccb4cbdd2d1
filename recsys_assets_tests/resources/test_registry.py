"""The registry over a real MLflow database, and over a real server on Postgres and S3: one version for one run,
aliases, verdicts, and what it refuses.

Here: ModelRegistryResource. Not here: training.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.build import build_resources
from recsys_assets.resources.registry import (
    RECORD_TAG,
    DigestMismatch,
    ModelRegistryResource,
    RecordBroken,
    RegistryError,
    RegistryUnavailable,
    VersionMissing,
    VersionTaken,
    mlflow_client,
    mlflow_uri,
)
from recsys_assets.resources.tracking import TrackingResource
from recsys_assets.settings import Settings
from recsys_assets.signing import TamperedBundle, UnsignedBundle, WrongBundle, sign_bundle
from recsys_assets.store_settings import StoreSettings
from recsys_assets_tests.stores.servers import S3

NUMBERS = count()
Record = Callable[..., ModelVersion]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module", params=["file", "server"])
def address(request: pytest.FixtureRequest) -> str:
    """Empty for the file below the home folder."""
    return "" if request.param == "file" else str(request.getfixturevalue("mlflow_server"))


@pytest.fixture
def registry(home: Path, address: str) -> ModelRegistryResource:
    """A model of the test's own in the module's one database."""
    return ModelRegistryResource(home=str(home), model_name=f"model-{next(NUMBERS)}", tracking_uri=address)


@pytest.fixture(scope="module")
def run_id(home: Path, address: str) -> str:
    client = mlflow_client(mlflow_uri(str(home), address))
    location = None if address else (home / "a").as_uri()
    experiment = client.create_experiment(f"e{next(NUMBERS)}", artifact_location=location)
    return str(client.create_run(experiment).info.run_id)


@pytest.fixture
def bundle(tmp_path: Path, home: Path) -> Path:
    made = tmp_path / "1"
    made.mkdir()
    (made / "manifest.json").write_text("{}")
    sign_bundle(made, home / "keys")
    return made


@pytest.fixture
def record(registry: ModelRegistryResource, run_id: str) -> Record:
    def make(version: str) -> ModelVersion:
        return ModelVersion(
            name=registry.model_name,
            version=version,
            run_id=run_id,
            feature_service="ranker_v1",
            table_versions={"interactions": 3},
            code_version="1",
            bundle_digest=hashlib.sha256(b"{}").hexdigest(),
            as_of=datetime(2024, 1, 1, tzinfo=UTC),
        )

    return make


def test_an_empty_registry_has_no_versions_and_no_aliases(registry: ModelRegistryResource) -> None:
    assert (registry.versions(), registry.champion(), registry.challenger()) == ([], None, None)
    assert registry.next_version() == "1"


def test_what_was_registered_is_read_back_whole(registry: ModelRegistryResource, bundle: Path, record: Record) -> None:
    made = registry.register(bundle, record("1"), dagster_run_id="a")
    assert registry.get("1") == made == record("1")
    assert [v.version for v in registry.versions()] == ["1"]


def test_a_retry_of_the_same_run_gets_the_version_it_already_made(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    first = registry.register(bundle, record("1"), dagster_run_id="a", contents_digest="c")
    again = registry.register(bundle, record("2"), dagster_run_id="a", contents_digest="c")
    assert again == first
    assert len(registry.versions()) == 1


@pytest.mark.parametrize(("run", "contents"), [("b", "c"), ("a", "d")])
def test_another_run_or_another_content_is_another_version(
    run: str, contents: str, registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a", contents_digest="c")
    registry.register(bundle, record("2"), dagster_run_id=run, contents_digest=contents)
    assert [v.version for v in registry.versions()] == ["1", "2"]


def test_a_wrong_number_registers_nothing_and_tells_the_next(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    with pytest.raises(VersionTaken) as taken:
        registry.register(bundle, record("5"), dagster_run_id="a")
    assert registry.versions() == []
    made = registry.register(bundle, record(taken.value.next_version), dagster_run_id="a")
    assert made.version == "2"


def test_a_bundle_that_is_not_the_records_is_refused(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    (bundle / "manifest.json").write_text('{"other": 1}')
    with pytest.raises(DigestMismatch):
        registry.register(bundle, record("1"), dagster_run_id="a")
    assert registry.versions() == []


@pytest.mark.parametrize(("spoil", "refusal"), [("unlink", UnsignedBundle), ("touch", TamperedBundle)])
def test_a_bundle_that_is_not_the_signed_one_is_neither_registered_nor_promoted(
    spoil: str, refusal: type[Exception], registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    assert registry.genuine("1", bundle) == record("1")
    if spoil == "unlink":
        (bundle / "bundle.sig").unlink()
    else:
        (bundle / "more.txt").touch()
    with pytest.raises(refusal):
        registry.genuine("1", bundle)
    with pytest.raises(refusal):
        registry.register(bundle, record("2"), dagster_run_id="b")
    assert [v.version for v in registry.versions()] == ["1"]


def test_a_genuine_bundle_that_is_not_the_records_is_not_promoted(
    registry: ModelRegistryResource, bundle: Path, record: Record, home: Path
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    (bundle / "manifest.json").write_text('{"older": 1}')
    sign_bundle(bundle, home / "keys")
    with pytest.raises(WrongBundle):
        registry.genuine("1", bundle)


def test_a_version_made_by_something_else_is_not_seen(
    registry: ModelRegistryResource, home: Path, run_id: str, address: str
) -> None:
    client = mlflow_client(mlflow_uri(str(home), address))
    client.create_registered_model(registry.model_name)
    source = f"{client.get_run(run_id).info.artifact_uri}/elsewhere"  # a server takes no other place
    client.create_model_version(registry.model_name, source, run_id)
    assert registry.versions() == []
    with pytest.raises(VersionMissing, match="no registered version 1"):
        registry.get("1")


def test_aliases_move_and_go_away(registry: ModelRegistryResource, bundle: Path, record: Record) -> None:
    for version in ("1", "2"):
        registry.register(bundle, record(version), dagster_run_id=version)
    registry.set_alias("champion", "1")
    registry.set_alias("challenger", "2")
    assert [v.version for v in (registry.champion(), registry.challenger()) if v] == ["1", "2"]
    registry.set_alias("champion", "2")
    registry.drop_alias("challenger")
    registry.drop_alias("challenger")
    assert registry.challenger() is None
    assert registry.champion() == registry.get("2")


def test_an_alias_cannot_point_at_nothing(registry: ModelRegistryResource) -> None:
    with pytest.raises(VersionMissing):
        registry.set_alias("champion", "9")


def test_a_verdict_is_kept_with_the_version_it_judged(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    verdict = Verdict(check="ndcg_not_below", model_version="1", outcome=Outcome.FAIL, reason="worse")
    registry.write_verdict("1", verdict)
    assert registry.read_verdict("1", "ndcg_not_below") == verdict
    assert registry.read_verdict("1", "another") is None


def test_a_long_verdict_and_one_in_every_script_come_back_whole(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    reason = "zoë's films 映画 '; -- %s \n" * 150
    verdict = Verdict(check="ndcg_not_below", model_version="1", outcome=Outcome.PASS, reason=reason)
    registry.write_verdict("1", verdict)
    assert registry.read_verdict("1", "ndcg_not_below") == verdict


def test_a_verdict_about_another_version_is_refused(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    with pytest.raises(RegistryError, match="judged version 2, not 1"):
        registry.write_verdict("1", Verdict(check="c", model_version="2", outcome=Outcome.PASS, reason="fine"))


def test_a_record_that_cannot_be_read_is_an_error_and_not_an_absence(
    registry: ModelRegistryResource, bundle: Path, record: Record, home: Path, address: str
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    client = mlflow_client(mlflow_uri(str(home), address))
    client.set_model_version_tag(registry.model_name, "1", RECORD_TAG, "{not json")
    with pytest.raises(RecordBroken):
        registry.get("1")


def test_a_registry_that_does_not_answer_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = ModelRegistryResource(home="unused", model_name="m", tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable):
        away.champion()


def test_what_a_run_keeps_goes_through_the_server_to_s3_without_keys_of_its_own(
    tmp_path: Path, mlflow_server: str, s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in s3_server.environment:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "model.txt").write_text("trees")
    resources = {"tracking": TrackingResource(home=str(tmp_path), experiment="kept", tracking_uri=mlflow_server)}

    @dg.asset
    def model(context: dg.AssetExecutionContext, tracking: TrackingResource) -> None:
        with tracking.run(context) as run:
            run.log_metrics({"ndcg_at_10": 0.5})
            run.log_bundle(tmp_path, features=["trend"], digest="d")

    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([model], instance=instance, resources=resources, run_config=quiet).success
    client = mlflow_client(mlflow_server)
    found = client.get_experiment_by_name("kept")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"ndcg_at_10": 0.5})
    kept = s3_server.client().list_objects_v2(Bucket="mlflow")["Contents"]
    assert [entry["Key"] for entry in kept if entry["Key"].endswith("model/bundle/model.txt")]


def test_the_settings_say_which_server_it_is(settings: Settings) -> None:
    assert build_resources(settings)["registry"].tracking_uri == ""
    served = settings.model_copy(update={"stores": StoreSettings(mlflow="http://mlflow:5000/")})
    resources = build_resources(served)
    assert resources["registry"].tracking_uri == resources["tracking"].tracking_uri == "http://mlflow:5000"


def test_unpickling_is_off_for_the_process(registry: ModelRegistryResource) -> None:
    registry.versions()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"].lower() == "false"
