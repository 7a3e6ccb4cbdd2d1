"""Envoy routes: recommendations split by bucket, feedback to the collector, questions about a model to stable.

Here: pure translation of effective routes to one RDS resource; everything else is refused with a reason. Not here: the
rule that made the routes, the paths (platform/paths.py), clusters, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recsys_assets import visitor_id
from recsys_assets.platform import paths
from recsys_assets.platform.local.bucket import BUCKET_HEADER, LUA_FILTER, VARIANT_HEADER
from recsys_assets.platform.local.envoy_clusters import COLLECTOR, TYPE, Resource, fallback_name
from recsys_assets.platform.local.routing import Arm, EffectiveRoute

ROUTE_CONFIG: Final = "gateway"
# A route whose requests are no recommendations: the log's reader leaves it out. No model has a dot in its name.
ABOUT: Final = "recsys.about"
# Only where no answer came: an answer of 5xx stands, or a failing canary would look healthy.
RETRY_ON: Final = "connect-failure,refused-stream,reset"
_POST: Final[Sequence[Resource]] = ({"name": ":method", "string_match": {"exact": "POST"}},)


def route_configuration(routes: Sequence[EffectiveRoute]) -> Resource:
    """All routes, in the order in which they are tried; what is asked of any server goes to the first one's stable."""
    entries = [_feedback()]
    for route in routes:
        recommendation = paths.recommendation(route.name)
        entries += [
            _recommend(route, recommendation),
            _refuse(_match(recommendation, _POST), 400, visitor_id.WHY_NOT),
            _refuse(_match(paths.pinned(route.name), _POST), 400, paths.PINNED),
            _about(route, _match(paths.about(route.name))),
            _about(route, _match(f"{recommendation}|{paths.pinned(route.name)}")),
        ]
    entries += [_about(route, _match(paths.SERVER)) for route in routes[:1]]
    entries.append(_refuse({"prefix": "/"}, *_nothing_else(routes)))
    return {
        "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "validate_clusters": True,
        "virtual_hosts": [{"name": ROUTE_CONFIG, "domains": ["*"], "routes": entries}],
    }


def _feedback() -> Resource:
    return {"name": "feedback", "match": _match(paths.FEEDBACK), "route": _plain(COLLECTOR, "10s")}


def _about(route: EffectiveRoute, match: Resource) -> Resource:
    if route.refusal is not None:
        return _refuse(match, 503, route.refusal)
    return {"name": ABOUT, "match": match, "route": _plain(route.stable.service, route.timeout)}


def _plain(cluster: str, timeout: str) -> Resource:
    return {"cluster": cluster, "timeout": timeout, "retry_policy": {"retry_on": RETRY_ON, "num_retries": 2}}


def _recommend(route: EffectiveRoute, regex: str) -> Resource:
    visitor = {"name": visitor_id.HEADER, "string_match": {"safe_regex": {"regex": visitor_id.PATTERN}}}
    match = _match(regex, [*_POST, visitor])
    if route.refusal is not None:
        return {"name": route.name, "match": match, **_direct(503, route.refusal)}
    return {
        "name": route.name,
        "match": match,
        "metadata": {"filter_metadata": {LUA_FILTER: {"salt": route.salt, "header": visitor_id.HEADER}}},
        "request_headers_to_remove": [BUCKET_HEADER],
        "route": _action(route),
    }


def _match(regex: str, headers: Sequence[Resource] = ()) -> Resource:
    return {"safe_regex": {"regex": regex}, "headers": list(headers)}


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


def _nothing_else(routes: Sequence[EffectiveRoute]) -> tuple[int, str]:
    if not routes:
        return 503, "no route is deployed yet"
    return 404, paths.known(", ".join(route.name for route in routes))


def _refuse(match: Resource, status: int, why: str) -> Resource:
    return {"name": "refused", "match": match, **_direct(status, why)}


def _direct(status: int, why: str) -> Resource:
    return {"direct_response": {"status": status, "body": {"inline_string": why}}}
