"""The rules of the manifests that we know, checked before anything is stored.

Here: pure checks that raise Invalid naming kind, name, field and rule. Not here: storing, or what a manifest means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from recsys_assets import visitor_id
from recsys_assets.platform.documents import check_document, shown
from recsys_assets.platform.interface import (
    DESTINATION_RULE,
    INFERENCE_SERVICE,
    STICKY_HEADER_ANNOTATION,
    VIRTUAL_SERVICE,
    Invalid,
    Manifest,
)

API_VERSIONS: Final[Mapping[str, frozenset[str]]] = {
    INFERENCE_SERVICE: frozenset({"serving.kserve.io/v1beta1"}),
    VIRTUAL_SERVICE: frozenset({"networking.istio.io/v1", "networking.istio.io/v1beta1"}),
    DESTINATION_RULE: frozenset({"networking.istio.io/v1", "networking.istio.io/v1beta1"}),
}
DEPLOYMENT_MODE: Final = "serving.kserve.io/deploymentMode"
STANDARD_MODES: Final = frozenset({"Standard", "RawDeployment"})
# `\Z`, not `$`: that would let a line break through at the end.
DURATION: Final = re.compile(r"^[0-9]+(\.[0-9]+)?(ms|s|m)\Z")
_NAME = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_VARIABLE = re.compile(r"^[A-Za-z_][-A-Za-z0-9_.]*\Z")
# A server with it would serve a bundle that no gate has vouched for; tests alone start one.
UNATTESTED: Final = "--unattested"
_TOP = {"apiVersion", "kind", "metadata", "spec", "status"}


class Place:
    """One place in one manifest: reads below it, or refuses with its full path."""

    def __init__(self, kind: str, name: str, path: str, value: object) -> None:
        self.kind, self.name, self.path, self.value = kind, name, path, value

    def refuse(self, rule: str) -> Invalid:
        return Invalid(self.kind, self.name, self.path or "(top)", rule)

    def at(self, key: str) -> Place:
        path = f"{self.path}.{key}" if self.path else key
        return Place(self.kind, self.name, path, self.mapping().get(key))

    def mapping(self) -> Mapping[str, Any]:
        if not isinstance(self.value, Mapping):
            raise self.refuse(f"must be a mapping, got {shown(self.value)}")
        return self.value

    def items(self, *, at_least: int = 0) -> list[Place]:
        if not isinstance(self.value, list) or len(self.value) < at_least:
            raise self.refuse(f"must be a list of at least {at_least}, got {shown(self.value)}")
        return [Place(self.kind, self.name, f"{self.path}[{i}]", v) for i, v in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.refuse(f"must be a non-empty string, got {shown(self.value)}")
        return self.value

    def word(self) -> str:
        """A text of a command line, which ends at a line break and at a null byte."""
        text = self.text()
        if any(character in text for character in "\x00\r\n"):
            raise self.refuse("must not hold a line break or a null byte")
        return text

    def whole(self, low: int, high: int) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.refuse(f"must be a whole number from {low} to {high}, got {shown(self.value)}")
        return self.value

    @property
    def absent(self) -> bool:
        return self.value is None


def check_manifest(manifest: Manifest) -> tuple[str, str]:
    """Raise Invalid at the first broken rule, else return (kind, name)."""
    kind, name = _identity(manifest)
    check_document(manifest, kind=kind, name=name)
    top = Place(kind, name, "", manifest)
    if unknown := sorted(str(k) for k in manifest.keys() - _TOP):
        raise top.refuse(f"unknown fields {', '.join(unknown)}")
    if (version := top.at("apiVersion").text()) not in API_VERSIONS[kind]:
        raise top.at("apiVersion").refuse(f"must be {' or '.join(sorted(API_VERSIONS[kind]))}, got {shown(version)}")
    _metadata(top.at("metadata"))
    _SPECS[kind](top)
    return kind, name


def _identity(manifest: Manifest) -> tuple[str, str]:
    if not isinstance(manifest, Mapping):
        raise Invalid("(unknown)", "(unnamed)", "(top)", "must be a mapping")
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    named = name if isinstance(name, str) and name else "(unnamed)"
    kind = manifest.get("kind")
    if not isinstance(kind, str) or kind not in API_VERSIONS:
        said = kind[:80] if isinstance(kind, str) else shown(kind)
        raise Invalid(said, named, "kind", f"must be one of {', '.join(sorted(API_VERSIONS))}")
    if not isinstance(name, str) or not _NAME.match(name):
        raise Invalid(kind, named, "metadata.name", f"must be a DNS label of at most 63 characters, got {shown(name)}")
    return kind, name


def _metadata(metadata: Place) -> None:
    labels, annotations = metadata.at("labels"), metadata.at("annotations")
    for key, value in ({} if labels.absent else labels.mapping()).items():
        if not isinstance(value, str) or not _LABEL.match(value):
            rule = "must be a label value (letters, digits, '-_.'; at most 63)"
            raise labels.at(key).refuse(f"{rule}, got {shown(value)}")
    for key, value in ({} if annotations.absent else annotations.mapping()).items():
        if not isinstance(value, str):
            raise annotations.at(key).refuse(f"must be a string, got {shown(value)}")


def _inference_service(top: Place) -> None:
    mode = top.at("metadata").at("annotations")
    chosen = None if mode.absent else mode.mapping().get(DEPLOYMENT_MODE)
    if chosen not in STANDARD_MODES:
        raise mode.at(DEPLOYMENT_MODE).refuse(f"must be Standard, got {shown(chosen)}")
    predictor = top.at("spec").at("predictor")
    if "canaryTrafficPercent" in predictor.mapping():
        raise predictor.at("canaryTrafficPercent").refuse(
            "is silently ignored in Standard mode; weights belong to the route"
        )
    containers = predictor.at("containers").items(at_least=1)
    if len(containers) > 1:
        raise predictor.at("containers").refuse(f"must hold exactly one container, got {len(containers)}")
    container = containers[0]
    container.at("name").text()
    _command(container)
    for variable in [] if container.at("env").absent else container.at("env").items():
        if not _VARIABLE.match(variable.at("name").text()):
            raise variable.at("name").refuse("must be a variable's name (letters, digits, '-_.')")
        if "value" in variable.mapping() and variable.at("value").value != "":
            variable.at("value").word()


def _command(container: Place) -> None:
    for entry in container.at("command").items(at_least=1):
        entry.word()
    for entry in [] if container.at("args").absent else container.at("args").items():
        if entry.word() == UNATTESTED:
            raise entry.refuse("is for tests: a service serves what its gates have vouched for")


def _virtual_service(top: Place) -> None:
    _sticky_header(top.at("metadata").at("annotations"))
    spec = top.at("spec")
    for host in spec.at("hosts").items(at_least=1):
        host.text()
    http = spec.at("http").items(at_least=1)
    if len(http) > 1:
        raise spec.at("http").refuse(f"must hold exactly one rule, got {len(http)}")
    rule = http[0]
    _weights(rule.at("route"))
    if not rule.at("mirror").absent:
        rule.at("mirror").at("host").text()
    share = rule.at("mirrorPercentage")
    if not share.absent:
        value = share.at("value")
        if not isinstance(value.value, int | float) or isinstance(value.value, bool) or not 0 <= value.value <= 100:
            raise value.refuse(f"must be a number from 0 to 100, got {shown(value.value)}")
    _duration(rule.at("timeout"))


def _sticky_header(annotations: Place) -> None:
    """Servers and logs know the visitor by one header: a split by another one would be judged by the wrong people."""
    header = None if annotations.absent else annotations.mapping().get(STICKY_HEADER_ANNOTATION)
    if header is not None and str(header).lower() != visitor_id.HEADER:
        raise annotations.at(STICKY_HEADER_ANNOTATION).refuse(
            f"must be {visitor_id.HEADER}, by which model servers and logs know the visitor, got {shown(header)}"
        )


def _weights(route: Place) -> None:
    destinations = route.items(at_least=1)
    if len(destinations) > 2:
        raise route.refuse(
            f"must name stable, or canary and stable in this order, got {len(destinations)} destinations"
        )
    hosts = [entry.at("destination").at("host").text() for entry in destinations]
    if len(set(hosts)) < len(hosts):
        raise route.refuse(f"names {hosts[0]!r} twice")
    if len(destinations) == 1 and destinations[0].at("weight").absent:
        return
    total = sum(entry.at("weight").whole(0, 10_000) for entry in destinations)
    if total not in {100, 10_000}:
        raise route.refuse(f"weights must sum to 10000 (or to 100), got {total}")


def _destination_rule(top: Place) -> None:
    spec = top.at("spec")
    spec.at("host").text()
    policy = spec.at("trafficPolicy")
    if policy.absent:
        return
    policy.mapping()
    outliers = policy.at("outlierDetection")
    if not outliers.absent:
        for key in ("interval", "baseEjectionTime"):
            _duration(outliers.at(key))
        for key in ("consecutive5xxErrors", "consecutiveGatewayErrors"):
            if not outliers.at(key).absent:
                outliers.at(key).whole(0, 1_000_000)
        if not outliers.at("maxEjectionPercent").absent:
            outliers.at("maxEjectionPercent").whole(0, 100)


def _duration(place: Place) -> None:
    if not place.absent and not DURATION.match(place.text()):
        raise place.refuse(f"must be a duration such as 250ms or 2.5s, got {shown(place.value)}")


_SPECS: Final[Mapping[str, Callable[[Place], None]]] = {
    INFERENCE_SERVICE: _inference_service,
    VIRTUAL_SERVICE: _virtual_service,
    DESTINATION_RULE: _destination_rule,
}
