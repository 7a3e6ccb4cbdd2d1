"""The running model server: both protocol versions, every kind of malformed request, exposures.

Here: one real process over HTTP. Not here: the online store (test_online_store.py), drills (test_faults.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_assets import visitor_id
from recsys_assets.recommender.bundle import read_golden
from recsys_assets.serving.logs import read_exposures
from recsys_assets_tests.serving.processes import Running

V1, V2 = "/v1/models/recommender:predict", "/v2/models/recommender/infer"
JSON = {"content-type": "application/json"}
USER_TENSOR = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["u03", "u04"]}


def test_the_server_says_who_it_is(server: Running) -> None:
    get = server.client.get
    assert get("/v2/health/live").json()["live"] is True
    assert get("/v2/health/ready").json()["ready"] is True
    assert get("/v1/models").json() == {"models": ["recommender"]}
    assert get("/v1/models/recommender").json() == {"name": "recommender", "ready": True}
    assert get("/v2/models/recommender").json()["versions"] == ["3"]
    assert get("/v2/models/recommender/versions/3/ready").json()["ready"] is True
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]


def test_the_server_holds_the_ranker_and_neither_pandas_nor_scikit_learn(server: Running) -> None:
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "lib_lightgbm" in mapped
    assert not [name for name in ("/pandas/", "/sklearn/", "/pyarrow/") if name in mapped]


def test_golden_requests_give_the_offline_scores(server: Running, home: Path) -> None:
    for golden in read_golden(home / "bundles" / "3"):
        profile = golden.model_dump(include={"features", "recent_items", "recent_times"})
        answer = server.predict({"user_id": golden.user_id, "k": golden.k, "profile": profile}).json()["predictions"][0]
        assert [shown["item_id"] for shown in answer["items"]] == golden.items
        assert [shown["score"] for shown in answer["items"]] == pytest.approx(golden.scores, abs=1e-9)
        assert (answer["rung"], answer["model_version"], answer["flags"]) == ("full", "3", ["given_profile"])


def test_an_answer_names_version_request_variant_and_rung(server: Running) -> None:
    headers = {"x-request-id": "r-1", "x-user-id": "visitor", "x-recsys-variant": "canary"}
    response = server.predict({"user_id": "u03", "k": 3}, headers=headers)
    answer = response.json()["predictions"][0]
    assert (answer["user_id"], answer["variant"], answer["request_id"]) == ("u03", "canary", "r-1")
    assert len(answer["items"]) == 3
    assert response.headers["x-model-version"] == "3"
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["x-recsys-rung"] == answer["rung"]


@pytest.mark.parametrize(("named", "variant"), [("recommender-v3", "shadow"), ("recommender-v4", "stable")])
def test_a_copy_is_known_by_the_service_that_gets_copies(server: Running, named: str, variant: str) -> None:
    headers = {"x-user-id": "visitor", "x-recsys-variant": "stable", "x-recsys-shadow": named}
    answer = server.predict({"user_id": "u03", "k": 3}, headers=headers).json()["predictions"][0]
    assert answer["variant"] == variant


def test_the_items_already_seen_are_not_shown_again(server: Running) -> None:
    seen = {"features": {}, "recent_items": ["i00", "i01"], "recent_times": [1.7e9, 1.7e9]}
    shown = server.predict({"user_id": "new", "k": 100, "profile": seen}).json()["predictions"][0]["items"]
    assert shown
    assert not {"i00", "i01"} & {entry["item_id"] for entry in shown}


def test_version_2_echoes_the_id_and_both_versions_agree(server: Running) -> None:
    k = {"name": "k", "datatype": "INT32", "shape": [1], "data": [4]}
    answer = server.client.post(V2, json={"id": "mine", "inputs": [USER_TENSOR, k]}).json()
    assert answer["id"] == "mine"
    tensors = {out["name"]: out for out in answer["outputs"]}
    assert tensors["item_id"]["shape"] == [2, 4]
    one = server.predict({"user_id": "u03", "k": 4}).json()["predictions"][0]["items"]
    assert tensors["item_id"]["data"][:4] == [shown["item_id"] for shown in one]
    assert tensors["score"]["data"][:4] == [shown["score"] for shown in one]


def test_version_2_without_an_id_is_answered(server: Running) -> None:
    answer = server.client.post(V2, json={"inputs": [USER_TENSOR], "outputs": [{"name": "rung"}]}).json()
    assert answer["id"]
    assert [out["name"] for out in answer["outputs"]] == ["rung"]


def v1(*instances: object, **more: object) -> dict[str, object]:
    return {"instances": list(instances), **more}


def v2(**change: object) -> dict[str, object]:
    return {"inputs": [{**USER_TENSOR, **change}]}


MALFORMED: list[tuple[str, object, int, str]] = [
    (V1, b"", 400, "body"),
    (V1, b"{", 400, "body"),
    (V1, b'{"instances": [{"user_id": "\xff"}]}', 400, "body"),
    (V1, b"[" * 5_000, 400, "body"),
    (V1, [], 422, "body"),
    (V1, {}, 422, "instances"),
    (V1, v1(), 422, "instances"),
    (V1, v1(*[{"user_id": "u"}] * 65), 422, "instances"),
    (V1, v1({"user_id": "u"}, surprise=1), 422, "surprise"),
    (V1, v1("u03"), 422, "instances[0]"),
    (V1, v1({"user_id": "u"}, {"k": 3}), 422, "instances[1].user_id"),
    (V1, v1({"user_id": 7}), 422, "instances[0].user_id"),
    (V1, v1({"user_id": ""}), 422, "instances[0].user_id"),
    (V1, v1({"user_id": "x" * 257}), 422, "instances[0].user_id"),
    (V1, v1({"user_id": "a\u0000b"}), 422, "instances[0].user_id"),
    (V1, v1({"user_id": "u", "k": 0}), 422, "instances[0].k"),
    (V1, v1({"user_id": "u", "k": 101}), 422, "instances[0].k"),
    (V1, v1({"user_id": "u", "k": "3"}), 422, "instances[0].k"),
    (V1, v1({"user_id": "u", "k": True}), 422, "instances[0].k"),
    (V1, v1({"user_id": "u", "k": 3.0}), 422, "instances[0].k"),
    (V1, v1({"user_id": "u", "K": 3}), 422, "instances[0].K"),
    (V1, v1({"user_id": "u", "profile": {"recent_items": ["i"]}}), 422, "instances[0].profile.recent_times"),
    (V1, v1({"user_id": "u", "profile": {"features": {"a": "b"}}}), 422, "instances[0].profile.features.a"),
    (V2, {"inputs": []}, 422, "inputs"),
    (V2, {"inputs": [USER_TENSOR, USER_TENSOR]}, 422, "inputs"),
    (V2, v2(name="user"), 422, "inputs"),
    (V2, v2(datatype="FP32"), 422, "inputs[0].datatype"),
    (V2, v2(shape=[3]), 422, "inputs[0].shape"),
    (V2, v2(shape=[-1]), 422, "inputs[0].shape"),
    (V2, v2(data=["u03", 4]), 422, "inputs[0].data[1]"),
    (V2, v2(data=["u03", ""]), 422, "user_id[1]"),
    (V2, v2(data=[], shape=[0]), 422, "inputs[0].data"),
    (V2, {**v2(), "outputs": [{"name": "nope"}]}, 422, "outputs[0].name"),
    (V2, {**v2(), "id": 5}, 422, "id"),
]


@pytest.mark.parametrize(("path", "body", "status", "where"), MALFORMED)
def test_a_malformed_request_is_refused_with_its_place(
    server: Running, path: str, body: object, status: int, where: str
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = server.client.post(path, content=raw, headers=JSON)
    said = response.json()
    assert response.status_code == status, said
    assert said["error"]
    assert where in {fault["where"] for fault in said["faults"]}
    assert all(fault["rule"] for fault in said["faults"])


def test_limits_types_and_unknown_routes_are_refused_as_what_they_are(server: Running) -> None:
    client = server.client
    large = b'{"instances": ["' + b"x" * (1 << 20) + b'"]}'
    assert client.post(V1, content=large, headers=JSON).status_code == 413

    def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    assert client.post(V1, content=pieces(), headers=JSON).status_code == 413
    assert client.post(V1, content=b"user_id=3", headers={"content-type": "text/plain"}).status_code == 400
    assert client.post(V1, content=b"<k>3</k>", headers={"content-type": "text/xml"}).status_code == 415
    assert client.get(V2).status_code == 405
    for path in ("/nope", "/v1/models/other", "/v2/models/recommender/versions/9", "/docs", "/openapi.json"):
        refused = client.get(path)
        assert refused.status_code == 404, path
        assert refused.json()["error"]
    assert client.post("/v1/models/other:predict", json={}).status_code == 404


BODY: dict[str, Any] = v1({"user_id": "u03", "k": 5, "profile": {"features": {"events_7d": 1.0}, "recent_items": []}})
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], value: Any) -> Any:
    """The value with some part of it replaced."""
    if draw(st.integers(0, 3)) == 0:
        return draw(JUNK)
    if isinstance(value, dict):
        return {key: mutated(draw, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mutated(draw, inner) for inner in value]
    return value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutated_body_gets_a_5xx(server: Running, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([V1, V2]))
    body = mutated(data.draw, BODY if path == V1 else {"id": "a", **v2()})
    raw = json.dumps(body).encode()
    cut = data.draw(st.integers(0, 9))
    response = server.client.post(path, content=raw[: len(raw) * cut // 5], headers=JSON)
    assert response.status_code in {200, 400, 422}, response.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=300), name=st.sampled_from(["x-user-id", "x-request-id", "x-recsys-variant"]))
def test_no_header_gets_a_5xx(server: Running, value: bytes, name: str) -> None:
    clean = bytes(byte for byte in value if byte >= 32 and byte != 127).strip()
    headers = {name.encode(): clean, b"content-type": b"application/json"}
    response = server.client.post(V1, content=json.dumps(v1({"user_id": "u03"})).encode(), headers=headers)
    is_visitor = name == "x-user-id" or (name == "x-recsys-variant" and clean in {b"stable", b"canary", b"shadow"})
    fit = name == "x-user-id" and visitor_id.read([clean]) is not None
    assert response.status_code == (200 if fit or not is_visitor else 400)


def test_a_visitors_answer_is_exposed_once_and_a_probe_is_not(server: Running, home: Path) -> None:
    since = datetime.now(UTC)
    named = {"x-user-id": "visitor 1", "x-request-id": "exposed-1", "x-recsys-variant": "stable"}
    answer = server.client.post(V1, json=v1({"user_id": "u05", "k": 4}), headers=named).json()["predictions"][0]
    shadow = {"x-user-id": "visitor-2", "x-request-id": "mirrored", "host": "recommender-shadow:8080"}
    server.predict({"user_id": "u06"}, headers=shadow)
    server.predict({"user_id": "u07"}, headers={"x-request-id": "probe"})
    rows = {row["request_id"]: row for row in read_exposures(home / "logs" / "exposures", since).to_dicts()}
    assert set(rows) == {"exposed-1", "mirrored"}
    assert rows["mirrored"]["variant"] == "shadow"
    row = rows["exposed-1"]
    assert (row["visitor_id"], row["user_id"], row["variant"]) == ("visitor 1", "u05", "stable")
    assert row["items"] == [shown["item_id"] for shown in answer["items"]]
    assert row["model_version"] == "3"


@pytest.mark.parametrize("unfit", [{}, {"x-user-id": "é"}, {"x-user-id": "x" * 300}, {"x-user-id": "a,b"}])
@pytest.mark.parametrize("variant", ["stable", "canary", "shadow"])
def test_nobody_is_answered_who_would_be_logged_under_another_name(
    server: Running, home: Path, variant: str, unfit: dict[str, str]
) -> None:
    since = datetime.now(UTC)
    headers = {"x-recsys-variant": variant, **unfit}
    encoded = {key: value.encode() for key, value in headers.items()}
    refused = server.client.post(V1, json=v1({"user_id": "guest"}), headers=encoded)
    assert (refused.status_code, refused.json()["faults"][0]["where"]) == (400, "x-user-id")
    assert read_exposures(home / "logs" / "exposures", since).is_empty()


def test_metrics_count_requests_rungs_and_the_version(server: Running) -> None:
    server.predict({"user_id": "u03"})
    text = server.client.get("/metrics").text
    assert 'recsys_model_info{model="recommender",model_version="3"} 1.0' in text
    assert 'recsys_requests_total{model="recommender",model_version="3",status="200",variant="direct"}' in text
    assert 'rung="no_online_store"' in text
    assert "recsys_latency_seconds_bucket" in text


def test_a_client_that_goes_away_mid_body_does_no_harm(server: Running) -> None:
    import socket

    host, port = server.client.base_url.host, server.client.base_url.port
    assert port is not None
    for _ in range(5):
        with socket.create_connection((host, port)) as raw:
            raw.sendall(b"POST " + V1.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert server.predict({"user_id": "u03"}).status_code == 200
    assert isinstance(server.client, httpx.Client)
