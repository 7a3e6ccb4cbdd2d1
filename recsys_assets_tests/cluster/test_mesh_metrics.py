"""The numbers of a model server leave an injected pod: through KServe and istiod's webhook to the agent's port.

Here: the product's own manifest in a namespace whose pods get sidecars. Not here: mutual TLS (the sidecar's redirection
needs Istio's node plugin, which this cluster lacks, so nothing is redirected), a Prometheus.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import pytest

from cluster.cluster import Cluster
from cluster.processes import poll
from recsys_assets.bundle_s3 import S3Store
from recsys_assets.serving.attestation import attestation_path
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.pods import pod_of
from recsys_assets.settings import Settings
from recsys_assets_tests.cluster.house import BUCKET, MODEL_S3, Around
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.serving.bundles import record, signed_bundle
from recsys_assets_tests.stores.servers import S3

pytestmark = pytest.mark.cluster
SECONDS = 900.0
VERSION = "3"
AGENT_PORT = 15020
# What this cluster's injection needs beside the label: no redirection, and numbers on one port, which the values of a
# real mesh (helm_values/istiod.yaml) switch on for everybody.
MESH = {"sidecar.istio.io/interceptionMode": "NONE", "prometheus.istio.io/merge-metrics": "true"}
# Without redirection the sidecar listens on the ports of all other services itself, and may not on those below 1024.
NO_WAYS_OUT: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Sidecar",
    "metadata": {"name": "default"},
    "spec": {"egress": [{"hosts": ["~/*"]}]},
}


@dataclass(frozen=True)
class Served:
    """A model server in an injected pod: the pod as the API server has it."""

    pod: dict[str, Any]

    def get(self, port: int, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.pod['status']['podIP']}:{port}{path}", trust_env=False, timeout=60)

    def predict(self) -> httpx.Response:
        url = f"http://{self.pod['status']['podIP']}:8080/v1/models/recommender:predict"
        body = {"instances": [{"user_id": "u01", "k": 3}]}
        return httpx.post(url, json=body, headers={"x-user-id": "u01"}, trust_env=False, timeout=60)


@pytest.fixture
def served(
    cluster: Cluster, platform_image: str, around: Around, s3_server: S3, settings: Settings, tmp_path: Path
) -> Iterator[Served]:
    """The service is ready; its manifest is what the product writes, with an empty folder as shared volume."""
    with own_namespace(cluster.api, f"mesh-{uuid.uuid4().hex[:8]}") as namespace:
        digest = bundle(around, s3_server, tmp_path)
        written = manifest(settings, platform_image, around, digest)
        for each in (*objects(tmp_path, s3_server), written):
            cluster.api.apply(each, namespace)
        poll("the model server in its injected pod", lambda: pod(cluster, namespace) is not None, SECONDS)
        found = pod(cluster, namespace)
        assert found is not None
        yield Served(found)


def bundle(around: Around, s3_server: S3, folder: Path) -> str:
    """Put a signed and attested bundle where the pod fetches it; its digest."""
    digest = signed_bundle(folder / VERSION, folder / "keys", version=VERSION)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment.items():
            environment.setenv(name, value)
        store = S3Store(f"s3://{BUCKET}/bundles")
        store.put(VERSION, folder / VERSION)
        store.put_attestation(VERSION, attestation_path(folder / VERSION))
    return digest


def manifest(settings: Settings, image: str, around: Around, digest: str) -> dict[str, Any]:
    on_cluster = settings.model_dump(exclude={"secrets"}) | {
        "platform": "kubernetes",
        "stores": {"bundles": f"s3://{BUCKET}/bundles", "s3": {"endpoint_url": around.s3, "region": "us-east-1"}},
        "kubernetes": {
            "image": image,
            "image_pull_policy": "Never",
            "model_environment_secrets": [MODEL_S3],
            "resources": {"cpu": "50m", "memory": "256Mi"},
        },
    }
    model, home = record(VERSION, digest), PurePosixPath("/var/lib/recsys")
    loaded = Settings.model_validate(on_cluster)
    laid = pod_of(model, loaded, bundle=f"s3://{BUCKET}/bundles/{VERSION}")
    made = inference_service(model, role="challenger", bundle_path=home, home=home, host="0.0.0.0", pod=laid)
    predictor = made["spec"]["predictor"]
    predictor |= {"serviceAccountName": "default", "labels": {"sidecar.istio.io/inject": "true"}}
    predictor["annotations"] |= MESH
    for volume in predictor["volumes"]:
        if volume.pop("persistentVolumeClaim", None):
            volume["emptyDir"] = {}
    return made


def objects(folder: Path, s3_server: S3) -> Iterator[dict[str, Any]]:
    yield NO_WAYS_OUT
    keys = {path.name: path.read_text(encoding="utf-8") for path in (folder / "keys").glob("*.pub")}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "recsys-public-keys"}, "data": keys}
    secret = {name: value for name, value in s3_server.environment.items() if name != "AWS_ENDPOINT_URL"}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in secret.items()}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": MODEL_S3}, "data": data}


def pod(cluster: Cluster, namespace: str) -> dict[str, Any] | None:
    """The predictor's pod once all of its containers are ready."""
    found = cluster.api.request("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=component=predictor")
    for each in found["items"]:
        conditions = {c["type"]: c["status"] for c in each["status"].get("conditions", [])}
        if conditions.get("Ready") == "True":
            return dict(each)
    return None


def test_the_agent_of_an_injected_pod_gives_out_the_model_servers_numbers(served: Served) -> None:
    containers = [*served.pod["spec"]["containers"], *served.pod["spec"].get("initContainers", [])]
    [sidecar] = [each for each in containers if each["name"] == "istio-proxy"]
    told = {each["name"]: each.get("value") for each in sidecar["env"]}
    assert json.loads(told["ISTIO_PROMETHEUS_ANNOTATIONS"]) == {"scrape": "true", "path": "/metrics", "port": "8080"}
    # A Prometheus that goes by annotations is led to the agent.
    led = served.pod["metadata"]["annotations"]
    assert (led["prometheus.io/port"], led["prometheus.io/path"]) == (str(AGENT_PORT), "/stats/prometheus")
    assert served.predict().status_code == 200
    given = served.get(AGENT_PORT, "/stats/prometheus").text
    assert "recsys_requests_total{" in given
    assert f'model_version="{VERSION}"' in given
    assert "envoy_server_uptime" in given
