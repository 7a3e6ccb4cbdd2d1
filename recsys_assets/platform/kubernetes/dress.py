"""From what a room writes to what the cluster stores, and back: one pure step each way for every kind.

Here: choosing the kind's own translation, and deciding whether somebody edited. Not here: those translations, requests.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.interface import DESTINATION_RULE, INFERENCE_SERVICE, VIRTUAL_SERVICE, Manifest
from recsys_assets.platform.kubernetes.httproutes import dressed_http_route, undressed_http_route
from recsys_assets.platform.kubernetes.kinds import stored_as
from recsys_assets.platform.kubernetes.ownership import strangers_add
from recsys_assets.platform.kubernetes.record import (
    covers,
    dressed_metadata,
    read_record,
    undressed_metadata,
)
from recsys_assets.platform.kubernetes.routes import dressed_route, undressed_route
from recsys_assets.platform.kubernetes.services import (
    dressed_rule,
    dressed_service,
    undressed_rule,
    undressed_service,
)

Spec = dict[str, Any]


def dressed(settings: KubernetesSettings, manifest: Manifest) -> Manifest:
    """The object to send, without owners and preconditions. Raises Invalid where the cluster has no place for it."""
    resource = stored_as(settings)[manifest["kind"]]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": dressed_metadata(manifest, settings.namespace),
        "spec": _dressed_spec(settings, manifest),
    }


def undressed(settings: KubernetesSettings, kind: str, live: Mapping[str, Any]) -> Manifest:
    """The manifest as a room reads it: exactly what was written, unless somebody else changed what stands there."""
    record = read_record(live)
    shown: Manifest = {
        "apiVersion": record["apiVersion"] if record else stored_as(settings)[kind].api_version,
        "kind": kind,
        "metadata": undressed_metadata(live, record),
        "status": copy.deepcopy(live.get("status") or {}),
    }
    shown["spec"] = _shown_spec(settings, shown, live, record)
    return shown


def _shown_spec(
    settings: KubernetesSettings, shown: Manifest, live: Mapping[str, Any], record: Mapping[str, Any] | None
) -> Spec:
    if record is None:
        return _undressed_spec(settings, shown["kind"], dict(live))
    expected = _dressed_spec(settings, {**shown, "spec": record["spec"]})
    if covers(live["spec"], expected) and not strangers_add(live, expected):
        return copy.deepcopy(dict(record["spec"]))
    seen = _undressed_spec(settings, shown["kind"], dict(live))
    if seen == record["spec"] and shown["kind"] == VIRTUAL_SERVICE:
        # The edit is in what we add to the split, so that undressing took it away: show it beside the split.
        seen["http"] += [each for each in _entries(live["spec"]) if each not in _entries(expected)]
    return seen


def _entries(spec: Mapping[str, Any]) -> list[Any]:
    return list(spec.get("http") or spec.get("rules") or [])


def _dressed_spec(settings: KubernetesSettings, manifest: Manifest) -> Spec:
    if manifest["kind"] == INFERENCE_SERVICE:
        return dressed_service(manifest["spec"])
    if manifest["kind"] == DESTINATION_RULE:
        return dressed_rule(settings, manifest["spec"])
    is_http_route = settings.route == "gateway-api"
    return dressed_http_route(settings, manifest) if is_http_route else dressed_route(settings, manifest)


def _undressed_spec(settings: KubernetesSettings, kind: str, live: Manifest) -> Spec:
    if kind == INFERENCE_SERVICE:
        return undressed_service(live["spec"])
    if kind == DESTINATION_RULE:
        return undressed_rule(settings, live["spec"])
    return undressed_http_route(settings, live) if settings.route == "gateway-api" else undressed_route(settings, live)
