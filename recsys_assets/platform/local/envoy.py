"""From manifests to Envoy: LDS, CDS, RDS and EDS documents, as a pure function.

Here: putting the resources together, each document versioned by its own content. Not here: files, Envoy itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recsys_assets.platform.interface import Manifest
from recsys_assets.platform.local.envoy_clusters import (
    Resource,
    assignment,
    collector_cluster,
    fallback_cluster,
    service_cluster,
)
from recsys_assets.platform.local.envoy_listener import GatewayPlace, listener
from recsys_assets.platform.local.envoy_routes import route_configuration
from recsys_assets.platform.local.routing import EffectiveRoute, ServiceView, effective_route, service_of


@dataclass(frozen=True)
class GatewayDocuments:
    """The discovery responses (`eds` by service) and the effective routes that they carry out."""

    lds: Resource
    cds: Resource
    rds: Resource
    eds: Mapping[str, Resource]
    routes: Sequence[EffectiveRoute]


def translate(
    virtual_services: Iterable[Manifest],
    destination_rules: Iterable[Manifest],
    services: Mapping[str, ServiceView],
    place: GatewayPlace,
) -> GatewayDocuments:
    """All documents for the services as they stand. The same input gives the same bytes."""
    routes = [effective_route(manifest, services) for manifest in virtual_services]
    rules = {service_of(rule["spec"]["host"]): rule for rule in destination_rules}
    # A stable that is gone keeps an empty cluster, so that a canary beside it still answers its own share.
    ports = {route.stable.service: None for route in routes} | {name: view.port for name, view in services.items()}
    names = sorted(ports)
    clusters = [collector_cluster(place.host, place.collector_port)]
    clusters += [
        service_cluster(name, eds_path=str(place.endpoints_file(name)), rule=rules.get(name)) for name in names
    ]
    pairs = {(r.canary.service, r.stable.service) for r in routes if r.canary is not None and r.refusal is None}
    clusters += [fallback_cluster(canary, stable) for canary, stable in sorted(pairs)]
    return GatewayDocuments(
        lds=response([listener(place)]),
        cds=cluster_response(clusters),
        rds=response([route_configuration(routes)]),
        eds={name: response([assignment(name, place.host, ports[name])]) for name in names},
        routes=routes,
    )


def cluster_response(clusters: Iterable[Resource]) -> Resource:
    """Clusters in the order of their names: where only the order changes, Envoy goes on with its old version."""
    return response(sorted(clusters, key=lambda cluster: str(cluster["name"])))


def response(resources: Sequence[Resource]) -> Resource:
    """A discovery response whose version is the digest of what it says: seeing it at Envoy proves that it was taken."""
    text = json.dumps(resources, sort_keys=True)
    return {"version_info": hashlib.sha256(text.encode()).hexdigest()[:16], "resources": list(resources)}
