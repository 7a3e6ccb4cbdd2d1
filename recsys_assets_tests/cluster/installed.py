"""Our chart on a test cluster: what must be there before it, and the chart itself through helm's templates.

Here: namespace, shared volume, secrets and the objects of `charts/recsys-assets` with a plain gateway. Not here: what a
release makes, or Dagster.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from cluster.cluster import Cluster
from cluster.processes import poll
from recsys_assets_tests.charts.house import CASES, CHART, VALUES, Document, load, merged
from recsys_assets_tests.charts.render import CLUSTER_KNOWS, run_helm

NAMESPACE = "recsys"
CLAIM = "recsys-shared"
USER = 10001
READY_SECONDS = 900.0
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True)
class Installed:
    """The chart in its namespace, with the shared volume as a folder of this machine."""

    cluster: Cluster
    home: Path

    @property
    def gateway(self) -> str:
        """The gateway's Service, reachable from this process."""
        service = self.get("", "services", "recsys-gateway")
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def get(self, group: str, plural: str, name: str = "") -> dict[str, Any]:
        prefix = f"/apis/{group}" if group else "/api/v1"
        tail = f"/{name}" if name else ""
        found: dict[str, Any] = self.cluster.api.request("GET", f"{prefix}/namespaces/{NAMESPACE}/{plural}{tail}")
        return found

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of one part that are not about to go."""
        found: list[dict[str, Any]] = self.get("", f"pods?labelSelector=app.kubernetes.io/component={component}")[
            "items"
        ]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def is_available(self, deployment: str) -> bool:
        found = self.get("apps/v1", "deployments", deployment)
        status = found.get("status", {})
        is_current = status.get("observedGeneration") == found["metadata"]["generation"]
        wanted = found["spec"]["replicas"]
        return bool(is_current and status.get("availableReplicas") == status.get("updatedReplicas") == wanted)

    def wait_available(self, *deployments: str) -> None:
        for deployment in deployments:
            poll(f"the Deployment {deployment}", lambda name=deployment: self.is_available(name), READY_SECONDS)


def install(
    cluster: Cluster,
    home: Path,
    *,
    image: str,
    settings: Mapping[str, Any],
    values: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
) -> Installed:
    """Apply everything. `home` becomes the shared volume; `settings` and `values` are laid over the plain case.

    None takes what the example says away.
    """
    cluster.api.apply(_namespace())
    for document in [*_volume(home), *(_secret(name, entries) for name, entries in secrets.items())]:
        cluster.api.apply(document)
    repository, _, tag = image.rpartition(":")
    ours = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "settings": settings,
        "gateway": {"resources": SMALL, "logs": {"resources": SMALL, "keepDays": 1}},
        **{part: {"resources": SMALL} for part in ("guard", "collector", "notifier", "mlflow")},
    }
    layers = [load(path) for path in (VALUES / "recsys-assets.yaml", CASES / "keys.yaml", CASES / "plain.yaml")]
    file = home.parent / "chart-values.yaml"
    file.write_text(yaml.safe_dump(_without_none(reduce(merged, [*layers, ours, values]))), encoding="utf-8")
    knows = [word for api in CLUSTER_KNOWS for word in ("--api-versions", api)]
    cluster.api.apply_text(run_helm("template", "recsys", str(CHART), files=[file], more=knows), NAMESPACE)
    return Installed(cluster, home)


def _without_none(values: Document) -> Document:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _volume(home: Path) -> list[dict[str, Any]]:
    """A folder of this machine in place of a network file system: one node, so all pods share it."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.chown(home, USER, USER)
    sizes = {"storage": "5Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": CLAIM},
        "spec": {
            "capacity": sizes,
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": {"path": str(home), "type": "Directory"},
            "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": CLAIM,
            "resources": {"requests": sizes},
        },
    }
    return [volume, claim]


def _secret(name: str, entries: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}
