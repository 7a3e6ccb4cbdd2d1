"""Manifests that break one rule of a kind that the platform knows, and manifests in every form that it takes.

Here: documents changed at a place they know. Not here: the rules (platform/validation.py).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmarks.malformed.cases import Case, Good, Refused, sample
from recsys_assets.platform.interface import ANY, Invalid
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets_tests.contracts.manifests import destination_rule, inference_service, virtual_service

Path_ = tuple[str | int, ...]
_CONTAINER: Path_ = ("spec", "predictor", "containers", 0)
_RULE: Path_ = ("spec", "http", 0)
_NOT_TEXT: list[Any] = [None, "", 5, True, 1.5, [], {}, ["x"]]
_NO_NAME = ["", None, 5, "A", "a_b", "../etc", "a/b", "a" * 64, "-a", "a-", "a b", "a\x00", "ä", "1a", "a\n", [], "a.b"]
_NO_COUNT = [-1, 10_001, 1.5, "5000", None, True, float("nan"), float("inf"), [], 10**30]
_NO_DURATION = ["5", "5 s", "-1s", "1h", "s", 5, "", "1e3s", "١s", "1s\n", "NaNs", [], True]
_CONTROL = ["a\x00b", "a\nb", "a\rb"]

# For each kind: place, the field that the refusal must name, and values that break a rule there.
Rules = list[tuple[Path_, str, list[Any]]]
SERVICE: Rules = [
    (("apiVersion",), "apiVersion", ["v1", "serving.kserve.io/v1", "", None, 5, []]),
    (("kind",), "kind", ["Pod", "inferenceservice", "", None, 5, [], {}]),
    (("metadata", "name"), "metadata.name", _NO_NAME),
    (("metadata", "labels"), "metadata.labels", ["x", [], 5]),
    (("metadata", "labels", "model"), "metadata.labels.model", ["a b", "-", "a" * 64, 5, None, "ü", "a\n", True]),
    (("metadata", "annotations", "x"), "metadata.annotations.x", [5, None, [], {}, True]),
    (
        ("metadata", "annotations", "serving.kserve.io/deploymentMode"),
        "deploymentMode",
        ["Serverless", "", None, "standard", 5, "Knative"],
    ),
    (("spec",), "spec", [None, [], "x", 5]),
    (("spec", "predictor"), "spec.predictor", [None, [], "x"]),
    (("spec", "predictor", "canaryTrafficPercent"), "spec.predictor.canaryTrafficPercent", [0, 10, 100, None, "x"]),
    (("spec", "predictor", "containers"), "spec.predictor.containers", [None, [], {}, "x", [{}, {}]]),
    ((*_CONTAINER, "name"), "spec.predictor.containers[0].name", _NOT_TEXT),
    ((*_CONTAINER, "command"), "spec.predictor.containers[0].command", [None, [], {}, "sleep", 5]),
    ((*_CONTAINER, "command", 0), "spec.predictor.containers[0].command[0]", _NOT_TEXT + _CONTROL),
    ((*_CONTAINER, "args"), "spec.predictor.containers[0].args", [{}, "60", 5, True]),
    ((*_CONTAINER, "args", 0), "spec.predictor.containers[0].args[0]", _NOT_TEXT + _CONTROL),
    ((*_CONTAINER, "args", 0), "spec.predictor.containers[0].args[0]", ["--unattested"]),
    ((*_CONTAINER, "env"), "spec.predictor.containers[0].env", [{}, "x", 5]),
    (
        (*_CONTAINER, "env"),
        "env[0].name",
        [[{}], [{"name": ""}], [{"name": 5}], [{"name": "A=B"}], [{"name": "a\x00"}]],
    ),
    ((*_CONTAINER, "env"), "env[0].value", [[{"name": "A", "value": v}] for v in (5, True, [], {}, "a\x00b", "a\nb")]),
    (("surprise",), "(top)", [1, None, {}]),
    (("metadata",), "metadata", [None, [], "x", 5]),
]
ROUTE: Rules = [
    (("apiVersion",), "apiVersion", ["networking.istio.io/v2", "", None, "serving.kserve.io/v1beta1"]),
    (("metadata", "name"), "metadata.name", _NO_NAME),
    (("metadata", "annotations"), "metadata.annotations", ["x", [], 5]),
    (("spec", "hosts"), "spec.hosts", [None, [], {}, "films"]),
    (("spec", "hosts", 0), "spec.hosts[0]", _NOT_TEXT),
    (("spec", "http"), "spec.http", [None, [], {}, "x", [{}, {}]]),
    ((*_RULE, "route"), "spec.http[0].route", [None, [], {}, "x"]),
    ((*_RULE, "route", 0, "destination"), "spec.http[0].route[0].destination", [None, [], "x", 5]),
    ((*_RULE, "route", 0, "destination", "host"), "spec.http[0].route[0].destination.host", _NOT_TEXT),
    ((*_RULE, "route", 1, "destination", "host"), "spec.http[0].route", ["films-v2"]),
    ((*_RULE, "route", 0, "weight"), "spec.http[0].route[0].weight", _NO_COUNT),
    ((*_RULE, "route", 0, "weight"), "spec.http[0].route", [0, 1, 999, 1_001, 9_999, 10_000]),
    ((*_RULE, "route", 2), "spec.http[0].route", [{"destination": {"host": "films-v3"}, "weight": 0}]),
    ((*_RULE, "mirror"), "spec.http[0].mirror", ["x", [], 5]),
    ((*_RULE, "mirror"), "spec.http[0].mirror.host", [{}, {"host": ""}, {"host": 5}, {"host": None}]),
    (
        (*_RULE, "mirrorPercentage"),
        "spec.http[0].mirrorPercentage",
        [{"value": v} for v in (-1, 100.1, "5", None, True, float("nan"), float("inf"), [])] + ["x", [], 5],
    ),
    ((*_RULE, "timeout"), "spec.http[0].timeout", _NO_DURATION),
    (("surprise",), "(top)", [1, None]),
]
DESTINATION: Rules = [
    (("metadata", "name"), "metadata.name", _NO_NAME),
    (("spec",), "spec", [None, [], "x"]),
    (("spec", "host"), "spec.host", _NOT_TEXT),
    (("spec", "trafficPolicy"), "spec.trafficPolicy", ["x", [], 5]),
    (("spec", "trafficPolicy", "outlierDetection"), "spec.trafficPolicy.outlierDetection", ["x", [], 5]),
    *[
        (("spec", "trafficPolicy", "outlierDetection", name), f"outlierDetection.{name}", _NO_DURATION)
        for name in ("interval", "baseEjectionTime")
    ],
    *[
        (
            ("spec", "trafficPolicy", "outlierDetection", name),
            f"outlierDetection.{name}",
            [-1, 1.5, "5", True, 10**30, [], float("nan")],
        )
        for name in ("consecutive5xxErrors", "consecutiveGatewayErrors", "maxEjectionPercent")
    ],
]
_WORLD = [
    ("service", SERVICE, inference_service("films-v2")),
    (
        "route",
        ROUTE,
        virtual_service({"films-v2": 1_000, "films-v1": 9_000}, shadow="films-v3", annotations={"a": "b"}),
    ),
    ("destination", DESTINATION, destination_rule("films-v2")),
]
# Anything at all in the place of a whole manifest.
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "metadata", "spec", "name", "x"]), inner)
    ),
    max_leaves=8,
)


def mutated(folder: Path, rng: random.Random) -> Iterator[Case]:
    """Without end: each rule in turn with one of the values that break it, then anything at all by hypothesis."""
    store = ManifestStore(folder / "malformed.db")
    while True:
        for kind, rules, base in _WORLD:
            for place, named, values in rules:
                value = rng.choice(values)
                rule = f"{kind}:{'.'.join(map(str, place))}"
                made = changed(base, place, value)
                yield Case(rule, lambda m=made: _apply(store, m), "Invalid", (named,))  # type: ignore[misc]
            yield Case(f"{kind}:deep", lambda b=base: _apply(store, _deep(b)), "Invalid", ("annotations",))  # type: ignore[misc]
        for value in sample(_ANYTHING, 20, start=rng.randrange(2**32)):
            yield Case("anything", lambda v=value: _apply(store, v), "Invalid")  # type: ignore[misc]


def changed(base: Any, place: Path_, value: Any) -> Any:
    """A copy with this value at this place; a list is filled up to it."""
    made = copy.deepcopy(base)
    inner: Any = made
    *way, last = place
    for step in way:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[int(step)]
    if isinstance(inner, list) and int(last) == len(inner):
        inner.append(value)
    else:
        inner[last] = value
    return made


def _deep(base: Any) -> Any:
    nested: Any = "x"
    for _ in range(5_000):
        nested = [nested]
    return changed(base, ("metadata", "annotations"), nested)


def _apply(store: ManifestStore, manifest: Any) -> Refused | None:
    try:
        store.apply(manifest, expected=ANY)
    except Invalid as refused:
        said = str(refused)
        return Refused("Invalid" if len(said) < 20_000 else "Invalid without end", f"{refused.field} | {said}")
    return None


def valid(folder: Path, rng: random.Random) -> Iterator[Good]:
    """Without end: weights, names, optional parts; what is read back is what was applied."""
    store = ManifestStore(folder / "valid.db")
    while True:
        name = "films-v" + rng.choice(["1", "12", "0", "a-1", "9" * 40])
        service = inference_service(name, args=rng.choice([[], ["--x", "$(PORT)", "100%", "é", "a b", "'"], ["-"]]))
        service["metadata"]["labels"] |= rng.choice([{}, {"x": ""}, {"a/b": "A.b_c-1"}, {"y": "a" * 63}])
        container = service["spec"]["predictor"]["containers"][0]
        container |= rng.choice(
            [{}, {"env": []}, {"env": [{"name": "A", "value": "b=c"}, {"name": "B"}]}, {"ports": []}]
        )
        weight = rng.randrange(10_001)
        total = rng.choice([100, 10_000])
        share = weight * total // 10_000
        route = virtual_service({"films-v2": share, "films-v1": total - share}, shadow=rng.choice([None, "films-v3"]))
        route["metadata"]["annotations"] = {"reason": rng.choice(["", "用户", "a\nb", "x" * 5_000])}
        route["spec"]["http"][0] |= rng.choice([{}, {"timeout": "1.5s"}, {"timeout": "250ms"}, {"timeout": None}])
        route["apiVersion"] = rng.choice(["networking.istio.io/v1", "networking.istio.io/v1beta1"])
        rule = destination_rule(name)
        rule["spec"] |= rng.choice([{}, {"trafficPolicy": None}, {"trafficPolicy": {}}])
        for made in (service, route, rule):
            yield Good(f"a {made['kind']}", lambda m=made: _kept(store, m))  # type: ignore[misc]


def _kept(store: ManifestStore, manifest: Any) -> str:
    refused = _apply(store, manifest)
    if refused is not None:
        return refused.said
    found = store.get(manifest["kind"], manifest["metadata"]["name"]) or {}
    apart = [key for key in ("apiVersion", "kind", "spec") if found.get(key) != manifest[key]]
    return f"read back otherwise: {', '.join(apart)}" if apart else ""
