"""A canary and a champion are sized separately: the real KServe makes an autoscaler for each version from its manifest.

Here: the objects that KServe writes, of KEDA's kind and of Kubernetes' own. Not here: that anything scales: no metrics
server and no KEDA run on this cluster, only their definitions stand there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from cluster.charts import Source
from cluster.cluster import Cluster
from cluster.processes import poll
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.pods import pod_of
from recsys_assets.settings import Settings
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.serving.test_manifests import version
from recsys_assets_tests.serving.test_pods import told

pytestmark = pytest.mark.cluster
# Of the version that KServe itself is built with.
KEDA = Source("kserve", "github.com/kedacore/keda/v2", "config/crd/bases")
SECONDS = 300.0
REQUESTS = {
    "metric": "requests",
    "target": 150,
    "min_replicas": 2,
    "max_replicas": 20,
    "prometheus_url": "http://prometheus.monitoring:9090",
}
CPU = {"metric": "cpu", "target": 70, "min_replicas": 1, "max_replicas": 5}


@pytest.fixture(scope="module")
def keda(cluster: Cluster) -> Cluster:
    for name in ("keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml"):
        cluster.api.apply_text((KEDA.path() / name).read_text(encoding="utf-8"))
    return cluster


@pytest.fixture
def namespace(keda: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    with own_namespace(keda.api, f"scaling-{abs(hash(request.node.name)) % 10**8}") as name:
        yield name


def deploy(cluster: Cluster, namespace: str, settings: Settings, number: str) -> str:
    """One version's service, whose pods never start: there is no such image. Its name."""
    model = version().model_copy(update={"version": number})
    nowhere = PurePosixPath("/nowhere")
    pod = pod_of(model, settings, bundle=f"s3://models/bundles/{number}")
    made = inference_service(model, role="challenger", bundle_path=nowhere, home=nowhere, python="python", pod=pod)
    cluster.api.apply(made | {"metadata": made["metadata"] | {"namespace": namespace}})
    return model.service_name


def found(cluster: Cluster, namespace: str, group: str, plural: str) -> dict[str, dict[str, Any]]:
    items = cluster.api.request("GET", f"/apis/{group}/namespaces/{namespace}/{plural}")["items"]
    return {each["metadata"]["name"]: each["spec"] for each in items}


def test_by_requests_each_version_has_a_scaled_object_that_asks_for_its_own_requests(
    keda: Cluster, namespace: str, settings: Settings
) -> None:
    services = [deploy(keda, namespace, told(settings, autoscaling=REQUESTS), number) for number in ("12", "13")]
    names = {f"{service}-predictor" for service in services}

    def made() -> dict[str, dict[str, Any]]:
        return found(keda, namespace, "keda.sh/v1alpha1", "scaledobjects")

    poll("a ScaledObject of each version", lambda: made().keys() == names, SECONDS)
    for number, (name, spec) in zip(("12", "13"), sorted(made().items()), strict=True):
        assert spec["scaleTargetRef"]["name"] == name
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 20)
        (trigger,) = spec["triggers"]
        assert (trigger["type"], trigger["metadata"]["threshold"]) == ("prometheus", "150")
        assert trigger["metadata"]["serverAddress"] == "http://prometheus.monitoring:9090"
        assert f'model_version="{number}"' in trigger["metadata"]["query"]
    assert found(keda, namespace, "autoscaling/v2", "horizontalpodautoscalers") == {}


def test_by_cpu_each_version_has_an_autoscaler_of_kubernetes_own(
    keda: Cluster, namespace: str, settings: Settings
) -> None:
    services = [deploy(keda, namespace, told(settings, autoscaling=CPU), number) for number in ("12", "13")]
    names = {f"{service}-predictor" for service in services}

    def made() -> dict[str, dict[str, Any]]:
        return found(keda, namespace, "autoscaling/v2", "horizontalpodautoscalers")

    poll("an autoscaler of each version", lambda: made().keys() == names, SECONDS)
    for name, spec in made().items():
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 5)
        (metric,) = spec["metrics"]
        assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}


def test_without_a_metric_the_number_of_replicas_stays(keda: Cluster, namespace: str, settings: Settings) -> None:
    deploy(keda, namespace, told(settings, autoscaling={"min_replicas": 2, "max_replicas": 4}), "12")

    def deployments() -> dict[str, dict[str, Any]]:
        return found(keda, namespace, "apps/v1", "deployments")

    poll("the Deployment", lambda: bool(deployments()), SECONDS)
    (spec,) = deployments().values()
    assert spec["replicas"] == 2
    assert found(keda, namespace, "autoscaling/v2", "horizontalpodautoscalers") == {}
    assert found(keda, namespace, "keda.sh/v1alpha1", "scaledobjects") == {}
