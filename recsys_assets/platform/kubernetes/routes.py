"""The route as an Istio VirtualService that a gateway serves, and back.

Here: pure dressing and undressing. Not here: the Envoy filters that make the split sticky (sticky.py), HTTPRoutes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

from recsys_assets import visitor_id
from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform import paths
from recsys_assets.platform.interface import Manifest
from recsys_assets.platform.kubernetes.services import host_of, service_of
from recsys_assets.platform.kubernetes.split import (
    ABOUT_ENTRY,
    REFUSED_ENTRY,
    SALT_ENTRY,
    SINGLE_ENTRY,
    SPLIT_ENTRY,
    WELL_KNOWN,
    WELL_KNOWN_ENTRY,
    Arm,
    Split,
    read_split,
)
from recsys_assets.platform.local.bucket import BUCKET_HEADER, SHADOW_HEADER, VARIANT_HEADER
from recsys_assets.platform.local.envoy_routes import RETRY_ON
from recsys_assets.platform.local.routing import DEFAULT_TIMEOUT

Spec = dict[str, Any]
Entry = dict[str, Any]
# KServe's Service of a predictor.
PORT: Final = 80
# Only where no answer came: an answer of 5xx stands, or a failing canary would look healthy.
RETRIES: Final[Mapping[str, Any]] = {"attempts": 2, "retryOn": RETRY_ON}
BUCKET_PATTERN: Final = "[0-9]{1,4}"
_OURS: Final = frozenset({WELL_KNOWN_ENTRY, SPLIT_ENTRY, SINGLE_ENTRY, REFUSED_ENTRY, ABOUT_ENTRY})


def dressed_route(settings: KubernetesSettings, manifest: Manifest) -> Spec:
    """The VirtualService's spec: what the gateway tells of itself, the split, refusals, and questions about the model.

    A request comes without a bucket and fits the entry that names the salt; the gateway's program computes the bucket
    from it, and the request, looked up again, fits the split. Without that program it stays with stable.
    """
    split = read_split(manifest)
    entries = [_well_known(split), _split(settings, manifest["spec"]["http"][0], split)]
    if split.is_shared:
        entries.append(_salt(settings, split))
    entries += [
        _refused(paths.recommendation(split.route), visitor_id.WHY_NOT),
        _refused(paths.pinned(split.route), paths.PINNED),
        _about(settings, split),
    ]
    gateway = settings.gateway
    others = {key: value for key, value in manifest["spec"].items() if key not in {"hosts", "http", "gateways"}}
    return others | {
        "hosts": list(gateway.hosts),
        "gateways": [f"{settings.gateway_namespace}/{gateway.name}"],
        "http": entries,
    }


def undressed_route(settings: KubernetesSettings, live: Manifest) -> Spec:
    """The rule that was written, as far as it can be seen in the split, and every entry that is not as we dress it.

    An entry of somebody else's before ours comes first here too: it takes the users.
    """
    spec: Spec = copy.deepcopy(dict(live["spec"]))
    name = live["metadata"]["name"]
    entries = [entry for entry in spec.get("http") or [] if isinstance(entry, dict)]
    place = next((n for n, e in enumerate(entries) if e.get("name") in {SPLIT_ENTRY, SINGLE_ENTRY}), None)
    if place is None:
        return spec
    rule = _rule(settings, entries[place])
    gateways = [f"{settings.gateway_namespace}/{settings.gateway.name}"]
    if spec.get("hosts") == list(settings.gateway.hosts) and spec.get("gateways") == gateways:
        spec["hosts"] = [name]
        del spec["gateways"]
    before = [entry for entry in entries[:place] if not _is_ours(entry)]
    after = [entry for entry in entries[place + 1 :] if not _is_ours(entry)]
    spec["http"] = [*before, rule, *after]
    return spec


def _is_ours(entry: Entry) -> bool:
    name = str(entry.get("name"))
    return name in _OURS or name.startswith(f"{SALT_ENTRY}.")


def _well_known(split: Split) -> Entry:
    told = {"route": split.route, "revision": split.revision, "weights": split.weights}
    return {
        "name": WELL_KNOWN_ENTRY,
        "match": [{"uri": {"exact": WELL_KNOWN}}],
        "directResponse": {"status": 200, "body": {"string": json.dumps(told)}},
    }


def _split(settings: KubernetesSettings, rule: Mapping[str, Any], split: Split) -> Entry:
    bucket = {BUCKET_HEADER: {"regex": BUCKET_PATTERN}} if split.is_shared else {}
    entry: Entry = copy.deepcopy(dict(rule))
    entry |= {"name": split.entry, "match": [_asked(split, bucket)]}
    entry["route"] = [
        _destination(settings, written, arm, split.shadow)
        for written, arm in zip(rule["route"], split.arms, strict=True)
    ]
    if rule.get("mirror"):
        entry["mirror"] = _backend(settings, rule["mirror"])
    entry.setdefault("timeout", DEFAULT_TIMEOUT)
    entry.setdefault("retries", dict(RETRIES))
    return entry


def _destination(
    settings: KubernetesSettings, written: Mapping[str, Any], arm: Arm, shadow: str | None = None
) -> Entry:
    destination: Entry = copy.deepcopy(dict(written))
    destination |= {"destination": _backend(settings, written["destination"]), "weight": arm.weight_bp}
    request = destination.setdefault("headers", {}).setdefault("request", {})
    for name, value in marks(arm.variant, shadow).items():
        request.setdefault("set", {}).setdefault(name, value)
    request.setdefault("remove", [BUCKET_HEADER])
    return destination


def marks(variant: str, shadow: str | None) -> dict[str, str]:
    """The headers by which a server knows for whom it answers."""
    return {VARIANT_HEADER: variant} | ({SHADOW_HEADER: shadow} if shadow else {})


def _backend(settings: KubernetesSettings, written: Mapping[str, Any]) -> Entry:
    return {"port": {"number": PORT}, **copy.deepcopy(dict(written)), "host": host_of(settings, written["host"])}


def _asked(split: Split, headers: Mapping[str, Any]) -> Entry:
    """A recommendation for a visitor whose id is fit to be hashed and logged."""
    fit = {split.header: {"regex": visitor_id.PATTERN}}
    return {**_post(paths.recommendation(split.route)), "headers": {**fit, **headers}}


def _post(regex: str) -> Entry:
    return {"uri": {"regex": regex}, "method": {"exact": "POST"}}


def _salt(settings: KubernetesSettings, split: Split) -> Entry:
    stable = {"destination": {"host": split.stable.service}}
    return {
        "name": split.salt_entry,
        "match": [_asked(split, {})],
        "route": [_destination(settings, stable, Arm(split.stable.service, split.stable.variant, 0))],
        "timeout": DEFAULT_TIMEOUT,
        "retries": dict(RETRIES),
    }


def _refused(regex: str, why: str) -> Entry:
    return {
        "name": REFUSED_ENTRY,
        "match": [_post(regex)],
        "directResponse": {"status": 400, "body": {"string": why}},
    }


def _about(settings: KubernetesSettings, split: Split) -> Entry:
    """Metadata, readiness and wrong methods: stable's server answers, and the log's reader counts none of it."""
    other_methods = f"{paths.recommendation(split.route)}|{paths.pinned(split.route)}"
    return {
        "name": ABOUT_ENTRY,
        "match": [
            {"uri": {"regex": f"{paths.SERVER}|{paths.about(split.route)}"}},
            {"uri": {"regex": other_methods}, "method": {"regex": "|".join(paths.OTHER_METHODS)}},
        ],
        "route": [
            {
                "destination": _backend(settings, {"host": split.stable.service}),
                "headers": {"request": {"remove": [BUCKET_HEADER, VARIANT_HEADER]}},
            }
        ],
        "timeout": DEFAULT_TIMEOUT,
        "retries": dict(RETRIES),
    }


def _rule(settings: KubernetesSettings, entry: Entry) -> Entry:
    rule = {key: value for key, value in entry.items() if key not in {"name", "match"}}
    written = [each for each in entry.get("route") or [] if isinstance(each, dict)]
    if rule.get("mirror"):
        rule["mirror"] = _unbacked(settings, rule["mirror"])
    shadow = (rule.get("mirror") or {}).get("host")
    rule["route"] = [
        _undestined(settings, each, marks(_role(n, len(written)), shadow)) for n, each in enumerate(written)
    ]
    if rule.get("timeout") == DEFAULT_TIMEOUT:
        del rule["timeout"]
    if rule.get("retries") == RETRIES:
        del rule["retries"]
    return rule


def _role(place: int, count: int) -> str:
    return "stable" if place == count - 1 else "canary"


def _undestined(settings: KubernetesSettings, stored: Entry, marked: Mapping[str, str]) -> Entry:
    shown = copy.deepcopy(stored)
    shown["destination"] = _unbacked(settings, shown.get("destination") or {})
    ours = {"set": dict(marked), "remove": [BUCKET_HEADER]}
    if shown.get("headers") == {"request": ours}:
        del shown["headers"]
    return shown


def _unbacked(settings: KubernetesSettings, stored: Mapping[str, Any]) -> Entry:
    shown = dict(stored) | {"host": service_of(settings, str(stored.get("host", "")))}
    if shown.get("port") == {"number": PORT}:
        del shown["port"]
    return shown
