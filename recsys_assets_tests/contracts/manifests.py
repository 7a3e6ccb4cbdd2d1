"""Small literal manifests for tests: a model `films` with versions `films-v1`, `films-v2`...

Here: valid documents. Not here: what the product writes (`serving/manifests.py`, `rollout/route.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]


def inference_service(name: str, *, command: Sequence[str] = ("sleep",), args: Sequence[str] = ("60",)) -> Manifest:
    """`films-v1` says in its labels that it is version 1 of films."""
    model, _, version = name.rpartition("-v")
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "labels": {"model": model, "model_version": version},
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": {
            "predictor": {
                "containers": [
                    {"name": "kserve-container", "image": "films", "command": list(command), "args": list(args)}
                ]
            }
        },
    }


def virtual_service(
    weights: Mapping[str, int], *, shadow: str | None = None, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """The route `films`; services in the order given, so the canary first."""
    route = [{"destination": {"host": host}, "weight": weight} for host, weight in weights.items()]
    rule: Manifest = {"route": route}
    if shadow is not None:
        rule |= {"mirror": {"host": shadow}, "mirrorPercentage": {"value": 100.0}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "films", "annotations": dict(annotations or {})},
        "spec": {"hosts": ["films"], "http": [rule]},
    }


def destination_rule(name: str) -> Manifest:
    outliers = {"consecutiveGatewayErrors": 5, "interval": "1s", "baseEjectionTime": "5s", "maxEjectionPercent": 100}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name},
        "spec": {"host": name, "trafficPolicy": {"outlierDetection": outliers}},
    }
