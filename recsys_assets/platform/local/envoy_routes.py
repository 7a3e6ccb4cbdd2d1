"""Envoy routes: recommendations split by bucket, feedback to the collector, everything else refused with a reason.

Here: pure translation of effective routes to one RDS resource. Not here: the rule that made them, clusters, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from recsys_assets.platform.local.bucket import BUCKET_HEADER, LUA_FILTER, VARIANT_HEADER
from recsys_assets.platform.local.envoy_clusters import COLLECTOR, TYPE, Resource, fallback_name
from recsys_assets.platform.local.routing import Arm, EffectiveRoute

ROUTE_CONFIG: Final = "gateway"
FEEDBACK_PATH: Final = "/v1/feedback"
# Only where no answer came: an answer of 5xx stands, or a failing canary would look healthy.
RETRY_ON: Final = "connect-failure,refused-stream,reset"


def route_configuration(routes: Sequence[EffectiveRoute]) -> Resource:
    """All routes, in the order in which they are tried."""
    entries = [_feedback()]
    for route in routes:
        for prefix in (f"/v1/models/{route.name}", f"/v2/models/{route.name}"):
            entries += [_recommend(route, prefix), _refuse(prefix, 400, _missing_header(route))]
    entries.append(_refuse("/", *_nothing_else(routes)))
    return {
        "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "validate_clusters": True,
        "virtual_hosts": [{"name": ROUTE_CONFIG, "domains": ["*"], "routes": entries}],
    }


def _feedback() -> Resource:
    return {
        "name": "feedback",
        "match": {"path": FEEDBACK_PATH},
        "route": {"cluster": COLLECTOR, "timeout": "10s", "retry_policy": {"retry_on": RETRY_ON, "num_retries": 2}},
    }


def _recommend(route: EffectiveRoute, prefix: str) -> Resource:
    visitor = {"name": route.header, "string_match": {"safe_regex": {"regex": ".+"}}}
    match = _match(prefix, [visitor])
    if route.refusal is not None:
        return {"name": route.name, "match": match, **_direct(503, route.refusal)}
    return {
        "name": route.name,
        "match": match,
        "metadata": {"filter_metadata": {LUA_FILTER: {"salt": route.salt, "header": route.header}}},
        "request_headers_to_remove": [BUCKET_HEADER],
        "route": _action(route),
    }


def _match(prefix: str, headers: list[Any]) -> Resource:
    # `/v1/models/a` must not take `/v1/models/ab`; `:predict` and `/infer` follow the name.
    regex = prefix.replace(".", "\\.") + "([:/].*)?"
    return {"safe_regex": {"regex": regex}, "headers": headers}


def _action(route: EffectiveRoute) -> Resource:
    arms = ([route.canary] if route.canary else []) + ([route.stable] if route.stable.weight_bp else [])
    action: Resource = {
        "weighted_clusters": {
            "clusters": [_weighted(arm, route) for arm in arms],
            "header_name": BUCKET_HEADER,
        },
        "timeout": route.timeout,
        "retry_policy": _retries(route),
    }
    if route.shadow is not None:
        share = {"numerator": round(route.shadow_pct * 10_000), "denominator": "MILLION"}
        mirror = {"cluster": route.shadow, "runtime_fraction": {"default_value": share}}
        action["request_mirror_policies"] = [mirror]
    return action


def _retries(route: EffectiveRoute) -> Resource:
    """Ask again elsewhere: at another endpoint, and for a canary that has none, at stable."""
    priorities, hosts = "envoy.retry_priorities.previous_priorities", "envoy.retry_host_predicates.previous_hosts"
    extensions = TYPE + "envoy.extensions.retry."
    previous_priorities = {
        "@type": extensions + "priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 1,
    }
    previous_hosts = {"@type": extensions + "host.previous_hosts.v3.PreviousHostsPredicate"}
    return {
        "retry_on": route.retries.get("retryOn", RETRY_ON),
        "num_retries": int(route.retries.get("attempts", 2)),
        "retry_priority": {"name": priorities, "typed_config": previous_priorities},
        "retry_host_predicate": [{"name": hosts, "typed_config": previous_hosts}],
        "host_selection_retry_max_attempts": 3,
    }


def _weighted(arm: Arm, route: EffectiveRoute) -> Resource:
    is_canary = arm is route.canary
    return {
        "name": fallback_name(arm.service, route.stable.service) if is_canary else arm.service,
        "weight": arm.weight_bp,
        "request_headers_to_add": [
            {
                "header": {"key": VARIANT_HEADER, "value": arm.variant},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _missing_header(route: EffectiveRoute) -> str:
    return f"header {route.header} is missing or empty: it names the visitor, whose variant it decides"


def _nothing_else(routes: Sequence[EffectiveRoute]) -> tuple[int, str]:
    if not routes:
        return 503, "no route is deployed yet"
    names = ", ".join(route.name for route in routes)
    return 404, f"known are /v1/models/<name>:predict and /v2/models/<name>/infer for {names}, and {FEEDBACK_PATH}"


def _refuse(prefix: str, status: int, why: str) -> Resource:
    match = {"prefix": "/"} if prefix == "/" else _match(prefix, [])
    return {"name": "refused", "match": match, **_direct(status, why)}


def _direct(status: int, why: str) -> Resource:
    return {"direct_response": {"status": status, "body": {"inline_string": why}}}
