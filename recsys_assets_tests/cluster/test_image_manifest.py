"""A real API server with KServe's definitions takes the model server's manifests as they are, and prunes nothing.

Here: the InferenceService of each way of scaling, by server-side dry run. Not here: its content (serving/test_pods.py).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from recsys_assets.settings import Settings
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.serving.test_pods import STORES, manifest, told

pytestmark = pytest.mark.cluster

REQUESTS = {
    "metric": "requests",
    "target": 50,
    "max_replicas": 9,
    "prometheus_url": "http://prometheus.monitoring:9090",
}


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with own_namespace(control_plane.api, f"recsys-{uuid.uuid4().hex[:8]}") as name:
        yield name


@pytest.mark.parametrize("scaling", [{}, {"metric": "cpu", "max_replicas": 4}, REQUESTS], ids=["none", "cpu", "keda"])
@pytest.mark.parametrize("stores", [{}, STORES], ids=["mounted", "s3"])
def test_the_api_server_takes_the_manifest_and_keeps_all_of_it(
    control_plane: ControlPlane, namespace: str, settings: Settings, stores: dict[str, Any], scaling: dict[str, Any]
) -> None:
    made = manifest(told(settings, stores=stores, autoscaling=scaling))
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    # Strict: a field that the definition does not know is an error, and not left out silently.
    kept = control_plane.api.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", json.dumps(made))
    assert lost(made["spec"], kept["spec"]) == []


def lost(given: Any, kept: Any, path: str = "spec") -> list[str]:
    """The places where what was given does not stand any more; defaults that were added do not count."""
    if isinstance(given, dict):
        found = kept if isinstance(kept, dict) else {}
        return [place for key, value in given.items() for place in lost(value, found.get(key), f"{path}.{key}")]
    if isinstance(given, list):
        pairs = zip(given, kept, strict=True) if isinstance(kept, list) and len(kept) == len(given) else None
        if pairs is None:
            return [path]
        return [place for n, (a, b) in enumerate(pairs) for place in lost(a, b, f"{path}[{n}]")]
    return [] if given == kept else [f"{path}: {given!r} became {kept!r}"]
