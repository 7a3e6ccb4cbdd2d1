"""What a writer wrote, kept beside what it became, so that reading gives back exactly that until somebody edits.

Here: the record, in an annotation, and which metadata are the writer's. Not here: how a spec is dressed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from recsys_assets.platform.interface import ANNOTATION_PREFIX, INFERENCE_SERVICE, RELEASE_ANNOTATION, Manifest
from recsys_assets.platform.kubernetes.kinds import APPLIED_ANNOTATION, STORED_BY, STORED_LABEL, WRITTEN_ANNOTATION

SERVER_SET: Final = ("resourceVersion", "generation", "uid", "creationTimestamp")
_OURS: Final = frozenset({WRITTEN_ANNOTATION, APPLIED_ANNOTATION, STORED_LABEL})
# Of a service it stands in the record alone: a release that claims a running service must not start its pods anew.
_HELD: Final = frozenset({RELEASE_ANNOTATION})
_SIZES: Final = frozenset({"requests", "limits"})
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_UNITS: Final[Mapping[str | None, Decimal]] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** (n + 1) for n, unit in enumerate(("k", "M", "G", "T"))},
    **{unit: Decimal(1024) ** (n + 1) for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti"))},
}


def canonical(document: object) -> str:
    """One text for one document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(document: object) -> str:
    """Short, and one for one document."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()[:16]


def dressed_metadata(manifest: Manifest, namespace: str) -> dict[str, Any]:
    """The writer's metadata with the record of what it wrote and the mark that it was stored by a platform."""
    metadata = manifest["metadata"]
    labels, annotations = dict(metadata.get("labels") or {}), dict(metadata.get("annotations") or {})
    is_service = manifest["kind"] == INFERENCE_SERVICE
    record = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {
            "name": metadata["name"],
            "labels": labels,
            # Elsewhere they stand beside it, and it is enough to know which are the writer's.
            "annotations": annotations if is_service else dict.fromkeys(annotations, ""),
        },
        "spec": manifest["spec"],
    }
    shown = {key: value for key, value in annotations.items() if not is_service or key not in _HELD}
    return {
        "name": metadata["name"],
        "namespace": namespace,
        "labels": labels | {STORED_LABEL: STORED_BY},
        "annotations": shown | {APPLIED_ANNOTATION if is_service else WRITTEN_ANNOTATION: canonical(record)},
    }


def read_record(live: Mapping[str, Any]) -> Manifest | None:
    """The manifest as it was written; None where there is none that can be read, as on what somebody else made."""
    annotations = live["metadata"].get("annotations") or {}
    try:
        record = json.loads(annotations.get(WRITTEN_ANNOTATION) or annotations[APPLIED_ANNOTATION])
        parts = [record["metadata"].get("labels") or {}, record["metadata"].get("annotations") or {}, record["spec"]]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return record if "apiVersion" in record and all(isinstance(part, dict) for part in parts) else None


def undressed_metadata(live: Mapping[str, Any], record: Manifest | None) -> dict[str, Any]:
    """What the writer wrote, as it stands now, and everything under our prefix; not what others keep there."""
    metadata = live["metadata"]
    shown: dict[str, Any] = {"name": metadata["name"]}
    for part in ("labels", "annotations"):
        written = {} if record is None else record["metadata"].get(part) or {}
        standing = {key: value for key, value in written.items() if key in _HELD and value} | (metadata.get(part) or {})
        known = standing.keys() if record is None else {*written, *_prefixed(standing)}
        kept = {key: value for key, value in standing.items() if key in known and key not in _OURS}
        if kept:
            shown[part] = kept
    return shown | {key: metadata[key] for key in SERVER_SET if key in metadata}


def covers(live: object, expected: object, *, sizes: bool = False) -> bool:
    """Whether all of `expected` stands in `live`. Maps may hold more, which a default or a webhook added; lists not.

    Below `requests` and `limits` 1000m is 1: what passed through a webhook comes back as Kubernetes writes it.
    """
    if isinstance(expected, Mapping):
        if not isinstance(live, Mapping):
            return False
        return all(k in live and covers(live[k], v, sizes=sizes or k in _SIZES) for k, v in expected.items())
    if isinstance(expected, list):
        if not isinstance(live, list) or len(live) != len(expected):
            return False
        return all(covers(stands, wanted) for stands, wanted in zip(live, expected, strict=True))
    if sizes:
        return _size(live) == _size(expected)
    return live == expected and isinstance(live, bool) == isinstance(expected, bool)


def _size(quantity: object) -> object:
    """The number that a quantity stands for; what is none stands for itself."""
    found = _QUANTITY.fullmatch(str(quantity))
    return Decimal(found[1]) * _UNITS[found[2]] if found else quantity


def _prefixed(standing: Mapping[str, Any]) -> set[str]:
    return {key for key in standing if key.startswith(ANNOTATION_PREFIX)}
