"""The KServe InferenceService of one model version, Standard mode: one service per version, promoted as it stands.

Here: the manifest as plain data. Not here: applying it (assets.py), routes and weights (the rollout room).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from recsys_assets.platform.interface import INFERENCE_SERVICE, MODEL_VERSION_ANNOTATION
from recsys_assets.records import ModelVersion
from recsys_assets.serving.faults import FAULTS
from recsys_assets.serving.pods import CONTAINER_PORT, Pod

DEPLOYMENT_MODE: Final = "serving.kserve.io/deploymentMode"
READY_PATH: Final = "/v2/health/ready"
# Kubernetes fills `$(PORT)` in from `env`; the local platform fills in the port it chose.
PORT: Final = "PORT"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - a pod's own network; policies say who may come


def inference_service(
    model: ModelVersion,
    *,
    role: str,
    bundle_path: PurePath,
    home: PurePath,
    python: str = "python",
    image: str = "recsys-assets",
    host: str | None = None,
    online_timeout_ms: float = 50.0,
    min_timeout_ms: float = 10.0,
    deadline_ms: float = 200.0,
    drills: bool = False,
    pod: Pod | None = None,
) -> dict[str, Any]:
    """The manifest. `role` says what the service was made for; what traffic it gets is the route's business alone.

    `host` is where the server listens: None means its own default, loopback. `drills` lets faults be switched on in
    the running server. On a cluster `pod` says where bundle and home are, and what surrounds the server; it is then
    the image's own Python that listens on all addresses.
    """
    arguments = _arguments(
        model,
        pod.bundle if pod else str(bundle_path),
        pod.home if pod else home,
        EVERYWHERE if pod else host,
        {"online-timeout-ms": online_timeout_ms, "min-timeout-ms": min_timeout_ms, "deadline-ms": deadline_ms},
    )
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": INFERENCE_SERVICE,
        "metadata": {
            "name": model.service_name,
            "labels": {**model.labels(), "role": role},
            "annotations": {
                DEPLOYMENT_MODE: "Standard",
                MODEL_VERSION_ANNOTATION: model.model_dump_json(),
                **(pod.annotations if pod else {}),
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 1,
                **(pod.predictor if pod else {}),
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": pod.image if pod else image,
                        "command": ["python" if pod else python, "-m", "recsys_assets.serving.server"],
                        "args": [*arguments, *(pod.arguments if pod else ()), *(["--drills"] if drills else [])],
                        **_container(pod),
                    }
                ],
            }
        },
    }


def _arguments(
    model: ModelVersion,
    bundle: str,
    home: PurePath,
    host: str | None,
    limits: Mapping[str, float],
) -> list[str]:
    arguments = ["--bundle", bundle, "--home", str(home), "--port", f"$({PORT})"]
    arguments += ["--service", model.service_name, "--digest", model.bundle_digest]
    for name, milliseconds in limits.items():
        arguments += [f"--{name}", f"{milliseconds:g}"]
    arguments += [] if host is None else ["--host", host]
    return [*arguments, "--fault", model.drill] if model.drill in FAULTS else arguments


def _container(pod: Pod | None) -> dict[str, Any]:
    return {
        "env": [
            {"name": PORT, "value": str(CONTAINER_PORT)},
            # One core a process; the libraries' own threads would only take each other's time.
            *({"name": name, "value": "1"} for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")),
            *(pod.environment if pod else ()),
        ],
        "ports": [{"name": "http1", "containerPort": CONTAINER_PORT, "protocol": "TCP"}],
        "readinessProbe": _probe(period_seconds=2, failures=3),
        "livenessProbe": _probe(period_seconds=10, failures=6),
        # The endpoint goes before the process does, or a roll-out drops requests.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "2Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **(pod.container if pod else {}),
    }


def _probe(*, period_seconds: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": READY_PATH, "port": CONTAINER_PORT},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
