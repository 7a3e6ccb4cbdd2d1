"""Who set what, by the API server's own book (metadata.managedFields): is there a field that only a stranger set?

Here: reading that book. Not here: what a difference means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from recsys_assets.platform.kubernetes.kinds import FIELD_MANAGER


def strangers_add(live: Mapping[str, Any], expected_spec: Mapping[str, Any]) -> list[str]:
    """Managers other than us that set a field of the spec that we did not write, such as a person with `kubectl edit`.

    What a mutating webhook adds while we write counts as ours in that book, and a schema's default as nobody's.
    """
    entries = live["metadata"].get("managedFields") or []
    return sorted(
        {
            str(entry.get("manager"))
            for entry in entries
            if entry.get("manager") != FIELD_MANAGER
            and not entry.get("subresource")
            and _adds((entry.get("fieldsV1") or {}).get("f:spec"), live.get("spec"), expected_spec)
        }
    )


def _adds(fields: Mapping[str, Any] | None, live: object, expected: object) -> bool:
    """Whether these fields name a place that the expected document does not have.

    A field without fields below it was set as a whole: then all of it must be as expected.
    """
    for key, below in (fields or {}).items():
        if key == ".":
            continue
        stands, wanted = _at(key, live), _at(key, expected)
        if wanted is _ABSENT or (not below and stands != wanted) or _adds(below, stands, wanted):
            return True
    return False


_ABSENT = object()


def _at(key: str, document: object) -> object:
    """`f:name` is a field, `k:{...}` the item of a list with these keys, `v:...` an item of a set."""
    mark, _, rest = key.partition(":")
    if mark == "f":
        return document.get(rest, _ABSENT) if isinstance(document, Mapping) else _ABSENT
    items = document if isinstance(document, list) else []
    wanted = json.loads(rest)
    if mark == "k":
        fits = (i for i in items if isinstance(i, Mapping) and wanted.items() <= i.items())
        return next(fits, _ABSENT)
    return wanted if wanted in items else _ABSENT
