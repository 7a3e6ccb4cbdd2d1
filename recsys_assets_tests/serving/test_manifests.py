"""The manifest: one service per version, Standard mode, in the shape that KServe and our own platform accept.

Here: the plain data. Not here: a process made of it (test_deploy.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from recsys_assets.platform.interface import MODEL_VERSION_ANNOTATION, Invalid
from recsys_assets.platform.validation import check_manifest
from recsys_assets.records import ModelVersion
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.server import parse_options

HOME = PurePosixPath("/srv/recsys")


def version(drill: str | None = None) -> ModelVersion:
    return ModelVersion(
        name="recommender",
        version="12",
        run_id="a1b2",
        feature_service="ranker_v1",
        table_versions={"interactions": 4},
        code_version="0.1.0",
        bundle_digest="c" * 64,
        as_of=datetime(2024, 1, 31, tzinfo=UTC),
        drill=drill,
    )


def manifest(drill: str | None = None, **more: Any) -> dict[str, Any]:
    return inference_service(version(drill), role="challenger", bundle_path=HOME / "bundles/12", home=HOME, **more)


def container(made: dict[str, Any]) -> dict[str, Any]:
    (only,) = made["spec"]["predictor"]["containers"]
    found: dict[str, Any] = only
    return found


def test_the_platform_accepts_it_and_it_is_named_by_its_version() -> None:
    assert check_manifest(manifest()) == ("InferenceService", "recommender-v12")


def test_the_record_travels_in_labels_and_annotation() -> None:
    metadata = manifest()["metadata"]
    assert metadata["labels"] == {**version().labels(), "role": "challenger"}
    assert ModelVersion.model_validate_json(metadata["annotations"][MODEL_VERSION_ANNOTATION]) == version()
    assert metadata["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_traffic_is_the_routes_business() -> None:
    assert "canaryTrafficPercent" not in manifest()["spec"]["predictor"]


def test_the_same_version_gives_the_same_manifest() -> None:
    assert manifest() == manifest()


def test_the_server_understands_the_arguments() -> None:
    made = container(manifest(host="0.0.0.0"))
    assert made["command"][1:] == ["-m", "recsys_assets.serving.server"]
    options = parse_options([word.replace("$(PORT)", "8080") for word in made["args"]])
    assert (str(options.bundle), options.digest, options.port) == ("/srv/recsys/bundles/12", "c" * 64, 8080)
    assert (options.service, options.fault, options.host) == ("recommender-v12", None, "0.0.0.0")


def test_a_deployed_server_never_goes_without_its_gates_word() -> None:
    made = manifest()
    options = parse_options([word.replace("$(PORT)", "8080") for word in container(made)["args"]])
    assert (options.unattested, options.attestation) == (False, None)
    assert options.attestation_key == Path("/srv/recsys/keys/release_signing.pub")
    container(made)["args"].append("--unattested")
    with pytest.raises(Invalid, match="what its gates have vouched for"):
        check_manifest(made)


@pytest.mark.parametrize("drill", ["slow", "failing", "crossed_users"])
def test_a_drill_becomes_a_fault_of_the_server(drill: str) -> None:
    assert container(manifest(drill))["args"][-2:] == ["--fault", drill]


@pytest.mark.parametrize("drill", [None, "corrupt_labels"])
def test_what_is_no_fault_of_the_server_is_not_given_to_it(drill: str | None) -> None:
    assert "--fault" not in container(manifest(drill))["args"]


def test_the_container_is_probed_limited_and_unprivileged() -> None:
    made = container(manifest())
    assert made["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert made["resources"]["limits"].keys() == {"cpu", "memory"}
    assert made["securityContext"]["runAsNonRoot"] is True
    assert {entry["name"]: entry["value"] for entry in made["env"]}["OMP_NUM_THREADS"] == "1"
