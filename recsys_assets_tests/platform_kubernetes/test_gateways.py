"""The verdict over what gateway pods tell: current only where all of them are.

Here: literal answers and a gateway of functions. Not here: a real Envoy (`cluster/test_sticky.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from recsys_assets.platform.kubernetes.dress import dressed
from recsys_assets.platform.kubernetes.gateways import ask_over_http, ask_pods, judged, pod_addresses
from recsys_assets.platform.kubernetes.split import Split, read_split
from recsys_assets_tests.contracts.manifests import virtual_service
from recsys_assets_tests.platform_kubernetes.stored import GATEWAY_API, ISTIO

CANARY = virtual_service({"films-v2": 500, "films-v1": 9_500})
STICKY = {"x-recsys-sticky": "fnv1a"}
PODS = {"a": "10.0.0.1:80", "b": "10.0.0.2:80"}
Answer = tuple[int, Mapping[str, str], str]


def current() -> str:
    told: str = dressed(ISTIO, CANARY)["spec"]["http"][0]["directResponse"]["body"]["string"]
    return told


def seen(answers: Mapping[str, Answer | OSError], split: Split | None = None) -> tuple[bool, dict[str, int], str]:
    def ask(url: str, host: str, seconds: float) -> Answer:
        answer = answers[url.split("/")[2]]
        if isinstance(answer, OSError):
            raise answer
        return answer

    pods = {pod: place for pod, place in PODS.items() if place in answers}
    verdict = judged(ask_pods(ISTIO, pods, ask), split or read_split(CANARY))
    return verdict.is_current, dict(verdict.weights), verdict.reason


def test_pods_that_all_tell_this_split_are_current() -> None:
    is_current, weights, _ = seen({place: (200, STICKY, current()) for place in PODS.values()})
    assert is_current
    assert weights == {"films-v2": 500, "films-v1": 9_500}


def test_a_gateway_that_wraps_its_own_answers_is_understood() -> None:
    wrapped = json.dumps({"error": current(), "request_id": "1"})
    assert seen({"10.0.0.1:80": (200, STICKY, wrapped)})[0]


def test_one_pod_that_is_behind_is_named_with_what_it_does() -> None:
    old = json.dumps({"route": "films", "revision": "old", "weights": {"films-v2": 100, "films-v1": 9_900}})
    is_current, weights, reason = seen({"10.0.0.1:80": (200, STICKY, current()), "10.0.0.2:80": (200, STICKY, old)})
    assert (is_current, weights) == (False, {})
    assert "gateway pod b still has revision old (films-v2 100 bp, films-v1 9900 bp)" in reason


@pytest.mark.parametrize(("answer", "told"), [
    (OSError("refused"), "gateway pod a: does not answer: refused"),
    ((404, {}, ""), "does not tell its split (404"),
    ((200, STICKY, "<html>"), "does not tell its split (200"),
    ((200, STICKY, "[]"), "does not tell its split (200"),
    ((302, {"location": "http://elsewhere/"}, ""), "does not tell its split (302"),
    ((200, {}, current()), "gateway pod a has no filter that keeps each user with one variant"),
])  # fmt: skip
def test_a_pod_that_does_not_tell_or_is_not_sticky_is_not_current(answer: Answer | OSError, told: str) -> None:
    is_current, _, reason = seen({"10.0.0.1:80": answer})
    assert not is_current
    assert told in reason


def test_without_pods_nothing_is_routed() -> None:
    assert seen({}) == (False, {}, "the gateway has no ready pod")


def test_a_route_to_one_service_needs_no_filter() -> None:
    single = virtual_service({"films-v1": 10_000})
    body = dressed(ISTIO, single)["spec"]["http"][0]["directResponse"]["body"]["string"]
    assert seen({"10.0.0.1:80": (200, {}, body)}, read_split(single))[0]


def test_an_http_route_is_read_from_where_it_redirects_to() -> None:
    rule = dressed(GATEWAY_API, CANARY)["spec"]["rules"][0]
    path = rule["filters"][0]["requestRedirect"]["path"]["replaceFullPath"]
    is_current, weights, _ = seen({"10.0.0.1:80": (302, STICKY | {"location": f"http://a.example{path}"}, "")})
    assert is_current
    assert weights == {"films-v2": 500, "films-v1": 9_500}


def test_only_ready_pods_are_asked_on_the_port_of_that_name() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"name": "a"}},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}, "targetRef": {"name": "b"}},
        {"addresses": ["fd00::1"], "targetRef": {"name": "c"}},
        {"addresses": []},
    ]
    ports = [{"name": "status", "port": 15021}, {"name": "http", "port": 8080}]
    found = pod_addresses([{"ports": ports, "endpoints": endpoints}], "http")
    assert found == {"a": "10.0.0.1:8080", "c": "[fd00::1]:8080"}
    assert pod_addresses([{"ports": [{"port": 8080}], "endpoints": endpoints[:1]}], None) == {"a": "10.0.0.1:8080"}
    assert pod_addresses([{"ports": ports, "endpoints": endpoints}], "another") == {}


def test_a_port_where_nobody_listens_is_an_os_error() -> None:
    with pytest.raises(OSError, match="ConnectError"):
        ask_over_http("http://127.0.0.1:1/", "films", 1.0)
