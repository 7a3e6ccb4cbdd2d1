"""Whether the cluster has what a release needs: namespace, kinds, gateway. On a cluster the chart starts everything.

Here: looking, and naming all that is missing at once. Not here: installing any of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import Missing, NotFound
from recsys_assets.platform.kubernetes.client import ApiServer
from recsys_assets.platform.kubernetes.errors import Target
from recsys_assets.platform.kubernetes.kinds import SERVICES, Resource, gateways, stored_as

NAMESPACES = Resource("Namespace", "", "v1", "namespaces")


def require_installed(settings: KubernetesSettings, server: ApiServer | None = None) -> None:
    """Raises Missing that names everything that is not there; Unavailable and Forbidden where one cannot look."""
    if missing := list(_missing(settings, server or ApiServer(settings))):
        raise Missing("Namespace", settings.namespace, f"not installed: {'; '.join(missing)}")


def _missing(settings: KubernetesSettings, server: ApiServer) -> Iterator[str]:
    namespace, gateway = settings.namespace, settings.gateway
    place = settings.gateway_namespace
    if not _is_there(server, NAMESPACES, f"/api/v1/namespaces/{namespace}", namespace):
        yield f"namespace {namespace}"
    kinds = {*stored_as(settings).values(), gateways(settings)}
    absent = {kind for kind in kinds if not _is_served(server, kind)}
    yield from sorted(f"CRD {kind.crd} of version {kind.version}" for kind in absent)
    wanted = [(SERVICES, gateway.service)]
    if gateways(settings) not in absent:
        wanted.append((gateways(settings), gateway.name))
    for resource, name in wanted:
        if not _is_there(server, resource, resource.path(place, name), name):
            yield f"{resource.kind} {place}/{name}"


def _is_there(server: ApiServer, resource: Resource, path: str, name: str) -> bool:
    try:
        server.read(Target(resource.kind, name, resource, name), path)
    except NotFound:
        return False
    return True


def _is_served(server: ApiServer, resource: Resource) -> bool:
    """By the list that the server shows to everybody: no right to read definitions is needed."""
    about = Target("APIResourceList", resource.api_version, resource, "")
    try:
        served = server.read(about, f"/apis/{resource.api_version}")
    except (NotFound, Missing):
        return False
    return any(each.get("name") == resource.plural for each in served.get("resources") or [])
