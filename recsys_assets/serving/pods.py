"""What a model server's pod has on a cluster besides the server's command: identity, volumes, sizes and scaling.

Here: plain data from settings. Not here: the manifest around it (manifests.py), applying it, or any request. On one
machine there is no pod, and nothing of this is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from recsys_assets.kubernetes_settings import Autoscaling, KubernetesSettings, Resources
from recsys_assets.records import ModelVersion
from recsys_assets.settings import Settings

AUTOSCALER_CLASS: Final = "serving.kserve.io/autoscalerClass"
USER_ID: Final = 10_001
CACHE: Final = PurePosixPath("/var/run/recsys/bundle")
KEYS: Final = PurePosixPath("/etc/recsys/keys")
POD_NAME: Final = "POD_NAME"
CONTAINER_PORT: Final = 8080
# Istio's agent gives out the server's numbers with its own (port 15020) only where the pod names them when it is
# injected; a Prometheus that looks for annotations finds them by the same ones outside the mesh.
SCRAPED: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(CONTAINER_PORT),
    "prometheus.io/path": "/metrics",
}
# Requests that this one version answered, by all of its replicas; probes of our own are none.
_REQUESTS: Final = 'sum(rate(recsys_requests_total{model="%s",model_version="%s",variant!="direct"}[1m]))'


@dataclass(frozen=True)
class Pod:
    """What is laid over the manifest of one model version. `arguments` go to the server."""

    image: str
    bundle: str
    home: PurePosixPath
    arguments: tuple[str, ...] = ()
    environment: tuple[Mapping[str, Any], ...] = ()
    container: Mapping[str, Any] = field(default_factory=dict)
    predictor: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def pod_of(model: ModelVersion, settings: Settings, *, bundle: str) -> Pod | None:
    """The pod of this version by the settings, None where there are no pods; `bundle` is where the store keeps it."""
    if settings.platform != "kubernetes":
        return None
    kubernetes, home = settings.kubernetes, PurePosixPath(settings.home)
    scaled, class_ = _scaling(model, kubernetes.autoscaling)
    return Pod(
        image=kubernetes.image,
        bundle=bundle,
        home=home,
        arguments=_arguments(settings),
        environment=_environment(settings),
        container={
            "imagePullPolicy": kubernetes.image_pull_policy,
            "envFrom": [{"secretRef": {"name": name}} for name in kubernetes.model_environment_secrets],
            "volumeMounts": _mounts(home),
            # The pods that prove themselves as the canary are those that serve everybody later, so this size is for
            # the champion; that a canary has less to do shows in how many of them there are.
            "resources": _resources(kubernetes.sizes("stable")),
            # Fetching and proving a bundle takes its time; only after it may the other probes judge.
            "startupProbe": _startup(settings.serving.ready_timeout_seconds),
        },
        predictor={**scaled, **_pod(model, kubernetes)},
        annotations={AUTOSCALER_CLASS: class_},
    )


def _arguments(settings: Settings) -> tuple[str, ...]:
    fetched = ("--bundle-cache", str(CACHE)) if settings.stores.bundles else ()
    keys = ("--public-key", str(KEYS / "bundle_signing.pub"), "--attestation-key", str(KEYS / "release_signing.pub"))
    online = ("--online-store", settings.stores.online) if settings.stores.online else ()
    secret = settings.stores.online_password_env
    password = ("--online-password-env", secret) if settings.stores.online and secret else ()
    return (*fetched, *keys, *online, *password, "--replica", f"$({POD_NAME})")


def _environment(settings: Settings) -> tuple[Mapping[str, Any], ...]:
    s3 = settings.stores.s3
    place = {"AWS_ENDPOINT_URL": s3.endpoint_url, "AWS_REGION": s3.region, "AWS_DEFAULT_REGION": s3.region}
    return (
        {"name": POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": name, "value": value} for name, value in place.items() if value),
    )


def _mounts(home: PurePosixPath) -> list[dict[str, Any]]:
    return [
        {"name": "home", "mountPath": str(home)},
        {"name": "bundle", "mountPath": str(CACHE)},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
        {"name": "public-keys", "mountPath": str(KEYS), "readOnly": True},
    ]


def _pod(model: ModelVersion, kubernetes: KubernetesSettings) -> dict[str, Any]:
    same = {"matchLabels": {"serving.kserve.io/inferenceservice": model.service_name}}
    pulled = [{"name": name} for name in kubernetes.image_pull_secrets]
    return {
        "annotations": dict(SCRAPED),
        "serviceAccountName": kubernetes.service_accounts.model,
        # It asks the cluster nothing, so that nobody who breaks into it can.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": kubernetes.home_claim}},
            {"name": "bundle", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "public-keys", "configMap": {"name": kubernetes.public_keys_config_map}},
        ],
        # Replicas of one version stand apart where they can; one that cannot is better than none.
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": same}
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        # A new generation of the service is there before the old one goes.
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        **({"imagePullSecrets": pulled} if pulled else {}),
    }


def _resources(sizes: Resources) -> dict[str, Any]:
    limits = {"cpu": sizes.cpu_limit, "memory": sizes.memory_limit}
    return {
        "requests": {"cpu": sizes.cpu, "memory": sizes.memory},
        "limits": {name: value for name, value in limits.items() if value is not None},
    }


def _startup(seconds: float) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/v2/health/ready", "port": CONTAINER_PORT},
        "periodSeconds": 1,
        "timeoutSeconds": 2,
        "failureThreshold": max(30, round(seconds)),
    }


def _scaling(model: ModelVersion, by: Autoscaling) -> tuple[dict[str, Any], str]:
    """Each version is a service, and so has an autoscaler of its own: KServe makes it from this and the class."""
    replicas = {"minReplicas": by.min_replicas, "maxReplicas": by.max_replicas}
    if by.metric == "cpu":
        return {**replicas, "scaleMetric": "cpu", "scaleTarget": by.target}, "hpa"
    if by.metric == "requests":
        metric = {
            "backend": "prometheus",
            "serverAddress": by.prometheus_url,
            "query": _REQUESTS % (model.name, model.version),
        }
        external = {"metric": metric, "target": {"type": "Value", "value": str(by.target)}}
        return {**replicas, "autoScaling": {"metrics": [{"type": "External", "external": external}]}}, "keda"
    return {"minReplicas": by.min_replicas, "maxReplicas": by.min_replicas}, "none"
