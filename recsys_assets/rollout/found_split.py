"""The split that a stored route asks for, whoever wrote it: one rule with two arms, or what a hand made of it.

Here: reading a spec, and what in it is more than a split. Not here: whether the split was planned (route.py). Of
several rules the one that gives the new model most is read: which rule a request meets is the gateway's affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_assets.platform.interface import VIRTUAL_SERVICE, Manifest
from recsys_assets.platform.local.routing import service_of
from recsys_assets.records import TrafficSplit
from recsys_assets.rollout.outcomes import ALL_BP


class SplitBroken(ValueError):  # noqa: N818
    """The spec cannot be read as a split at all."""


def found_split(manifest: Manifest, new: str) -> tuple[TrafficSplit, list[str]]:
    """The split, and what else stands in the spec: further rules, further destinations."""
    try:
        rules = manifest["spec"]["http"]
        leading = [rule for rule in rules if _entries(rule)]
        rule = max(leading, key=lambda one: _shares(one).get(new, 0))
        split = _split(rule, new)
    except (LookupError, TypeError, AttributeError, ValueError) as broken:
        place = f"{VIRTUAL_SERVICE}/{manifest['metadata']['name']}: spec.http[0]"
        raise SplitBroken(f"{place}: {broken!r}") from broken
    return split, _surplus(rules, rule)


def _surplus(rules: Sequence[Any], rule: Mapping[str, Any]) -> list[str]:
    found = []
    if len(rules) > 1:
        found.append(f"the route has {len(rules)} rules, planned 1")
    written, services = len(_entries(rule)), len(_shares(rule))
    if written > 2 or services < written:
        found.append(f"a rule has {written} destinations for {services} services")
    return found


def _entries(rule: Mapping[str, Any]) -> Sequence[Any]:
    """Where a rule leads: of a VirtualService, or of a rule of an HTTPRoute that is not ours."""
    found: Sequence[Any] = rule.get("route") or rule.get("backendRefs") or ()
    return found


def _arms(rule: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Service and weight of each entry; where all are without weight, each counts alike.

    An entry that says no weight gets everything where it is alone, else nothing; in an HTTPRoute its weight is 1.
    """
    entries = _entries(rule)
    left_out = 1 if "backendRefs" in rule or len(entries) == 1 else 0
    arms = [(_service(entry), int(entry.get("weight", left_out))) for entry in entries]
    return arms if any(weight for _, weight in arms) else [(service, 1) for service, _ in arms]


def _service(entry: Mapping[str, Any]) -> str:
    return service_of(str(entry["destination"]["host"] if "destination" in entry else entry["name"]))


def _shares(rule: Mapping[str, Any]) -> dict[str, int]:
    """Basis points by service, in the order in which they are written."""
    arms = _arms(rule)
    total = sum(weight for _, weight in arms)
    services = dict.fromkeys(service for service, _ in arms)
    return {s: round(ALL_BP * sum(w for of, w in arms if of == s) / total) for s in services}


def _split(rule: Mapping[str, Any], new: str) -> TrafficSplit:
    shares = _shares(rule)
    *others, stable = shares
    canary = new if new in others else others[0] if others else None
    return TrafficSplit(
        stable=stable,
        canary=canary,
        canary_weight_bp=shares[canary] if canary else 0,
        shadow=str(rule["mirror"]["host"]) if rule.get("mirror") else None,
    )
