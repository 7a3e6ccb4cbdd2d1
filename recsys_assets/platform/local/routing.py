"""What a VirtualService asks for, and what may really be given with the services as they are.

Here: the pure rule that a service that is not ready gets no weight. Not here: Envoy's way of writing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recsys_assets.platform.interface import (
    RELEASE_ANNOTATION,
    SALT_ANNOTATION,
    Manifest,
)
from recsys_assets.platform.local.bucket import BUCKETS, VARIANT_HEADER

DEFAULT_TIMEOUT: Final = "5s"


@dataclass(frozen=True)
class ServiceView:
    """One InferenceService as it stands: where it answers (None: nowhere yet) and whether it may get traffic."""

    ready: bool
    port: int | None
    reason: str = ""


@dataclass(frozen=True)
class Arm:
    """One traffic role of a route: which service, what its requests are marked with, and its basis points."""

    service: str
    variant: str
    weight_bp: int


@dataclass(frozen=True)
class EffectiveRoute:
    """What the gateway is to do for one VirtualService. `canary` is None unless it really gets weight.

    `refusal` is why nobody can be answered at all; `reason` says in what the route differs from what was asked.
    """

    name: str
    stable: Arm
    canary: Arm | None
    shadow: str | None
    shadow_pct: float
    weights: Mapping[str, int]
    salt: str
    timeout: str
    retries: Mapping[str, Any]
    ready: bool
    reason: str
    refusal: str | None


def service_of(host: str) -> str:
    """The InferenceService behind a host: `a`, `a-predictor` and `a-predictor.ns.svc.cluster.local` are all `a`."""
    return host.split(".")[0].removesuffix("-predictor")


def effective_route(virtual: Manifest, services: Mapping[str, ServiceView]) -> EffectiveRoute:
    """Take weight from a canary that is not ready, drop a shadow that is not, and say so."""
    rule: Mapping[str, Any] = virtual["spec"]["http"][0]
    *first, stable = _arms(rule["route"])
    asked = first[0] if first else None
    canary, notes = _usable_canary(asked, services)
    shadow, shadow_notes = _usable_shadow(rule, services)
    refusal = _refusal(stable, services) if canary is None else None
    given = 0 if canary is None else canary.weight_bp
    weights = {stable.service: BUCKETS - given} | ({asked.service: given} if asked else {})
    broken = [note] if (note := _unready("stable", stable.service, services)) else []
    annotations = virtual["metadata"].get("annotations") or {}
    return EffectiveRoute(
        name=virtual["metadata"]["name"],
        stable=Arm(stable.service, stable.variant, BUCKETS - given),
        canary=canary,
        shadow=shadow,
        shadow_pct=float((rule.get("mirrorPercentage") or {}).get("value", 100.0)),
        weights=weights,
        salt=annotations.get(SALT_ANNOTATION) or annotations.get(RELEASE_ANNOTATION) or virtual["metadata"]["name"],
        timeout=rule.get("timeout", DEFAULT_TIMEOUT),
        retries=rule.get("retries") or {},
        ready=not (broken or notes or shadow_notes),
        reason="; ".join([*broken, *notes, *shadow_notes]) or "routed as asked",
        refusal=refusal,
    )


def _arms(route: list[Mapping[str, Any]]) -> list[Arm]:
    """The arms in the order of the manifest, canary first, weights brought to 10,000."""
    raw = [int(entry.get("weight", BUCKETS if len(route) == 1 else 0)) for entry in route]
    scale = BUCKETS // sum(raw)
    roles = ["stable"] if len(route) == 1 else ["canary", "stable"]
    return [
        Arm(service_of(entry["destination"]["host"]), _variant(entry, role), weight * scale)
        for entry, role, weight in zip(route, roles, raw, strict=True)
    ]


def _variant(entry: Mapping[str, Any], role: str) -> str:
    set_headers = ((entry.get("headers") or {}).get("request") or {}).get("set") or {}
    return str(set_headers.get(VARIANT_HEADER, role))


def _unready(role: str, service: str, services: Mapping[str, ServiceView]) -> str | None:
    view = services.get(service)
    if view is None:
        return f"{role} {service} is absent"
    return None if view.ready else f"{role} {service} is not ready ({view.reason})"


def _usable_canary(asked: Arm | None, services: Mapping[str, ServiceView]) -> tuple[Arm | None, list[str]]:
    if asked is None or asked.weight_bp == 0:
        return None, []
    if problem := _unready("canary", asked.service, services):
        return None, [f"{problem}: its {asked.weight_bp} bp go to stable"]
    return asked, []


def _usable_shadow(rule: Mapping[str, Any], services: Mapping[str, ServiceView]) -> tuple[str | None, list[str]]:
    if not rule.get("mirror"):
        return None, []
    service = service_of(rule["mirror"]["host"])
    if problem := _unready("shadow", service, services):
        return None, [f"{problem}: it gets no copies"]
    return service, []


def _refusal(stable: Arm, services: Mapping[str, ServiceView]) -> str | None:
    """Why nobody can be answered. Stable's users are never handed to a canary just because stable is gone."""
    view = services.get(stable.service)
    if view is None:
        return f"stable {stable.service} is absent"
    return f"stable {stable.service} answers nowhere yet ({view.reason})" if view.port is None else None
