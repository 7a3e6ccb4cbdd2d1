"""The Envoy filters that keep each user with one variant: the same buckets as the local gateway, on any Istio gateway.

Here: the filters as manifests, which never change with a release; the chart installs them. Not here: the routes.
How it works: a route names header and salt in the name of one of its entries (split.py). The program below computes
the user's bucket from them, as platform/local/bucket.py does, and has the route looked up again; the split then takes
the bucket in place of a random number. The canary stands first and so has the lowest buckets: growing its weight moves
users to it, and never back.
"""

from __future__ import annotations

from typing import Any, Final

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import Manifest
from recsys_assets.platform.kubernetes.kinds import ENVOY_FILTERS
from recsys_assets.platform.kubernetes.split import SALT_ENTRY, SPLIT_ENTRY, WELL_KNOWN_ENTRY
from recsys_assets.platform.local.bucket import BUCKET_HEADER, BUCKETS, INTERNAL_HEADERS, LUA, filled

# On the answer of the well-known path: this gateway runs the program.
STICKY_HEADER: Final = "x-recsys-sticky"
STICKY_VALUE: Final = "fnv1a"
_LUA_TYPE: Final = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
_MANAGER: Final = "envoy.filters.network.http_connection_manager"

# Only the routine that computes the bucket is taken over; where salt and header come from differs.
_PROGRAM: Final = """
local function unhex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local twice = sent_twice(headers)
  if twice then headers:remove("%(visitor)s") end
  if twice or headers:get("%(bucket)s") ~= nil then
    headers:remove("%(bucket)s")
    handle:clearRouteCache()
    handle:metadata()
  end
  %(strip)s
  local name = handle:streamInfo():routeName()
  local header, salt = name:match("^%(salt)s%.(%x+)%.(%x+)$")
  if header == nil then return end
  local user = headers:get(unhex(header))
  if user == nil then return end
  headers:replace("%(bucket)s", tostring(bucket(unhex(salt) .. ":" .. user)))
  handle:clearRouteCache()
end

function envoy_on_response(handle)
  if handle:streamInfo():routeName() == "%(well_known)s" then
    handle:headers():replace("%(sticky)s", "%(value)s")
  end
end
"""


def program() -> str:
    """The Lua source. Clients' own internal headers are dropped, the bucket before the route is looked up at all."""
    strip = " ".join(f'headers:remove("{name}")' for name in INTERNAL_HEADERS if name != BUCKET_HEADER)
    words = {
        "%(buckets)d": str(BUCKETS),
        "%(strip)s": strip,
        "%(bucket)s": BUCKET_HEADER,
        "%(salt)s": SALT_ENTRY.replace("-", "%-"),
        "%(well_known)s": WELL_KNOWN_ENTRY,
        "%(sticky)s": STICKY_HEADER,
        "%(value)s": STICKY_VALUE,
    }
    return filled(LUA.partition("function envoy_on_request")[0] + _PROGRAM.lstrip(), words)


def envoy_filters(settings: KubernetesSettings) -> list[Manifest]:
    """Everything that the gateway's Envoys need besides routes. The same for every model and every release."""
    return [
        _filter(settings, "recsys-sticky-bucket", _bucket_patch()),
        _filter(settings, "recsys-sticky-split", _split_patch()),
    ]


def _filter(settings: KubernetesSettings, name: str, patch: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": ENVOY_FILTERS.api_version,
        "kind": ENVOY_FILTERS.kind,
        "metadata": {"name": name, "namespace": settings.gateway_namespace},
        "spec": {"workloadSelector": {"labels": dict(settings.gateway.labels)}, "configPatches": [patch]},
    }


def _bucket_patch() -> dict[str, Any]:
    """First of all filters, so that no other one sees what a client set in our name."""
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {"name": _MANAGER}}}},
        "patch": {
            "operation": "INSERT_FIRST",
            "value": {
                "name": "recsys.sticky",
                "typed_config": {"@type": _LUA_TYPE, "default_source_code": {"inline_string": program()}},
            },
        },
    }


def _split_patch() -> dict[str, Any]:
    """Only the entry of that name always has weighted clusters; merged into a plain one this would break it."""
    return {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": SPLIT_ENTRY}}}},
        "patch": {
            "operation": "MERGE",
            "value": {"route": {"weighted_clusters": {"header_name": BUCKET_HEADER}}},
        },
    }
