"""The values of our chart: the schema knows each key and refuses every other, and the settings in them are settings.

Here: values, schema and the example, without helm. Not here: what is rendered (test_rendered.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from recsys_assets.settings import load_settings
from recsys_assets_tests.charts.house import CASE_FILES, CHART, Document, case_values, load, merged, rendered

SCHEMA: Document = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
# Names of the cloud's, of people's and of Kubernetes' own: nobody can list them.
OPEN = {"nodeSelector", "affinity", "annotations", "labels", "settings", "hard", "requests", "limits", "tolerations"}


def refusals(values: Document) -> list[str]:
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in VALIDATOR.iter_errors(values)]


@pytest.mark.parametrize("case", CASE_FILES)
def test_the_schema_takes_what_we_render(case: str) -> None:
    assert refusals(case_values(case)) == []


def test_the_chart_without_settings_and_keys_is_refused() -> None:
    told = " ".join(refusals(load(CHART / "values.yaml")))
    for missing in ("'platform' is a required property", "'bundle_signing.pub' is a required property"):
        assert missing in told


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("gateway.replica", 3),
        ("gateway.mode", "ambient"),
        ("gateway.autoscaling.cpu", 50),
        ("guard.envSecret", ["a"]),
        ("guard.staleSeconds", 5),
        ("image.tags", "1"),
        ("image.digest", "sha256:abc"),
        ("mlflow.artifacts", "/var/artifacts"),
        ("mlflow.artifacts", ""),
        ("network.postgres.to", [{}]),
        ("network.postgres.port", 5432),
        ("network.redis.ports", []),
        ("network.s3.to", [{"ipBlocks": {"cidr": "10.0.0.0/8"}}]),
        ("identities.admin", {"create": True, "annotations": {}}),
        ("settings.platform", "local"),
        ("settings.kubernetes", {"route": "ingress"}),
        ("publicKeys.bundle_signing.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("volume.accessMode", "ReadWriteOnce"),
        ("monitoring.scrapers", ["prometheus"]),
        ("quota.hard", {"pods": {"a": 1}}),
        ("routing", "istio"),
    ],
)
def test_a_mistake_in_the_values_is_refused_with_its_place(place: str, value: object) -> None:
    *path, key = place.split(".") if not place.startswith("publicKeys") else ("publicKeys", place.partition(".")[2])
    wrong: Any = {key: value}
    for part in reversed(path):
        wrong = {part: wrong}
    told = refusals(merged(case_values("mesh"), wrong))
    assert told
    assert any(key in each or each.startswith(".".join(path)) for each in told), told


def test_every_value_has_an_entry_in_the_schema_and_the_other_way_round() -> None:
    written = set(_places(load(CHART / "values.yaml")))
    known = set(_known(SCHEMA)) - {"global", "publicKeys.bundle_signing.pub", "publicKeys.release_signing.pub"}
    assert written == {place for place in known if not place.startswith(("settings.", "quota.containerDefaults."))}


def _places(values: Document, above: str = "") -> Iterator[str]:
    for key, value in values.items():
        place = f"{above}{key}"
        yield place
        if isinstance(value, dict) and key not in OPEN:
            yield from _places(value, f"{place}.")


def _known(schema: Document, above: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    for key, below in schema.get("properties", {}).items():
        if key in {"if", "then"}:
            continue
        yield f"{above}{key}"
        if key not in OPEN:
            yield from _known(below, f"{above}{key}.")


def test_every_object_in_the_schema_is_closed_or_meant_to_be_open() -> None:
    def open_ones(schema: object, path: str) -> Iterator[str]:
        if isinstance(schema, dict):
            if schema.get("type") == "object" and "additionalProperties" not in schema:
                yield path
            for key, below in schema.items():
                yield from open_ones(below, f"{path}/{key}")
        elif isinstance(schema, list):
            for below in schema:
                yield from open_ones(below, f"{path}/")

    allowed = {"affinity", "tolerations/items", "settings", "settings/properties/kubernetes", "global"}
    selectors = {"namespaceSelector", "podSelector"}
    left = [p for p in open_ones(SCHEMA, "") if not p.endswith(tuple(allowed)) and p.split("/")[-1] not in selectors]
    assert left == []


@pytest.mark.parametrize("case", CASE_FILES)
def test_the_settings_in_the_rendered_map_load_as_settings(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pods read: the chart has filled in namespace and image."""
    for secret in ("LEDGER_URL", "FEAST_REGISTRY_URL"):
        monkeypatch.setenv(secret, "postgresql://u:p@db:5432/recsys")
    monkeypatch.setenv("ONLINE_PASSWORD", "p")
    (config,) = (d for d in rendered(case) if d["metadata"]["name"] == "recsys-settings")
    file = tmp_path / "recsys.yaml"
    file.write_text(config["data"]["recsys.yaml"], encoding="utf-8")
    settings = load_settings(home=tmp_path, config=file)
    assert settings.platform == "kubernetes"
    assert settings.kubernetes.namespace == "recsys"
    assert settings.kubernetes.image.endswith("/recsys-assets:0.1.0")
    assert yaml.safe_load(config["data"]["recsys.yaml"])["model_name"] == settings.model_name == "films"
