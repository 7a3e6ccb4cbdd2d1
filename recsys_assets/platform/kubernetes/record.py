"""What a writer wrote, kept beside what it became, so that reading gives back exactly that until somebody edits.

Here: the record, in an annotation, and which metadata are the writer's. Not here: how a spec is dressed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from recsys_assets.platform.interface import ANNOTATION_PREFIX, Manifest
from recsys_assets.platform.kubernetes.kinds import STORED_BY, STORED_LABEL, WRITTEN_ANNOTATION

SERVER_SET: Final = ("resourceVersion", "generation", "uid", "creationTimestamp")
_OURS: Final = frozenset({WRITTEN_ANNOTATION, STORED_LABEL})


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
    record = {
        "apiVersion": manifest["apiVersion"],
        "labels": sorted(labels),
        "annotations": sorted(annotations),
        "spec": manifest["spec"],
    }
    return {
        "name": metadata["name"],
        "namespace": namespace,
        "labels": labels | {STORED_LABEL: STORED_BY},
        "annotations": annotations | {WRITTEN_ANNOTATION: canonical(record)},
    }


def read_record(live: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record on an object; None where there is none that can be read, as on one that somebody else made."""
    try:
        record = json.loads((live["metadata"].get("annotations") or {})[WRITTEN_ANNOTATION])
    except (LookupError, TypeError, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("spec"), dict) else None


def undressed_metadata(live: Mapping[str, Any], record: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the writer wrote, as it stands now, and everything under our prefix; not what others keep there."""
    metadata = live["metadata"]
    shown: dict[str, Any] = {"name": metadata["name"]}
    for part in ("labels", "annotations"):
        standing = metadata.get(part) or {}
        known = standing.keys() if record is None else {*record[part], *_prefixed(standing)}
        kept = {key: value for key, value in standing.items() if key in known and key not in _OURS}
        if kept:
            shown[part] = kept
    return shown | {key: metadata[key] for key in SERVER_SET if key in metadata}


def covers(live: object, expected: object) -> bool:
    """Whether all of `expected` stands in `live`. Maps may hold more, which a default or a webhook added; lists not."""
    if isinstance(expected, Mapping):
        return isinstance(live, Mapping) and all(k in live and covers(live[k], v) for k, v in expected.items())
    if isinstance(expected, list):
        if not isinstance(live, list) or len(live) != len(expected):
            return False
        return all(covers(stands, wanted) for stands, wanted in zip(live, expected, strict=True))
    return live == expected and isinstance(live, bool) == isinstance(expected, bool)


def _prefixed(standing: Mapping[str, Any]) -> set[str]:
    return {key for key in standing if key.startswith(ANNOTATION_PREFIX)}
