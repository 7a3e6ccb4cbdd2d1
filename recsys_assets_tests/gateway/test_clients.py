"""Published clients ask the gateway, as their users would: tritonclient, KServe's InferenceRESTClient, curl and others.

Here: their own calls and defaults, through a real Envoy to real servers. Not here: cases of HTTP (`test_http.py`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import kserve
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from recsys_assets import visitor_id
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.gateway.house import INFER, PREDICT, Gateway, ask
from recsys_assets_tests.waiting import eventually

ANN = {"x-user-id": "ann"}
USERS = ["u03", "u04"]
BODY = ask("u03", 3)


@pytest.fixture(scope="module")
def expected(gateway: Gateway) -> list[list[str]]:
    """Three items for each of the users, by version 1 of the protocol."""
    body = {"instances": [{"user_id": user, "k": 3} for user in USERS]}
    answer = httpx.post(gateway.url + PREDICT, json=body, headers=dict(ANN), trust_env=False, timeout=60).json()
    return [[entry["item_id"] for entry in each["items"]] for each in answer["predictions"]]


def texts(array: np.ndarray | None) -> list[list[str]]:
    assert array is not None
    return [[item.decode() if isinstance(item, bytes) else str(item) for item in row] for row in array]


# --- tritonclient ----------------------------------------------------------------------------------------------------


@pytest.fixture
def client(gateway: Gateway) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{gateway.port}", network_timeout=60) as asking:
        yield asking


def tensors(*, binary: bool, shape: tuple[int, ...] = (2,)) -> list[triton.InferInput]:
    users = triton.InferInput("user_id", list(shape), "BYTES")
    users.set_data_from_numpy(np.array(USERS, dtype=np.object_).reshape(shape), binary_data=binary)
    k = triton.InferInput("k", [1], "INT32")
    k.set_data_from_numpy(np.array([3], dtype=np.int32), binary_data=binary)
    return [users, k]


def test_tritonclient_asks_for_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("films")
    assert client.is_model_ready("films", "1")
    assert not client.is_model_ready("films", "9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("films")["versions"] == ["1"]


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_tritonclient_gets_recommendations_by_its_defaults(
    client: triton.InferenceServerClient,
    expected: list[list[str]],
    coding: str | None,
    binary: bool,
    shape: tuple[int, ...],
) -> None:
    result = client.infer(
        "films",
        tensors(binary=binary, shape=shape),
        headers=dict(ANN),
        request_id="mine",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert texts(result.as_numpy("item_id")) == expected
    assert result.as_numpy("score").shape == (2, 3)
    assert result.as_numpy("count").tolist() == [3, 3]
    assert result.get_response()["id"] == "mine"


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_selects_outputs(
    client: triton.InferenceServerClient, expected: list[list[str]], binary: bool
) -> None:
    wanted = [triton.InferRequestedOutput("item_id", binary_data=binary)]
    result = client.infer("films", tensors(binary=True), outputs=wanted, headers=dict(ANN))
    assert texts(result.as_numpy("item_id")) == expected
    assert result.as_numpy("score") is None


def test_tritonclient_is_told_why_it_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="header x-user-id is missing or unfit"):
        client.infer("films", tensors(binary=True))
    with pytest.raises(InferenceServerException, match="leave /versions/<version> out"):
        client.infer("films", tensors(binary=True), model_version="1", headers=dict(ANN))
    wanted = [triton.InferRequestedOutput("item_id", class_count=2)]
    with pytest.raises(InferenceServerException, match="classification: is an extension that this server does not"):
        client.infer("films", tensors(binary=True), outputs=wanted, headers=dict(ANN))


# --- KServe ----------------------------------------------------------------------------------------------------------


def test_kserves_client_speaks_version_2(gateway: Gateway, expected: list[list[str]]) -> None:
    async def story() -> None:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=60)) as asking:
            assert await asking.is_server_live(gateway.url)
            assert await asking.is_server_ready(gateway.url)
            assert await asking.is_model_ready(gateway.url, "films")
            for binary in (True, False):
                users = kserve.InferInput("user_id", [2], "BYTES")
                users.set_data_from_numpy(np.array(USERS, dtype=np.object_), binary_data=binary)
                k = kserve.InferInput("k", [1], "INT32", data=[3])
                request = kserve.InferRequest("films", [users, k], request_id="mine")
                answer = await asking.infer(gateway.url, request, model_name="films", headers=dict(ANN))
                found = {output.name: output for output in answer.outputs}
                assert texts(np.array(found["item_id"].data).reshape(2, 3)) == expected
                assert answer.id == "mine"

    asyncio.run(story())


def test_kserves_client_asks_for_binary_outputs(gateway: Gateway, expected: list[list[str]]) -> None:
    async def story() -> None:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=60)) as asking:
            users = kserve.InferInput("user_id", [2, 1], "BYTES", data=[["u03"], ["u04"]])
            k = kserve.InferInput("k", [2, 1], "INT64", data=[[3], [3]])
            request = kserve.InferRequest("films", [users, k], parameters={"binary_data_output": True})
            answer = await asking.infer(gateway.url, request, model_name="films", headers=dict(ANN))
            found = {output.name: output.as_numpy() for output in answer.outputs}
            assert texts(found["item_id"]) == expected

    asyncio.run(story())


def test_kserves_client_speaks_version_1(gateway: Gateway, expected: list[list[str]]) -> None:
    async def story() -> None:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1", timeout=60)) as asking:
            assert await asking.is_server_live(gateway.url)
            assert await asking.is_model_ready(gateway.url, "films")
            body = {"instances": [{"user_id": user, "k": 3} for user in USERS]}
            answer = await asking.infer(gateway.url, body, model_name="films", headers=dict(ANN))
            assert [[e["item_id"] for e in each["items"]] for each in answer["predictions"]] == expected
            with pytest.raises(httpx.HTTPStatusError, match="header x-user-id is missing or unfit"):
                await asking.infer(gateway.url, body, model_name="films")

    asyncio.run(story())


# --- general clients -------------------------------------------------------------------------------------------------


def first(answer: object) -> list[str]:
    assert isinstance(answer, dict), answer
    return [entry["item_id"] for entry in answer["predictions"][0]["items"]]


@pytest.mark.parametrize("words", [[], ["--http1.0"], ["--http2-prior-knowledge"], ["-H", "expect: 100-continue"]])
def test_curl_without_a_content_type(gateway: Gateway, expected: list[list[str]], words: list[str]) -> None:
    command = ["curl", "--silent", "--noproxy", "*", *words, "-H", "x-user-id: ann", "-d", BODY.decode()]
    said = subprocess.run([*command, gateway.url + PREDICT], check=True, capture_output=True, timeout=120).stdout
    assert first(json.loads(said)) == expected[0]


def test_requests_httpx_aiohttp_and_urllib(gateway: Gateway, expected: list[list[str]]) -> None:
    url, body = gateway.url + PREDICT, json.loads(BODY)
    with requests.Session() as session:
        session.trust_env = False
        answers = [session.post(url, json=body, headers=dict(ANN), timeout=60).json() for _ in range(2)]
    with httpx.Client(trust_env=False, timeout=60) as client:
        answers += [client.post(url, json=body, headers=dict(ANN)).json() for _ in range(2)]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, BODY, dict(ANN)), timeout=60) as answer:
        answers.append(json.load(answer))

    async def story() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
            for coding in (None, "gzip", "deflate"):
                async with session.post(url, data=BODY, headers=dict(ANN), compress=coding) as answer:
                    answers.append(await answer.json())

    asyncio.run(story())
    assert [first(answer) for answer in answers] == [expected[0]] * 8


def test_what_clients_make_of_a_name_that_is_not_ascii_is_refused_and_never_another_visitor(gateway: Gateway) -> None:
    """requests writes Latin-1 and aiohttp UTF-8: one name, two different ids."""

    async def by_aiohttp() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
            session.post(gateway.url + PREDICT, data=BODY, headers={"x-user-id": "josé"}) as answer,
        ):
            return answer.status, (await answer.json())["error"]

    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(gateway.url + PREDICT, data=BODY, headers={"x-user-id": "josé"}, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (400, visitor_id.WHY_NOT)
    assert asyncio.run(by_aiohttp()) == (400, visitor_id.WHY_NOT)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (Debian: nginx-light)")
def test_nginx_passes_requests_on_by_its_defaults(gateway: Gateway, expected: list[list[str]], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    temporary = "".join(f"{kind}_temp_path {tmp_path / kind};" for kind in ("client_body", "proxy", "fastcgi"))
    temporary += "".join(f"{kind}_temp_path {tmp_path / kind};" for kind in ("uwsgi", "scgi"))
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {gateway.url}; }} }}"
    text = f"daemon off; pid {tmp_path / 'pid'}; events {{}} http {{ access_log off; {temporary} {server} }}"
    (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "errors")]
    with subprocess.Popen(command) as nginx:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
                eventually(lambda: nginx.poll() is None and answers(client), what="nginx answers")
                assert first(client.post(PREDICT, content=BODY, headers=dict(ANN)).json()) == expected[0]
                assert client.post(INFER, content=b"{}", headers=dict(ANN)).status_code == 422
                assert client.get("/v2/health/ready").json()["ready"] is True
        finally:
            nginx.terminate()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False
