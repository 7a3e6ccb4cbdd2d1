"""KServe and Istio as they are installed: their controllers act, their webhooks refuse, a gateway obeys istiod.

Here: that the real parts do their part. Not here: the product's manifests and routes.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.addons import wait_available
from cluster.api import ApiError
from cluster.cluster import Cluster
from cluster.part_images import BUSYBOX_IMAGE
from cluster.processes import poll

pytestmark = pytest.mark.cluster

NAMESPACE = "addon-tests"
SECONDS = 300.0


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that goes away with everything in it."""
    cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    poll("the namespace's service account", lambda: cluster.api.exists(account), SECONDS)
    yield NAMESPACE
    cluster.api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture(scope="module")
def service(cluster: Cluster, namespace: str) -> str:
    """An InferenceService whose predictor says its own name, ready."""
    script = "mkdir /tmp/www && echo films-v1 > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    container = {
        "name": "kserve-container",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
    }
    cluster.api.apply(inference_service("films-v1", container))
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/films-v1"

    def ready() -> bool:
        conditions = cluster.api.request("GET", path).get("status", {}).get("conditions") or []
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    poll("the InferenceService being ready", ready, SECONDS)
    return "films-v1-predictor"


def inference_service(name: str, container: dict[str, Any]) -> dict[str, Any]:
    """An InferenceService of one container."""
    spec = {"predictor": {"minReplicas": 1, "containers": [container]}}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec}


def istio(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object of Istio's networking."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def test_kserve_makes_a_deployment_and_a_service_of_an_inference_service(cluster: Cluster, service: str) -> None:
    deployment = cluster.api.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{service}")
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "InferenceService"
    assert cluster.api.exists(f"/api/v1/namespaces/{NAMESPACE}/services/{service}")
    # The release owns the route: with our values KServe makes none.
    routes = cluster.api.request("GET", f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtualservices")["items"]
    assert [each for each in routes if each["metadata"]["name"].startswith("films")] == []
    assert cluster.api.request("GET", f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses")["items"] == []


def test_kserve_refuses_a_name_that_cannot_be_a_host(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError, match=r"admission webhook .*kserve.* denied the request"):
        cluster.api.apply(inference_service("9-films", {"name": "kserve-container", "image": BUSYBOX_IMAGE}))


def test_istiod_refuses_a_route_whose_weights_it_cannot_split(cluster: Cluster, namespace: str) -> None:
    routes = [{"destination": {"host": "a"}, "weight": -5}, {"destination": {"host": "b"}, "weight": 105}]
    with pytest.raises(ApiError, match=r"admission webhook .*istio.* denied the request"):
        cluster.api.apply(istio("VirtualService", "bad", {"hosts": ["*"], "http": [{"route": routes}]}))


def test_a_gateway_that_istiod_injects_serves_what_the_route_says(cluster: Cluster, service: str) -> None:
    selector = {"istio": "test-gateway"}
    cluster.api.apply(gateway_deployment(selector))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    metadata = {"name": "test-gateway", "namespace": NAMESPACE}
    made = cluster.api.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector, "ports": ports}}
    )
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    cluster.api.apply(istio("Gateway", "test", {"selector": selector, "servers": servers}))
    host = f"{service}.{NAMESPACE}.svc.cluster.local"
    http = [{"route": [{"destination": {"host": host, "port": {"number": 80}}}]}]
    cluster.api.apply(istio("VirtualService", "routed", {"hosts": ["*"], "gateways": ["test"], "http": http}))
    wait_available(cluster, NAMESPACE, "test-gateway")
    url = f"http://{made['spec']['clusterIP']}/"
    poll("the gateway answering by the route", lambda: answer(url) == "films-v1\n", SECONDS)


def gateway_deployment(selector: dict[str, str]) -> dict[str, Any]:
    """A Deployment that istiod's webhook fills in, as Istio's own gateway chart makes it."""
    labels = selector | {"sidecar.istio.io/inject": "true"}
    container = {
        "name": "istio-proxy",
        "image": "auto",
        # Without it the API server's default for an image without a tag, Always, comes before istiod's webhook.
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "allowPrivilegeEscalation": False},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "test-gateway", "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}},
                "spec": {"containers": [container]},
            },
        },
    }


def answer(url: str) -> str | None:
    """What a server answers, None while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=2) as opened:
            text: str = opened.read().decode()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None
    return text
