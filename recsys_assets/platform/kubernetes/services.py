"""InferenceServices and DestinationRules as the cluster stores them, and back.

Here: pure dressing and undressing of their specs. Not here: metadata (record.py), routes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.kubernetes.kinds import SPEC_ANNOTATION
from recsys_assets.platform.kubernetes.record import digest

Spec = dict[str, Any]
_SUFFIX: Final = "-predictor"
# uvicorn closes an idle connection after 5 s; leaving first avoids a request that meets the closing. Three retries at
# once, as is usual, are too few when a server dies under load.
CONNECTIONS: Final[Mapping[str, Any]] = {"http": {"idleTimeout": "4s", "maxRetries": 1024}}


def host_of(settings: KubernetesSettings, service: str) -> str:
    """`films-v1` is its Service's full name; what has a dot already is somebody's own choice."""
    return service if "." in service else settings.service_host(service)


def service_of(settings: KubernetesSettings, host: str) -> str:
    """The plain name again, where the host is one of ours."""
    name, _, place = host.partition(".")
    ours = name.endswith(_SUFFIX) and host == settings.service_host(name.removesuffix(_SUFFIX))
    return name.removesuffix(_SUFFIX) if ours and place else host


def dressed_service(written: Mapping[str, Any]) -> Spec:
    """The spec with a digest of itself, which KServe hands on to the pods: so they tell what they were made from."""
    spec: Spec = copy.deepcopy(dict(written))
    annotations = spec["predictor"].get("annotations") or {}
    spec["predictor"]["annotations"] = {**annotations, SPEC_ANNOTATION: digest(written)}
    return spec


def undressed_service(stored: Mapping[str, Any]) -> Spec:
    spec: Spec = copy.deepcopy(dict(stored))
    predictor = spec.get("predictor") or {}
    annotations = predictor.get("annotations") or {}
    annotations.pop(SPEC_ANNOTATION, None)
    if not annotations:
        predictor.pop("annotations", None)
    return spec


def dressed_rule(settings: KubernetesSettings, written: Mapping[str, Any]) -> Spec:
    """Full host name, and how long a connection may stand idle, where the writer did not say it."""
    spec: Spec = copy.deepcopy(dict(written))
    spec["host"] = host_of(settings, spec["host"])
    policy = spec.setdefault("trafficPolicy", {})
    policy.setdefault("connectionPool", copy.deepcopy(dict(CONNECTIONS)))
    return spec


def undressed_rule(settings: KubernetesSettings, stored: Mapping[str, Any]) -> Spec:
    spec: Spec = copy.deepcopy(dict(stored))
    spec["host"] = service_of(settings, str(spec.get("host", "")))
    policy = spec.get("trafficPolicy") or {}
    if policy.get("connectionPool") == CONNECTIONS:
        del policy["connectionPool"]
    if not policy:
        spec.pop("trafficPolicy", None)
    return spec
