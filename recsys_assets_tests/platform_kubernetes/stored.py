"""Objects as an API server would give them back after a platform stored them, with its book of who set what.

Here: literal metadata around a dressed manifest. Not here: any claim.
"""

from __future__ import annotations

import copy
from typing import Any

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.kubernetes.dress import dressed

Manifest = dict[str, Any]
ISTIO = KubernetesSettings()
GATEWAY_API = KubernetesSettings(route="gateway-api")


def stored(settings: KubernetesSettings, manifest: Manifest) -> Manifest:
    """What stands there after one apply: `resourceVersion` 7, `generation` 1."""
    live = copy.deepcopy(dressed(settings, manifest))
    live["metadata"] |= {
        "resourceVersion": "7",
        "generation": 1,
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    fields = {f"f:{key}": {} for key in live["spec"]}
    live["metadata"]["managedFields"] = [_entry("recsys-assets", "Apply", fields)]
    return live


def edited_by_hand(live: Manifest, fields: Manifest) -> None:
    """Write into the book that somebody set these fields of the spec with `kubectl edit`."""
    live["metadata"]["managedFields"].append(_entry("kubectl-edit", "Update", fields))


def _entry(manager: str, operation: str, fields: Manifest) -> Manifest:
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}}
