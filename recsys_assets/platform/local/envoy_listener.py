"""Envoy's own start: its bootstrap, and the one listener with its filters and access log.

Here: pure documents that depend on settings alone. Not here: anything that a release changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys_assets import visitor_id
from recsys_assets.platform import paths
from recsys_assets.platform.local.bucket import LUA_FILTER, lua_source
from recsys_assets.platform.local.envoy_clusters import METADATA, TYPE, Resource
from recsys_assets.platform.local.envoy_routes import ROUTE_CONFIG

MAX_REQUEST_BYTES: Final = 1 << 20
# Envoy refuses a pattern whose program is larger; its default of 100 is too small for an id of 256 characters. Istio's
# own proxies come with this value.
REGEX_LIMIT: Final = "re2.max_program_size.error_level"
MAX_REGEX: Final = 32_768
MALFORMED_HTTP: Final = (
    "malformed HTTP (%RESPONSE_CODE_DETAILS%): names of headers hold no underscore, their values no control character"
)
# For clients of HTTP/1.0 that name no host; nginx speaks 1.0 to what stands behind it unless told otherwise.
HTTP_10_HOST: Final = "recsys-gateway"
# The fields of columns.GATEWAY_REQUESTS and what tells recommendations from the rest.
ACCESS_LOG_FIELDS: Final = {
    "request_id": "%REQ(X-REQUEST-ID)%",
    "served_at": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
    "visitor_id": "%REQ(X-USER-ID)%",
    "variant": "%REQ(X-RECSYS-VARIANT)%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "service": f"%UPSTREAM_METADATA({METADATA}:service)%",
    "status": "%RESPONSE_CODE%",
    "duration_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "model_version": "%RESP(X-MODEL-VERSION)%",
    "rung": "%RESP(X-RECSYS-RUNG)%",
    "path": "%REQ(:PATH)%",
    "route": "%ROUTE_NAME%",
    "flags": "%RESPONSE_FLAGS%",
    "upstream": "%UPSTREAM_HOST%",
}


@dataclass(frozen=True)
class GatewayPlace:
    """Where the gateway listens and keeps its files."""

    host: str
    port: int
    admin_port: int
    collector_port: int
    folder: Path
    access_log: Path

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def endpoints_file(self, service: str) -> Path:
        return self.folder / "eds" / f"{service}.json"


def bootstrap(place: GatewayPlace) -> Resource:
    """What Envoy is started with; everything else it reads from files that are moved into place."""
    sources = {
        f"{kind}_config": {"path_config_source": {"path": str(place.file(kind))}, "resource_api_version": "V3"}
        for kind in ("lds", "cds")
    }
    return {
        "node": {"id": "gateway", "cluster": "recsys-assets"},
        "admin": {"address": _address(place.host, place.admin_port)},
        "dynamic_resources": sources,
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {REGEX_LIMIT: MAX_REGEX}}]},
    }


def listener(place: GatewayPlace) -> Resource:
    """The gateway's listener. Without port reuse, so that a second gateway on this port fails and does not share."""
    manager = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        "stream_idle_timeout": "30s",
        "common_http_protocol_options": {"idle_timeout": "60s", "headers_with_underscores_action": "REJECT_REQUEST"},
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": HTTP_10_HOST},
        "normalize_path": True,
        "merge_slashes": True,
        "server_name": "recsys-gateway",
        "rds": {
            "route_config_name": ROUTE_CONFIG,
            "config_source": {
                "path_config_source": {"path": str(place.file("rds"))},
                "resource_api_version": "V3",
            },
        },
        "http_filters": _filters(),
        "access_log": [_access_log(place.access_log)],
        "local_reply_config": _own_answers(),
    }
    name = "envoy.filters.network.http_connection_manager"
    return {
        "@type": TYPE + "envoy.config.listener.v3.Listener",
        "name": "gateway",
        "enable_reuse_port": False,
        "address": _address(place.host, place.port),
        "per_connection_buffer_limit_bytes": MAX_REQUEST_BYTES,
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    }


def _own_answers() -> Resource:
    """JSON for what the gateway answers by itself, and words of ours where Envoy has none."""
    too_large = {"status_code_filter": {"comparison": _equals(413, "recsys_too_large")}}
    no_route = {"response_flag_filter": {"flags": ["NR"]}}
    # What is not well-formed was not read as far as its path.
    no_http = {"header_filter": {"header": {"name": ":path", "present_match": True, "invert_match": True}}}
    unknown = f"{paths.known('the model')}. If it is one of the first two: {visitor_id.WHY_NOT}"
    return {
        "mappers": [
            {"filter": too_large, "body": {"inline_string": f"the body is larger than {MAX_REQUEST_BYTES} bytes"}},
            {"filter": no_route, "body": {"inline_string": unknown}},
            {"filter": no_http, "body_format_override": _error(MALFORMED_HTTP)},
        ],
        "body_format": _error("%LOCAL_REPLY_BODY%"),
    }


def _error(text: str) -> Resource:
    return {"json_format": {"error": text, "request_id": "%REQ(X-REQUEST-ID)%"}, "content_type": "application/json"}


def _equals(status: int, key: str) -> Resource:
    return {"op": "EQ", "value": {"default_value": status, "runtime_key": key}}


def _filters() -> list[Resource]:
    http = TYPE + "envoy.extensions.filters.http."
    return [
        {
            "name": LUA_FILTER,
            "typed_config": {
                "@type": http + "lua.v3.Lua",
                "default_source_code": {"inline_string": lua_source()},
            },
        },
        {
            "name": "envoy.filters.http.buffer",
            "typed_config": {"@type": http + "buffer.v3.Buffer", "max_request_bytes": MAX_REQUEST_BYTES},
        },
        {"name": "envoy.filters.http.router", "typed_config": {"@type": http + "router.v3.Router"}},
    ]


def _access_log(path: Path) -> Resource:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": ACCESS_LOG_FIELDS},
        },
    }


def _address(host: str, port: int) -> Resource:
    return {"socket_address": {"address": host, "port_value": port}}
