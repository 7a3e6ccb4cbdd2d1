"""What HTTP may look like at the gateway: versions, methods, paths, lengths, codings, content types.

Here: requests as bytes, through a real Envoy to real servers. Not here: published clients (`test_clients.py`).
"""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from recsys_assets.platform.local.envoy_listener import MAX_REQUEST_BYTES
from recsys_assets_tests.gateway.house import INFER, PREDICT, Gateway, Reply, ask

ANN = (b"x-user-id", b"ann")
BODY = ask("u03", 3)


def predict(gateway: Gateway, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    return gateway.send("POST", PREDICT, body, ANN, *headers)


def shown(reply: Reply) -> list[str]:
    assert reply.status == 200, reply
    return [entry["item_id"] for entry in reply.json()["predictions"][0]["items"]]


ABOUT = [
    ("/", {"status": "alive"}),
    ("/v1/models", {"models": ["films"]}),
    ("/v1/models/films", {"name": "films", "ready": True}),
    ("/v2", {"name": "recsys_assets"}),
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True}),
    ("/v2/models/films", {"name": "films", "versions": ["1"]}),
    ("/v2/models/films/ready", {"ready": True}),
    ("/v2/models/films/versions/1", {"name": "films", "versions": ["1"]}),
    ("/v2/models/films/versions/1/ready", {"ready": True}),
]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("path", "said"), ABOUT)
def test_questions_about_the_model_need_no_visitor(gateway: Gateway, path: str, said: object, slash: str) -> None:
    reply = gateway.send("GET", path.rstrip("/") + (slash or "/" * (path == "/")))
    assert reply.status == 200
    assert isinstance(said, dict)
    assert said.items() <= reply.json().items()
    head = gateway.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_questions_about_the_model_are_no_recommendations_to_whoever_counts(gateway: Gateway) -> None:
    asked = [gateway.send("GET", path, b"", ANN).headers["x-request-id"] for path, _ in ABOUT]
    asked += [gateway.send("GET", PREDICT, b"", ANN).headers["x-request-id"]]
    last = predict(gateway, BODY).headers["x-request-id"]
    gateway.counted_with(last)
    assert not set(gateway.counted()["request_id"]) & set(asked)
    assert not set(gateway.exposures()["request_id"]) & set(asked)


@pytest.mark.parametrize("path", [PREDICT, INFER, PREDICT + "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_another_method_than_post_is_told_what_to_use(gateway: Gateway, path: str, method: str) -> None:
    reply = gateway.send(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert method == "HEAD" or "is asked for with POST" in reply.json()["error"]


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("POST", "/v2", {"GET", "HEAD"}),
    ("POST", "/v2/models/films/ready", {"GET", "HEAD"}),
    ("GET", "/v1/feedback", {"POST"}),
])  # fmt: skip
def test_every_path_names_its_methods(gateway: Gateway, method: str, path: str, allow: set[str]) -> None:
    reply = gateway.send(method, path)
    assert (reply.status, set(reply.headers["allow"].split(", "))) == (405, allow)
    assert "this path takes" in reply.json()["error"]


def test_options_says_what_may_be_asked(gateway: Gateway) -> None:
    reply = gateway.send("OPTIONS", PREDICT)
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")


def test_a_recommendation_of_a_pinned_version_is_refused_to_both_arms_alike(gateway: Gateway) -> None:
    for version in ("1", "2"):
        for visitor in range(4):
            path = f"/v2/models/films/versions/{version}/infer"
            reply = gateway.send("POST", path, BODY, (b"x-user-id", b"%d" % visitor))
            assert reply.status == 400
            assert "leave /versions/<version> out" in reply.json()["error"]


@pytest.mark.parametrize("path", [PREDICT, PREDICT + "/", "/v1/models/films%3Apredict", "//v1/models/films:predict"])
def test_one_path_may_be_written_in_several_ways(gateway: Gateway, path: str) -> None:
    assert shown(gateway.send("POST", path, BODY, ANN)) == shown(predict(gateway, BODY))


@pytest.mark.parametrize("path", ["/v1/models/films2:predict", "/v1/models/films/predict", "/v2/models/films%2Finfer"])
def test_another_path_is_told_the_known_ones(gateway: Gateway, path: str) -> None:
    reply = gateway.send("POST", path, BODY, ANN)
    assert reply.status == 404
    assert "POST /v1/models/<name>:predict and POST /v2/models/<name>/infer for films" in reply.json()["error"]


@pytest.mark.parametrize("host", [b"", b"host: films\r\n"])
def test_http_1_0_is_answered_with_a_host_or_without_and_kept_open_where_asked(gateway: Gateway, host: bytes) -> None:
    head = b"POST " + PREDICT.encode() + b" HTTP/1.0\r\nx-user-id: ann\r\n" + host
    reply = gateway.raw(head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    assert shown(reply) == shown(predict(gateway, BODY))
    assert gateway.raw(b"GET /v2/health/ready HTTP/1.0\r\n" + host + b"\r\n").json()["ready"] is True


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def test_a_body_may_come_in_chunks(gateway: Gateway) -> None:
    head = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: films\r\nx-user-id: ann\r\nconnection: close\r\n"
    reply = gateway.raw(head + b"transfer-encoding: chunked\r\n\r\n" + chunked(BODY[:7], BODY[7:]))
    assert shown(reply) == shown(predict(gateway, BODY))


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(gateway: Gateway) -> None:
    assert shown(predict(gateway, BODY, (b"expect", b"100-continue"))) == shown(predict(gateway, BODY))


@pytest.mark.parametrize("path", [PREDICT, "/v1/feedback"])
def test_a_body_that_is_too_large_is_told_the_limit(gateway: Gateway, path: str) -> None:
    large = b" " * (MAX_REQUEST_BYTES + 1)
    json_type = (b"content-type", b"application/json")
    for body, coding in (
        (large, b"identity"),
        (gzip.compress(large, mtime=0), b"gzip"),
        (zlib.compress(large), b"deflate"),
    ):
        reply = gateway.send("POST", path, body, ANN, json_type, (b"content-encoding", coding))
        assert reply.status == 413
        assert str(MAX_REQUEST_BYTES) in reply.json()["error"]


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(("coding", "body"), [
    (b"identity", BODY),
    (b"", BODY),
    (b"gzip", gzip.compress(BODY, mtime=0)),
    (b"GZIP", gzip.compress(BODY, mtime=0)),
    (b"x-gzip", gzip.compress(BODY, mtime=0)),
    (b"gzip", gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0)),
    (b"deflate", zlib.compress(BODY)),
    (b"deflate", raw_deflate(BODY)),
])  # fmt: skip
def test_a_compressed_body_is_the_same_question(gateway: Gateway, coding: bytes, body: bytes) -> None:
    assert shown(predict(gateway, body, (b"content-encoding", coding))) == shown(predict(gateway, BODY))


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"deflate, br", b"utf-8"])
def test_another_coding_is_told_the_known_ones(gateway: Gateway, coding: bytes) -> None:
    reply = predict(gateway, BODY, (b"content-encoding", coding))
    assert (reply.status, reply.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert f"must be one of gzip, deflate, once, not {coding.decode()}" in reply.json()["error"]


@pytest.mark.parametrize(("coding", "body", "why"), [
    (b"gzip", BODY, "incorrect header check"),
    (b"gzip", gzip.compress(BODY, mtime=0)[:-1], "cut off"),
    (b"gzip", gzip.compress(BODY, mtime=0) + b"more", "incorrect header check"),
    (b"gzip", zlib.compress(BODY), "incorrect header check"),
    (b"deflate", zlib.compress(BODY)[:-1], ""),
    (b"deflate", zlib.compress(BODY) + b"more", ""),
    (b"gzip", b"", "empty"),
])  # fmt: skip
def test_a_body_that_is_not_what_its_coding_says_is_refused(
    gateway: Gateway, coding: bytes, body: bytes, why: str
) -> None:
    reply = predict(gateway, body, (b"content-encoding", coding))
    assert reply.status == 400
    assert f"is not {coding.decode()}, as content-encoding says" in reply.json()["error"]
    assert why in reply.json()["error"]


@pytest.mark.parametrize("kind", [
    None, b"application/json", b"application/json; charset=utf-8", b'APPLICATION/JSON;charset="UTF-8"', b"text/json",
    b"application/vnd.films+json", b"text/plain;charset=UTF-8", b"application/x-www-form-urlencoded",
    b"application/octet-stream",
])  # fmt: skip
def test_json_is_read_under_the_types_that_clients_give_it_by_default(gateway: Gateway, kind: bytes | None) -> None:
    headers = () if kind is None else ((b"content-type", kind),)
    assert shown(predict(gateway, BODY, *headers)) == shown(predict(gateway, BODY))


@pytest.mark.parametrize(("kind", "why"), [
    (b"text/xml", "must be application/json, not text/xml"),
    (b"multipart/form-data; boundary=x", "must be application/json, not multipart/form-data"),
    (b"application/x-protobuf", "must be application/json, not application/x-protobuf"),
    (b"json", "must be application/json, not json"),
    (b"application/json; charset=utf-16", "the charset must be utf-8, not utf-16"),
    (b"application/json; charset=latin1", "the charset must be utf-8, not latin1"),
])  # fmt: skip
def test_a_type_that_is_no_json_is_refused(gateway: Gateway, kind: bytes, why: str) -> None:
    reply = predict(gateway, BODY, (b"content-type", kind))
    assert reply.status == 415
    assert why in reply.json()["error"]


def test_a_web_page_cannot_report_feedback_unasked(gateway: Gateway) -> None:
    body = json.dumps({"events": [{"event_id": "w", "request_id": "r", "item_id": "i", "event_type": "click"}]})
    for kind in (b"text/plain", b"application/x-www-form-urlencoded"):
        reply = gateway.send("POST", "/v1/feedback", body.encode(), (b"content-type", kind))
        assert (reply.status, "must be application/json" in reply.json()["error"]) == (415, True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_json_in_another_encoding_is_named(gateway: Gateway, encoding: str) -> None:
    reply = predict(gateway, BODY.decode().encode(encoding))
    assert (reply.status, "must be JSON in UTF-8" in reply.json()["error"]) == (400, True)


def test_a_byte_order_mark_is_read_over(gateway: Gateway) -> None:
    assert shown(predict(gateway, b"\xef\xbb\xbf" + BODY)) == shown(predict(gateway, BODY))


def test_compressed_feedback_is_taken_and_a_slash_at_the_end_changes_nothing(gateway: Gateway) -> None:
    event = {"event_id": "zipped", "request_id": "r", "item_id": "i", "event_type": "click"}
    body = gzip.compress(json.dumps({"events": [event]}).encode())
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
    assert gateway.send("POST", "/v1/feedback", body, *headers).json() == {"accepted": 1, "duplicates": 0}
    assert gateway.send("POST", "/v1/feedback/", body, *headers).json() == {"accepted": 0, "duplicates": 1}
    assert "zipped" in set(gateway.feedback()["event_id"])


def test_a_name_of_a_header_with_an_underscore_is_refused_with_the_reason(gateway: Gateway) -> None:
    reply = gateway.send("POST", PREDICT, BODY, (b"x_user_id", b"ann"))
    assert reply.status == 400
    assert "underscore" in reply.json()["error"]


def test_grpc_is_told_that_it_is_not_spoken(gateway: Gateway) -> None:
    path = "/inference.GRPCInferenceService/ModelInfer"
    reply = gateway.send("POST", path, b"", (b"content-type", b"application/grpc"))
    assert (reply.status, reply.headers["grpc-status"]) == (200, "12")  # 12 is UNIMPLEMENTED
