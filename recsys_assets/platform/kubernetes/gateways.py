"""What the gateway's pods really do with a route: each of them is asked, on the path that users do not use.

Here: finding the pods, asking, and the verdict over their answers. Not here: what a route should be (split.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from recsys_assets.kubernetes_settings import KubernetesSettings
from recsys_assets.platform.kubernetes.split import WELL_KNOWN, Split
from recsys_assets.platform.kubernetes.sticky import STICKY_HEADER, STICKY_VALUE

# Address, host to ask for, seconds -> status, headers in small letters, body; OSError where nobody answers.
Ask = Callable[[str, str, float], tuple[int, Mapping[str, str], str]]
_ANY_HOST: Final = "recsys.invalid"


@dataclass(frozen=True)
class Told:
    """What one gateway pod said: its split, or why there is none."""

    pod: str
    revision: str | None
    weights: Mapping[str, int]
    is_sticky: bool
    problem: str = ""


@dataclass(frozen=True)
class Seen:
    """The verdict over all pods. `weights` is empty unless they agree."""

    is_current: bool
    weights: Mapping[str, int]
    reason: str


def pod_addresses(slices: Sequence[Mapping[str, Any]], port_name: str | None) -> dict[str, str]:
    """The ready pods of a Service by name, and where each is asked."""
    found: dict[str, str] = {}
    for one in slices:
        port = next((p["port"] for p in one.get("ports") or [] if (p.get("name") or None) == (port_name or None)), None)
        for endpoint in one.get("endpoints") or []:
            is_ready = (endpoint.get("conditions") or {}).get("ready") is not False
            if port is None or not is_ready or not endpoint.get("addresses"):
                continue
            address = str(endpoint["addresses"][0])
            place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            found[str((endpoint.get("targetRef") or {}).get("name") or place)] = place
    return found


def ask_pods(settings: KubernetesSettings, pods: Mapping[str, str], ask: Ask) -> list[Told]:
    """Ask each pod; one that does not answer says so in its record."""
    host = next((name for name in settings.gateway.hosts if "*" not in name), _ANY_HOST)
    return [_asked(pod, place, host, settings.gateway.timeout_seconds, ask) for pod, place in sorted(pods.items())]


def judged(told: Sequence[Told], split: Split) -> Seen:
    """Current only where there is a pod, and every pod tells this revision and, if users are shared, keeps them."""
    if not told:
        return Seen(False, {}, "the gateway has no ready pod")
    notes = [note for each in told if (note := _behind(each, split))]
    agreed = {json.dumps(dict(each.weights), sort_keys=True) for each in told}
    weights = told[0].weights if len(agreed) == 1 else {}
    return Seen(not notes, weights, "; ".join(notes) or f"routed as asked by {len(told)} gateway pod(s)")


def _behind(told: Told, split: Split) -> str | None:
    if told.problem:
        return f"gateway pod {told.pod}: {told.problem}"
    if told.revision != split.revision:
        given = ", ".join(f"{name} {bp} bp" for name, bp in told.weights.items())
        return f"gateway pod {told.pod} still has revision {told.revision} ({given}), not {split.revision}"
    if split.is_shared and not told.is_sticky:
        return f"gateway pod {told.pod} has no filter that keeps each user with one variant"
    return None


def _asked(pod: str, place: str, host: str, seconds: float, ask: Ask) -> Told:
    try:
        status, headers, body = ask(f"http://{place}{WELL_KNOWN}", host, seconds)
    except OSError as away:
        return Told(pod, None, {}, False, f"does not answer: {away}")
    sticky = headers.get(STICKY_HEADER) == STICKY_VALUE
    try:
        revision, weights = _redirected(headers["location"]) if status == 302 else _answered(status, body)
    except (ValueError, LookupError, AttributeError, TypeError):
        return Told(pod, None, {}, sticky, f"does not tell its split ({status} at {WELL_KNOWN})")
    return Told(pod, revision, weights, sticky)


def _answered(status: int, body: str) -> tuple[str, dict[str, int]]:
    if status != 200:
        raise ValueError(status)
    told = json.loads(body)
    if "revision" not in told:
        told = json.loads(told["error"])  # the gateway's format of all that it answers by itself
    return str(told["revision"]), {str(name): int(bp) for name, bp in told["weights"].items()}


def _redirected(location: str) -> tuple[str, dict[str, int]]:
    """Of an HTTPRoute, which cannot answer by itself: the address to go to tells it."""
    path = urlsplit(location).path
    if not path.startswith(f"{WELL_KNOWN}/"):
        raise ValueError(location)
    _, revision, *weights = path.removeprefix(f"{WELL_KNOWN}/").split("/")
    return revision, {name: int(bp) for name, _, bp in (each.partition("=") for each in weights)}


def ask_over_http(url: str, host: str, seconds: float) -> tuple[int, Mapping[str, str], str]:
    """One request, without proxies, redirects or a second try."""
    import httpx

    try:
        answer = httpx.get(url, headers={"host": host}, timeout=seconds, trust_env=False, follow_redirects=False)
    except httpx.HTTPError as broken:
        raise OSError(f"{type(broken).__name__} {broken}") from None
    return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.text
