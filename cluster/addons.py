"""What is installed on the bare node: CoreDNS, KServe and Istio, each at the version of its Go module.

Here: charts rendered by helm, with what this machine cannot give taken out by name. Not here: the product's own chart.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.api import YAML, ApiError
from cluster.build import ensure_built
from cluster.charts import ISTIO_CHARTS, KSERVE_CHARTS, helm, install_definitions
from cluster.cluster import Cluster
from cluster.coredns import coredns_manifests
from cluster.part_images import ISTIO_HUB, KSERVE_IMAGE, istio_archives, kserve_archives
from cluster.pki import Authority
from cluster.processes import poll, run
from cluster.versions import APISERVER, ISTIO_AGENT, ISTIOD, KSERVE_MANAGER

READY_SECONDS = 600.0
KSERVE_NAMESPACE = "kserve"
ISTIO_NAMESPACE = "istio-system"
WEBHOOK_SECRET = "kserve-webhook-server-cert"  # noqa: S105  the name of a Secret
WEBHOOK_HOST = f"kserve-webhook-server-service.{KSERVE_NAMESPACE}.svc"

Document = dict[str, Any]


def install_coredns(cluster: Cluster) -> None:
    """CoreDNS at the address that kubelet writes into every pod."""
    for document in coredns_manifests(cluster.layout.dns_address):
        cluster.api.apply(document)
    wait_available(cluster, "kube-system", "coredns")


def install_kserve(cluster: Cluster, values: Sequence[Path]) -> None:
    """KServe's manager and its webhooks, by its chart with `values` over it."""
    ensure_built([KSERVE_MANAGER])
    _import(cluster, kserve_archives())
    install_definitions(cluster.api, "kserve")
    _make_namespace(cluster, KSERVE_NAMESPACE)
    image, tag = KSERVE_IMAGE.rsplit(":", 1)
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    controller = {"image": image, "tag": tag, "imagePullPolicy": "IfNotPresent", "resources": small}
    ours = {"kserve": {"certManager": {"enabled": False}, "controller": controller}}
    chart = KSERVE_CHARTS.path() / "kserve-resources"
    documents = render(chart, "kserve", KSERVE_NAMESPACE, values, ours)
    authority = Authority(cluster.state / "pki-kserve", "kserve-webhooks")
    for document in [_webhook_secret(authority), *_without_cert_manager(documents, authority)]:
        cluster.api.apply(document, KSERVE_NAMESPACE)
    wait_available(cluster, KSERVE_NAMESPACE, "kserve-controller-manager")
    poll("KServe's webhooks answering", lambda: _webhook_answers(cluster), READY_SECONDS)


def install_istio(cluster: Cluster, values: Sequence[Path]) -> None:
    """istiod by its chart, with `values` over it; its webhook has checked a manifest once this returns."""
    ensure_built([ISTIOD, ISTIO_AGENT])
    _import(cluster, istio_archives())
    install_definitions(cluster.api, "istio", "gateway-api")
    _make_namespace(cluster, ISTIO_NAMESPACE)
    ours = {
        "autoscaleEnabled": False,
        "replicaCount": 1,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "global": {"hub": ISTIO_HUB, "tag": ISTIOD.version, "imagePullPolicy": "IfNotPresent"},
    }
    base = render(ISTIO_CHARTS.path() / "base", "istio-base", ISTIO_NAMESPACE, [], {})
    # The definitions are there; the base chart's policies and accounts are not.
    documents = [each for each in base if each["kind"] != "CustomResourceDefinition"]
    documents += render(
        ISTIO_CHARTS.path() / "istio-control" / "istio-discovery", "istiod", ISTIO_NAMESPACE, values, ours
    )
    for document in documents:
        cluster.api.apply(document, ISTIO_NAMESPACE)
    wait_available(cluster, ISTIO_NAMESPACE, "istiod")
    poll("istiod taking over its webhook", lambda: _validation_fails_closed(cluster), READY_SECONDS)


def render(
    chart: Path, release: str, namespace: str, values: Iterable[Path], overrides: Mapping[str, object]
) -> list[Document]:
    """The chart's documents, with `overrides` over the files of `values`; definitions and accounts first."""
    files = [word for path in values for word in ("--values", str(path))]
    command: list[str | Path] = [
        helm(),
        "template",
        release,
        chart,
        "--namespace",
        namespace,
        "--kube-version",
        APISERVER.version,
    ]
    rendered = run([*command, *files, "--values", "-"], stdin=yaml.safe_dump(dict(overrides)))
    documents = [each for each in yaml.load_all(rendered, YAML) if each]
    order = ("CustomResourceDefinition", "Namespace", "ServiceAccount", "Secret", "ConfigMap")
    return sorted(documents, key=lambda each: order.index(each["kind"]) if each["kind"] in order else len(order))


def wait_available(cluster: Cluster, namespace: str, deployment: str) -> None:
    """Wait until a Deployment has all its replicas available in its present generation."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"

    def available() -> bool:
        found = cluster.api.request("GET", path)
        status = found.get("status", {})
        observed = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(observed and status.get("availableReplicas", 0) >= found["spec"]["replicas"])

    poll(f"the Deployment {namespace}/{deployment} being available", available, READY_SECONDS)


def _import(cluster: Cluster, archives: Iterable[Path]) -> None:
    for archive in archives:
        cluster.import_image(archive)


def _make_namespace(cluster: Cluster, name: str) -> None:
    cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _webhook_secret(authority: Authority) -> Document:
    pair = authority.issue("webhook", WEBHOOK_HOST, hosts=[WEBHOOK_HOST, f"{WEBHOOK_HOST}.cluster.local"])
    data = {
        "tls.crt": base64.b64encode(pair.certificate.read_bytes()).decode("ascii"),
        "tls.key": base64.b64encode(pair.key.read_bytes()).decode("ascii"),
    }
    metadata = {"name": WEBHOOK_SECRET, "namespace": KSERVE_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}


def _without_cert_manager(documents: Iterable[Document], authority: Authority) -> list[Document]:
    """KServe's chart leaves its webhooks' certificates to cert-manager, which is not here: ours take their place.

    The proxy in front of the manager's metrics goes too: it is an image of others, and nobody reads metrics here.
    """
    bundle = base64.b64encode(authority.pem).decode("ascii")
    kept = [each for each in documents if not each["apiVersion"].startswith("cert-manager.io/")]
    kept = [each for each in kept if each["metadata"]["name"] != WEBHOOK_SECRET]
    for document in kept:
        for webhook in document.get("webhooks", []):
            webhook["clientConfig"]["caBundle"] = bundle
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            pod["containers"] = [each for each in pod["containers"] if each["name"] != "kube-rbac-proxy"]
    return kept


def _webhook_answers(cluster: Cluster) -> bool:
    """Whether KServe's webhook refuses a name that the definition lets pass, with a reason of its own."""
    path = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices?dryRun=All"
    container = {"name": "kserve-container", "image": "localhost/none:1"}
    wrong = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "9starts-with-a-digit", "namespace": "default"},
        "spec": {"predictor": {"containers": [container]}},
    }
    try:
        cluster.api.request("POST", path, yaml.safe_dump(wrong), "application/yaml")
    except ApiError as error:
        return "admission webhook" in str(error) and "denied the request" in str(error)
    return False


def _validation_fails_closed(cluster: Cluster) -> bool:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/istio-validator-istio-system"
    webhooks = cluster.api.request("GET", path)["webhooks"]
    return all(each["failurePolicy"] == "Fail" and each["clientConfig"].get("caBundle") for each in webhooks)
