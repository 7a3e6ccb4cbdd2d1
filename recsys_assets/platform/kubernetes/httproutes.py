"""The route as a Gateway API HTTPRoute, and back to the VirtualService that the rooms write.

Here: pure translation, and a refusal of what an HTTPRoute has no place for. Not here: VirtualServices (routes.py).
What an HTTPRoute of the standard channel cannot do, and a VirtualService can: answer by itself (so a request without a
fit visitor gets a 404, whose words the chart's EnvoyFilter gives, and the well-known path redirects to an address that
tells the split), say what is
asked again after a failure (the mesh's default policy does), inject faults, rewrite, match by the absence of a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from recsys_assets import visitor_id
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform import paths
from recsys_assets.platform.interface import VIRTUAL_SERVICE, Invalid, Manifest
from recsys_assets.platform.kubernetes.routes import BUCKET_PATTERN, PORT, marks
from recsys_assets.platform.kubernetes.split import (
    ABOUT_ENTRY,
    SINGLE_ENTRY,
    SPLIT_ENTRY,
    WELL_KNOWN,
    WELL_KNOWN_ENTRY,
    Arm,
    Split,
    read_split,
)
from recsys_assets.platform.local.bucket import BUCKET_HEADER, BUCKETS, VARIANT_HEADER
from recsys_assets.platform.local.routing import DEFAULT_TIMEOUT

Spec = dict[str, Any]
Rule = dict[str, Any]
_KNOWN: Final = frozenset({"route", "mirror", "mirrorPercentage", "timeout"})
_SUFFIX: Final = "-predictor"
_WHOLE: Final = 1_000_000
_MAX_NAME: Final = 253
_UNITS: Final = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0}


def dressed_http_route(settings: KubernetesSettings, manifest: Manifest) -> Spec:
    """The HTTPRoute's spec. Of two rules that fit a request, the one with more headers wins: no order is needed."""
    rule = manifest["spec"]["http"][0]
    split = read_split(manifest)
    _refuse_unknown(split.route, rule)
    if len(split.salt_entry) > _MAX_NAME:
        raise _refused(split.route, "metadata.annotations", "salt and header are too long for a rule's name")
    rules = [_well_known(split), _split(rule, split)]
    if split.is_shared:
        rules.append(_salt(split))
    rules.append(_about(split))
    gateway = settings.gateway
    spec: Spec = {
        "parentRefs": [
            {
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                "name": gateway.name,
                "namespace": settings.gateway_namespace,
            }
        ],
        "rules": rules,
    }
    hosts = [host for host in gateway.hosts if host != "*"]
    return {"hostnames": hosts, **spec} if hosts else spec


def undressed_http_route(settings: KubernetesSettings, live: Manifest) -> Spec:
    """The VirtualService's spec that would stand for this HTTPRoute; rules of somebody else's are shown as they are."""
    rules = [rule for rule in live["spec"].get("rules") or [] if isinstance(rule, dict)]
    split = next((rule for rule in rules if rule.get("name") in {SPLIT_ENTRY, SINGLE_ENTRY}), None)
    others = [r for r in rules if r is not split and not str(r.get("name")).startswith("recsys-")]
    shown = [] if split is None else [_shown(split)]
    return {"hosts": [live["metadata"]["name"]], "http": [*shown, *others]}


def _refuse_unknown(name: str, rule: Mapping[str, Any]) -> None:
    for key in sorted(rule.keys() - _KNOWN):
        raise _refused(name, f"spec.http[0].{key}", "has no place in an HTTPRoute of the standard channel")
    for number, destination in enumerate(rule["route"]):
        place = f"spec.http[0].route[{number}]"
        for key in sorted(destination.keys() - {"destination", "weight"}):
            raise _refused(name, f"{place}.{key}", "has no place in an HTTPRoute of the standard channel")
        if "." in destination["destination"]["host"]:
            raise _refused(name, f"{place}.destination.host", "must be a service's plain name for an HTTPRoute")


def _refused(name: str, field: str, rule: str) -> Invalid:
    return Invalid(VIRTUAL_SERVICE, name, field, rule)


def _well_known(split: Split) -> Rule:
    """A redirect whose address tells what a VirtualService answers as JSON. Nobody is to follow it."""
    told = "/".join([split.route, split.revision, *(f"{name}={bp}" for name, bp in split.weights.items())])
    redirect = {"path": {"type": "ReplaceFullPath", "replaceFullPath": f"{WELL_KNOWN}/{told}"}, "statusCode": 302}
    return {
        "name": WELL_KNOWN_ENTRY,
        "matches": [{"path": {"type": "Exact", "value": WELL_KNOWN}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
    }


def _split(rule: Mapping[str, Any], split: Split) -> Rule:
    headers = [_header(BUCKET_HEADER, BUCKET_PATTERN)] if split.is_shared else []
    translated: Rule = {
        "name": split.entry,
        "matches": [_match(split, headers)],
        "backendRefs": [_backend(arm, split.shadow) for arm in split.arms],
        "timeouts": {"request": _milliseconds(rule.get("timeout", DEFAULT_TIMEOUT))},
    }
    if split.shadow:
        translated["filters"] = [_mirror(split.shadow, rule)]
    return translated


def _salt(split: Split) -> Rule:
    return {
        "name": split.salt_entry,
        "matches": [_match(split, [])],
        "backendRefs": [_backend(Arm(split.stable.service, split.stable.variant, BUCKETS))],
        "timeouts": {"request": _milliseconds(DEFAULT_TIMEOUT)},
    }


def _about(split: Split) -> Rule:
    """Metadata, readiness and wrong methods: stable's server answers, and the log's reader counts none of it."""
    other_methods = _path(f"{paths.recommendation(split.route)}|{paths.pinned(split.route)}")
    remove = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": [BUCKET_HEADER, VARIANT_HEADER]}}
    return {
        "name": ABOUT_ENTRY,
        "matches": [
            {"path": _path(f"{paths.SERVER}|{paths.about(split.route)}")},
            *({"path": other_methods, "method": method} for method in paths.OTHER_METHODS),
        ],
        "filters": [remove],
        "backendRefs": [_service(split.stable.service)],
        "timeouts": {"request": _milliseconds(DEFAULT_TIMEOUT)},
    }


def _match(split: Split, headers: list[Rule]) -> Rule:
    fit = _header(split.header, visitor_id.PATTERN)
    return {"path": _path(paths.recommendation(split.route)), "method": "POST", "headers": [fit, *headers]}


def _path(regex: str) -> Rule:
    return {"type": "RegularExpression", "value": regex}


def _header(name: str, pattern: str) -> Rule:
    return {"name": name, "type": "RegularExpression", "value": pattern}


def _service(name: str) -> Rule:
    return {"group": "", "kind": "Service", "name": f"{name}{_SUFFIX}", "port": PORT}


def _backend(arm: Arm, shadow: str | None = None) -> Rule:
    told = [{"name": name, "value": value} for name, value in marks(arm.variant, shadow).items()]
    headers = {"set": told, "remove": [BUCKET_HEADER]}
    modifier = {"type": "RequestHeaderModifier", "requestHeaderModifier": headers}
    return _service(arm.service) | {"weight": arm.weight_bp, "filters": [modifier]}


def _mirror(shadow: str, rule: Mapping[str, Any]) -> Rule:
    share = float((rule.get("mirrorPercentage") or {}).get("value", 100.0))
    fraction = {"numerator": round(share * _WHOLE / 100), "denominator": _WHOLE}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": _service(shadow), "fraction": fraction}}


def _milliseconds(duration: str) -> str:
    """HTTPRoute's durations have no fractions."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return f"{round(float(number) * _UNITS[unit])}ms"


def _shown(stored: Rule) -> Rule:
    backends = [each for each in stored.get("backendRefs") or [] if isinstance(each, dict)]
    shown: Rule = {
        "route": [
            {"destination": {"host": _plain(each.get("name"))}, "weight": int(each.get("weight", 1))}
            for each in backends
        ]
    }
    for each in stored.get("filters") or []:
        mirror = each.get("requestMirror") or {}
        if each.get("type") == "RequestMirror":
            shown["mirror"] = {"host": _plain((mirror.get("backendRef") or {}).get("name"))}
            shown["mirrorPercentage"] = {"value": _percent(mirror)}
        else:
            shown.setdefault("filters", []).append(each)
    timeout = (stored.get("timeouts") or {}).get("request")
    if timeout != _milliseconds(DEFAULT_TIMEOUT):
        shown["timeout"] = timeout
    return shown


def _plain(name: object) -> str:
    return str(name).removesuffix(_SUFFIX)


def _percent(mirror: Mapping[str, Any]) -> float:
    fraction = mirror.get("fraction")
    if not fraction:
        return float(mirror.get("percent", 100))
    return 100.0 * float(fraction["numerator"]) / float(fraction.get("denominator", 100))
