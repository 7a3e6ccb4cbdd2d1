"""Which Kubernetes resources the platform stores its manifests as, and the marks that it puts on them.

Here: names and paths. Not here: what stands in a manifest, any request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import ANNOTATION_PREFIX, DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE

FIELD_MANAGER: Final = "recsys-assets"
# On each object that a platform stored, so that a list names no object of somebody else.
STORED_LABEL: Final = ANNOTATION_PREFIX + "stored-by"
STORED_BY: Final = "platform"
# What the writer wrote, before it was dressed for the cluster.
WRITTEN_ANNOTATION: Final = ANNOTATION_PREFIX + "written"
# The same for an InferenceService. KServe copies its annotations onto the pods, so one that changes would start them
# anew; this is one of the few that it does not, whatever its configuration, and it means what kubectl means by it.
APPLIED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
# A digest of the written spec; KServe copies it onto the pods, which so tell what they were made from.
SPEC_ANNOTATION: Final = ANNOTATION_PREFIX + "spec"
HTTP_ROUTE: Final = "HTTPRoute"


@dataclass(frozen=True)
class Resource:
    """One kind as the API server serves it."""

    kind: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd(self) -> str:
        """The name of the CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"

    def path(self, namespace: str, name: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


SERVICES: Final = Resource("Service", "", "v1", "services")
PODS: Final = Resource("Pod", "", "v1", "pods")
DEPLOYMENTS: Final = Resource("Deployment", "apps", "v1", "deployments")
ENDPOINT_SLICES: Final = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
ISTIO_GATEWAYS: Final = Resource("Gateway", "networking.istio.io", "v1", "gateways")
API_GATEWAYS: Final = Resource("Gateway", "gateway.networking.k8s.io", "v1", "gateways")
INFERENCE_SERVICES: Final = Resource(INFERENCE_SERVICE, "serving.kserve.io", "v1beta1", "inferenceservices")
VIRTUAL_SERVICES: Final = Resource(VIRTUAL_SERVICE, "networking.istio.io", "v1", "virtualservices")
DESTINATION_RULES: Final = Resource(DESTINATION_RULE, "networking.istio.io", "v1", "destinationrules")
ENVOY_FILTERS: Final = Resource("EnvoyFilter", "networking.istio.io", "v1alpha3", "envoyfilters")
HTTP_ROUTES: Final = Resource(HTTP_ROUTE, "gateway.networking.k8s.io", "v1", "httproutes")


def stored_as(settings: KubernetesSettings) -> Mapping[str, Resource]:
    """The resource of each kind of the interface; the route is one of two, by the settings."""
    route = HTTP_ROUTES if settings.route == "gateway-api" else VIRTUAL_SERVICES
    return {INFERENCE_SERVICE: INFERENCE_SERVICES, VIRTUAL_SERVICE: route, DESTINATION_RULE: DESTINATION_RULES}


def gateways(settings: KubernetesSettings) -> Resource:
    """The kind of Gateway that the route hangs on."""
    return API_GATEWAYS if settings.route == "gateway-api" else ISTIO_GATEWAYS
