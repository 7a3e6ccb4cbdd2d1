"""Asks a model server whether it is ready and which version it is.

Here: one probe, and the rule of how many misses make a ready server unready. Not here: what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from recsys_assets.platform.interface import Manifest
from recsys_assets.platform.local.envoy_clusters import READY_PATH

PROBE_SECONDS: Final = 2.0
# A busy machine may be late once; a dead server refuses the connection, and that counts at once.
MISSES: Final = 3


@dataclass(frozen=True)
class Health:
    """What one probe saw. `late` means that it saw nothing in time, which alone proves nothing."""

    ready: bool
    reason: str
    late: bool = False


@dataclass
class Memory:
    """Which instances were ready when last seen and since when, and how often in a row they were late since."""

    ready: dict[tuple[str, int], float] = field(default_factory=dict)
    late: dict[tuple[str, int], int] = field(default_factory=dict)

    def settle(self, key: tuple[str, int], health: Health, *, at: float) -> Health:
        """The probe's result, with a ready instance forgiven for being late fewer than MISSES times in a row."""
        count = self.late[key] = self.late.get(key, 0) + 1 if health.late else 0
        if health.late and key in self.ready and count < MISSES:
            return Health(True, f"{health.reason} ({count} of {MISSES} before it counts)")
        if health.ready:
            self.ready.setdefault(key, at)
        else:
            self.ready.pop(key, None)
        return health


def probe(client: httpx.Client, service: Manifest, url: str) -> Health:
    """Ready, and of the version that the manifest's labels name."""
    labels = service["metadata"].get("labels") or {}
    try:
        answer = client.get(f"{url}{READY_PATH}")
        if answer.status_code != 200:
            return Health(False, f"{READY_PATH} answers {answer.status_code}: {answer.text[:200]}")
        if "model" in labels and "model_version" in labels:
            return _version(client, url, labels["model"], labels["model_version"])
    except httpx.TimeoutException:
        return Health(False, f"no answer to a probe within {PROBE_SECONDS:g} s", late=True)
    except httpx.TransportError as broken:
        return Health(False, f"does not answer yet: {broken}")
    return Health(True, "ready")


def _version(client: httpx.Client, url: str, model: str, version: str) -> Health:
    path = f"/v2/models/{model}"
    answer = client.get(f"{url}{path}")
    if answer.status_code != 200:
        return Health(False, f"{path} answers {answer.status_code}: {answer.text[:200]}")
    try:
        echoed: Any = answer.json()
    except ValueError:
        return Health(False, f"{path} answers no JSON")
    versions = echoed.get("versions") if isinstance(echoed, dict) else None
    if version not in [str(v) for v in versions or []]:
        return Health(False, f"{path} says versions {versions}, the manifest says {version}")
    return Health(True, "ready")
