"""InferenceServices through a real KServe on a real node: ready of the present spec, read back as written, and why not.

Here: what KServe's webhooks and controller make of the platform's objects. Not here: our model server, routes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.addons import install_kserve
from cluster.cluster import Cluster
from cluster.part_images import BUSYBOX_IMAGE
from cluster.processes import poll
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import INFERENCE_SERVICE, Refused, ServiceStatus
from recsys_assets.platform.kubernetes.platform import KubernetesPlatform
from recsys_assets_tests.cluster.conftest import VALUES
from recsys_assets_tests.cluster.namespaces import own_namespace
from recsys_assets_tests.contracts.manifests import inference_service

pytestmark = pytest.mark.cluster
SECONDS = 900.0
SERVES = "mkdir /tmp/www && echo {text} > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


@pytest.fixture(scope="module")
def with_kserve(node: Cluster) -> Cluster:
    install_kserve(node, [VALUES / "kserve.yaml"])
    return node


@pytest.fixture(scope="module")
def platform(with_kserve: Cluster) -> Iterator[KubernetesPlatform]:
    api = with_kserve.api
    with own_namespace(api, f"recsys-{uuid.uuid4().hex[:8]}") as name:
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        poll("the namespace's service account", lambda: api.exists(account), SECONDS)
        yield KubernetesPlatform(KubernetesSettings(namespace=name, kubeconfig=str(with_kserve.kubeconfig)))


def manifest(name: str, script: str, **container: Any) -> dict[str, Any]:
    """A service of one small container, with sizes in another way of writing than Kubernetes' own."""
    written = inference_service(name, command=["/bin/sh", "-c", script], args=["x"])
    written["spec"]["predictor"] |= {"minReplicas": 1, "maxReplicas": 1, "terminationGracePeriodSeconds": 1}
    written["spec"]["predictor"]["containers"][0] |= {
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "Never",
        "env": [{"name": "PORT", "value": "8080"}],
        "ports": [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "resources": {
            "requests": {"cpu": "0.01", "memory": "16Mi"},
            "limits": {"cpu": "1000m", "memory": "1024Mi"},
        },
        **container,
    }
    return written


def wait_ready(platform: KubernetesPlatform, name: str, generation: int) -> ServiceStatus:
    def ready() -> bool:
        status = platform.status(INFERENCE_SERVICE, name)
        return status.ready and status.observed_generation == generation

    poll(f"{name} being ready in generation {generation}", ready, SECONDS)
    return platform.status(INFERENCE_SERVICE, name)


def path(platform: KubernetesPlatform, name: str) -> str:
    return f"/apis/serving.kserve.io/v1beta1/namespaces/{platform.settings.namespace}/inferenceservices/{name}"


def test_a_service_is_ready_only_with_its_present_spec(platform: KubernetesPlatform, with_kserve: Cluster) -> None:
    name = "films-v1"
    first = manifest(name, SERVES.format(text="one"))
    platform.apply(first, expected=None)
    assert not platform.status(INFERENCE_SERVICE, name).ready
    status = wait_ready(platform, name, 1)
    assert status.url == f"http://films-v1-predictor.{platform.settings.namespace}.svc.cluster.local"
    assert answer(with_kserve, platform, name) == "one\n"
    found = platform.get(INFERENCE_SERVICE, name)
    assert found is not None
    assert found["spec"] == first["spec"]
    assert found["metadata"]["annotations"] == first["metadata"]["annotations"]
    second = manifest(name, SERVES.format(text="two"))
    platform.apply(second, expected=found["metadata"]["resourceVersion"])
    assert not platform.status(INFERENCE_SERVICE, name).ready
    wait_ready(platform, name, 2)
    poll("the new answer", lambda: answer(with_kserve, platform, name) == "two\n", SECONDS)
    claim(platform, with_kserve, name)
    edit(platform, with_kserve, name)
    remove(platform, with_kserve, name)


def claim(platform: KubernetesPlatform, cluster: Cluster, name: str) -> None:
    """A release that claims a running service restarts nothing."""
    deployment = f"/apis/apps/v1/namespaces/{platform.settings.namespace}/deployments/{name}-predictor"
    before = cluster.api.request("GET", deployment)["spec"]["template"]
    found = platform.get(INFERENCE_SERVICE, name)
    assert found is not None
    found["metadata"]["annotations"]["recsys-assets.dev/release-id"] = "films-v1-1"
    claimed = platform.apply(found, expected=found["metadata"]["resourceVersion"])
    assert claimed["metadata"]["annotations"]["recsys-assets.dev/release-id"] == "films-v1-1"
    assert claimed["metadata"]["generation"] == found["metadata"]["generation"]
    # KServe looks at the service within moments; a pass over it is seen in a change that it must act on.
    merge = "application/merge-patch+json"
    cluster.api.request("PATCH", path(platform, name), '{"metadata":{"labels":{"seen":"yes"}}}', merge)
    poll(
        "KServe's next pass",
        lambda: cluster.api.request("GET", deployment)["metadata"].get("labels", {}).get("seen") == "yes",
        SECONDS,
    )
    after = cluster.api.request("GET", deployment)["spec"]["template"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


def edit(platform: KubernetesPlatform, cluster: Cluster, name: str) -> None:
    """An edit by hand is seen although KServe's defaults are not."""
    live = cluster.api.request("GET", path(platform, name))
    live["spec"]["predictor"]["containers"][0]["env"].append({"name": "DEBUG", "value": "1"})
    cluster.api.request("PUT", f"{path(platform, name)}?fieldManager=kubectl-edit", json.dumps(live))
    found = platform.get(INFERENCE_SERVICE, name)
    assert found is not None
    assert found["spec"]["predictor"]["containers"][0]["env"][-1] == {"name": "DEBUG", "value": "1"}


def remove(platform: KubernetesPlatform, cluster: Cluster, name: str) -> None:
    """With its finalizers it is gone for us at once, and its Deployment after it."""
    assert platform.delete(INFERENCE_SERVICE, name) is True
    assert platform.get(INFERENCE_SERVICE, name) is None
    deployment = f"/apis/apps/v1/namespaces/{platform.settings.namespace}/deployments/{name}-predictor"
    poll("the Deployment being collected", lambda: not cluster.api.exists(deployment), SECONDS)


def answer(cluster: Cluster, platform: KubernetesPlatform, name: str) -> str:
    service = f"/api/v1/namespaces/{platform.settings.namespace}/services/{name}-predictor"
    address = cluster.api.request("GET", service)["spec"]["clusterIP"]
    try:
        return httpx.get(f"http://{address}/", trust_env=False, timeout=10).text
    except httpx.HTTPError as away:
        return str(away)


@pytest.mark.parametrize(("name", "script", "more", "told"), [
    ("crashing-v1", "echo BundleRefused: digest differs > /dev/termination-log; exit 3", {},
     "exit code 3, it said last: BundleRefused: digest differs"),
    ("imageless-v1", "true", {"image": "localhost/nobody:1"}, "ErrImageNeverPull"),
    ("huge-v1", "true", {"resources": {"requests": {"cpu": "900"}, "limits": {"cpu": "900"}}}, "Insufficient cpu"),
])  # fmt: skip
def test_a_service_that_does_not_come_says_why(
    platform: KubernetesPlatform, name: str, script: str, more: dict[str, Any], told: str
) -> None:
    platform.apply(manifest(name, script, **more), expected=None)
    poll(f"{name} saying {told}", lambda: told in platform.status(INFERENCE_SERVICE, name).reason, SECONDS)
    assert not platform.status(INFERENCE_SERVICE, name).ready
    assert platform.delete(INFERENCE_SERVICE, name)


def test_kserves_own_refusal_is_told(platform: KubernetesPlatform) -> None:
    wrong = manifest("films-v9", "true")
    wrong["spec"]["predictor"]["minReplicas"] = 3
    with pytest.raises(Refused, match=r"InferenceService/films-v9: \(admission\): .*(?i:replicas)"):
        platform.apply(wrong, expected=None)
