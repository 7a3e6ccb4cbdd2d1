"""Envoy clusters: one per InferenceService, one per canary that falls back to stable, one for the collector.

Here: pure translation of services and DestinationRules to CDS and EDS resources. Not here: routes, files.
"""

from __future__ import annotations

from typing import Any, Final

from recsys_assets.platform.interface import Manifest

Resource = dict[str, Any]

COLLECTOR: Final = "collector"
READY_PATH: Final = "/v2/health/ready"
METADATA: Final = "recsys"
TYPE: Final = "type.googleapis.com/"
_MANY: Final = 10_000


def fallback_name(canary: str, stable: str) -> str:
    """The cluster of a canary whose dead server's requests stable answers. `|` stands in no service's name."""
    return f"{canary}|{stable}"


def assignment(service: str, host: str, port: int | None) -> Resource:
    """Where a service answers, as EDS; no endpoint at all where it has no port yet."""
    endpoints = [] if port is None else [_endpoint(host, port) | _named(service)]
    return {
        "@type": TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": service,
        "endpoints": [{"lb_endpoints": endpoints}],
    }


def service_cluster(service: str, *, eds_path: str, rule: Manifest | None) -> Resource:
    """A service: checked actively, put aside when it does not even answer, never for an answer of 5xx.

    An answer of 5xx is the canary's own and must be counted; only a DestinationRule may ask for ejection on it.
    """
    return {
        **_common(service),
        "type": "EDS",
        "eds_cluster_config": {
            "service_name": service,
            "eds_config": {"path_config_source": {"path": eds_path}, "resource_api_version": "V3"},
        },
        # An endpoint that was replaced stays until it fails its checks, so that its successor can first pass them.
        "ignore_health_on_host_removal": False,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": READY_PATH},
            }
        ],
        "outlier_detection": _outliers(rule),
    }


def fallback_cluster(canary: str, stable: str) -> Resource:
    """Canary while it is healthy, else stable."""
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": fallback_name(canary, stable),
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": _breakers(),
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": TYPE + "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [canary, stable],
            },
        },
    }


def collector_cluster(host: str, port: int) -> Resource:
    return {
        **_common(COLLECTOR),
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [{"lb_endpoints": [_endpoint(host, port)]}],
        },
    }


def _common(name: str) -> Resource:
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": _breakers(),
        # uvicorn closes an idle connection after 5 s; leaving first avoids a request that meets the closing.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "4s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _breakers() -> Resource:
    # The defaults let 3 retries be under way at once: too few when a server dies under load.
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _MANY)
    return {"thresholds": [{"priority": "DEFAULT", **limits}]}


def _endpoint(host: str, port: int) -> Resource:
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}


def _named(service: str) -> Resource:
    """The service's name on its endpoint: behind a fallback only the endpoint tells who answered."""
    return {"metadata": {"filter_metadata": {METADATA: {"service": service}}}}


def _outliers(rule: Manifest | None) -> Resource:
    policy = ((rule or {}).get("spec", {}).get("trafficPolicy") or {}).get("outlierDetection") or {}
    five_hundreds = int(policy.get("consecutive5xxErrors", 0))
    gateway_errors = int(policy.get("consecutiveGatewayErrors", 0))
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_success_rate": 0,
        "consecutive_5xx": five_hundreds or 5,
        "enforcing_consecutive_5xx": 100 if five_hundreds else 0,
        "consecutive_gateway_failure": gateway_errors or 5,
        "enforcing_consecutive_gateway_failure": 100 if gateway_errors else 0,
        "interval": policy.get("interval", "1s"),
        "base_ejection_time": policy.get("baseEjectionTime", "2s"),
        "max_ejection_percent": int(policy.get("maxEjectionPercent", 100)),
    }
