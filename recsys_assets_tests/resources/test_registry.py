"""The registry over a real MLflow database: one version for one run, aliases, verdicts, and what it refuses.

Here: ModelRegistryResource. Not here: training.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from recsys_assets.records import ModelVersion, Outcome, Verdict
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
from recsys_assets.signing import TamperedBundle, UnsignedBundle, WrongBundle, sign_bundle

NUMBERS = count()
Record = Callable[..., ModelVersion]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def registry(home: Path) -> ModelRegistryResource:
    """A model of the test's own in the module's one database."""
    return ModelRegistryResource(home=str(home), model_name=f"model-{next(NUMBERS)}")


@pytest.fixture(scope="module")
def run_id(home: Path) -> str:
    client = mlflow_client(mlflow_uri(str(home), ""))
    return str(client.create_run(client.create_experiment("e", artifact_location=(home / "a").as_uri())).info.run_id)


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


def test_a_version_made_by_something_else_is_not_seen(registry: ModelRegistryResource, home: Path, run_id: str) -> None:
    client = mlflow_client(mlflow_uri(str(home), ""))
    client.create_registered_model(registry.model_name)
    client.create_model_version(registry.model_name, "somewhere", run_id)
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


def test_a_verdict_about_another_version_is_refused(
    registry: ModelRegistryResource, bundle: Path, record: Record
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    with pytest.raises(RegistryError, match="judged version 2, not 1"):
        registry.write_verdict("1", Verdict(check="c", model_version="2", outcome=Outcome.PASS, reason="fine"))


def test_a_record_that_cannot_be_read_is_an_error_and_not_an_absence(
    registry: ModelRegistryResource, bundle: Path, record: Record, home: Path
) -> None:
    registry.register(bundle, record("1"), dagster_run_id="a")
    client = mlflow_client(mlflow_uri(str(home), ""))
    client.set_model_version_tag(registry.model_name, "1", RECORD_TAG, "{not json")
    with pytest.raises(RecordBroken):
        registry.get("1")


def test_a_registry_that_does_not_answer_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = ModelRegistryResource(home="unused", model_name="m", tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable):
        away.champion()


def test_unpickling_is_off_for_the_process(registry: ModelRegistryResource) -> None:
    registry.versions()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"].lower() == "false"
