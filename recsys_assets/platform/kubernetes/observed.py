"""How far the cluster got with an object: asked of KServe, of the pods, and of the gateway's Envoys themselves.

Here: what is read for each kind, put into one status. Not here: reading it (pods.py, gateways.py), writing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import (
    INFERENCE_SERVICE,
    VIRTUAL_SERVICE,
    Invalid,
    NotFound,
    ServiceStatus,
)
from recsys_assets.platform.kubernetes.client import ApiServer
from recsys_assets.platform.kubernetes.dress import undressed
from recsys_assets.platform.kubernetes.errors import Target
from recsys_assets.platform.kubernetes.gateways import Ask, ask_pods, judged, pod_addresses
from recsys_assets.platform.kubernetes.kinds import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    INFERENCE_SERVICES,
    PODS,
    SERVICES,
    Resource,
)
from recsys_assets.platform.kubernetes.pods import progress
from recsys_assets.platform.kubernetes.split import Split, read_split
from recsys_assets.platform.validation import check_manifest

Document = dict[str, Any]
# KServe puts it on every pod of an InferenceService.
SERVICE_LABEL = "serving.kserve.io/inferenceservice"


class Observer:
    """Reads the cluster around one object."""

    def __init__(self, settings: KubernetesSettings, server: ApiServer, ask: Ask) -> None:
        self._settings, self._server, self._ask = settings, server, ask

    def status(self, kind: str, live: Document) -> ServiceStatus:
        if kind == INFERENCE_SERVICE:
            return self._service(live)
        if kind == VIRTUAL_SERVICE:
            return self._route(live)
        generation = int(live["metadata"]["generation"])
        return ServiceStatus(True, generation, generation, None, "stored; Istio tells nothing of such objects")

    def _service(self, live: Document) -> ServiceStatus:
        name, generation = live["metadata"]["name"], int(live["metadata"]["generation"])
        predictor = f"{name}-predictor"
        deployment = self._get(DEPLOYMENTS, predictor)
        pods = self._list(PODS, f"{SERVICE_LABEL}={name}") if deployment is not None else []
        seen = progress(live, deployment, pods)
        observed = generation if seen.is_observed else generation - 1
        reason = seen.reason if seen.is_observed else f"generation {generation} is not observed yet: {seen.reason}"
        return ServiceStatus(seen.is_ready, generation, observed, self._url(name) if seen.is_ready else None, reason)

    def _url(self, name: str) -> str:
        """Of the predictor's Service. A Service without an address leads to the pods, so their own port is asked."""
        found = self._get(SERVICES, f"{name}-predictor")
        place = f"http://{self._settings.service_host(name)}"
        if found is None or found["spec"].get("clusterIP") != "None":
            return place
        return f"{place}:{found['spec']['ports'][0]['targetPort']}"

    def _route(self, live: Document) -> ServiceStatus:
        generation = int(live["metadata"]["generation"])
        shown = undressed(self._settings, VIRTUAL_SERVICE, live)
        try:
            check_manifest(shown)
            split = read_split(shown)
        except Invalid as edited:
            return ServiceStatus(False, generation, generation, None, f"edited by hand: {edited.reason}")
        seen = judged(ask_pods(self._settings, self._gateway_pods(), self._ask), split)
        notes = [] if seen.is_current else [seen.reason]
        notes += self._unready(split)
        return ServiceStatus(
            ready=not notes,
            generation=generation,
            observed_generation=generation if seen.is_current else generation - 1,
            url=self._settings.gateway_url,
            reason="; ".join(notes) or seen.reason,
            weights=MappingProxyType(dict(seen.weights)),
        )

    def _unready(self, split: Split) -> list[str]:
        """The services that get users or copies, but do not serve."""
        wanted = {arm.service: arm.variant for arm in split.arms if arm.weight_bp}
        if split.shadow:
            wanted.setdefault(split.shadow, "shadow")
        notes = []
        for service, role in wanted.items():
            live = self._get(INFERENCE_SERVICES, service)
            status = None if live is None else self._service(live)
            if status is None:
                notes.append(f"{role} {service} is absent")
            elif not status.ready:
                notes.append(f"{role} {service} is not ready ({status.reason})")
        return notes

    def _gateway_pods(self) -> dict[str, str]:
        gateway, namespace = self._settings.gateway, self._settings.gateway_namespace
        service = self._get(SERVICES, gateway.service, namespace)
        if service is None:
            return {}
        ports: list[Document] = service["spec"].get("ports") or []
        port = next((p for p in ports if p["port"] == gateway.port), {})
        slices = self._list(ENDPOINT_SLICES, f"kubernetes.io/service-name={gateway.service}", namespace)
        return pod_addresses(slices, port.get("name"))

    def _get(self, resource: Resource, name: str, namespace: str | None = None) -> Document | None:
        place = namespace or self._settings.namespace
        target = Target(resource.kind, name, resource, place)
        try:
            return self._server.read(target, resource.path(place, name))
        except NotFound:
            return None

    def _list(self, resource: Resource, labels: str, namespace: str | None = None) -> list[Mapping[str, Any]]:
        place = namespace or self._settings.namespace
        target = Target(resource.kind, labels, resource, place)
        answer = self._server.read(target, resource.path(place), {"labelSelector": labels})
        return [item for item in answer.get("items") or [] if isinstance(item, dict)]
