"""Who is hashed at the gateway is who is logged there and by the server, and who is analysed: whatever is sent.

Here: arbitrary headers as bytes, through a real Envoy to real servers. Not here: the pattern by itself
(`test_visitor_id.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_assets import visitor_id
from recsys_assets.rollout.outcomes import Logs, Scope, WeightSince, gateway_requests, visitor_outcomes
from recsys_assets_tests.gateway.house import CANARY, CANARY_BP, INFER, PREDICT, RELEASE, STABLE, Gateway, Reply, ask
from recsys_assets_tests.platform.bucket_twin import bucket
from recsys_assets_tests.rollout.build import plan
from recsys_assets_tests.waiting import eventually

NAME = visitor_id.HEADER.encode()
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467".encode()
ONCE = [
    b"ann",
    b"Ann",
    b"007",
    b"7",
    b"a b",
    b"a%20b",
    b"auth0|5f7c8ec7c33c6c004bbafe82",
    b"x" * 256,
]
NEVER = [
    b"",
    b"x" * 257,
    b"x" * 300,
    b"a\tb",
    b"a,b",
    FAMILY,
    "é".encode(),
    "e\u0301".encode(),
    b"\xe9",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xa0a",
]


def predict(gateway: Gateway, values: Sequence[bytes], user: str = "guest") -> Reply:
    return gateway.send("POST", PREDICT, ask(user), *((NAME, value) for value in values))


def arm(visitor: str) -> str:
    return "canary" if bucket(visitor, RELEASE) < CANARY_BP else "stable"


def request_id(reply: Reply) -> str:
    said = reply.json()
    return str(said["predictions"][0]["request_id"] if reply.status == 200 else said["request_id"])


@pytest.mark.parametrize("value", ONCE)
def test_an_id_that_is_fit_is_hashed_and_logged_byte_for_byte(gateway: Gateway, value: bytes) -> None:
    reply = predict(gateway, [value])
    assert reply.status == 200
    visitor = value.decode()
    exposed = gateway.exposures().filter(pl.col("request_id") == request_id(reply)).to_dicts()
    counted = gateway.counted_with(request_id(reply))
    seen = [(row["visitor_id"], row["user_id"], row["variant"]) for row in exposed]
    assert seen == [(visitor, "guest", arm(visitor))]
    assert (counted["visitor_id"], counted["variant"]) == (visitor, arm(visitor))
    assert counted["model_version"] == {"stable": STABLE, "canary": CANARY}[arm(visitor)]


@pytest.mark.parametrize("value", NEVER)
def test_an_id_that_is_unfit_is_refused_with_what_is_expected_and_nothing_is_logged(
    gateway: Gateway, value: bytes
) -> None:
    reply = predict(gateway, [value])
    assert reply.status == 400
    assert reply.json()["error"] == visitor_id.WHY_NOT
    assert gateway.exposures().filter(pl.col("request_id") == request_id(reply)).is_empty()


@pytest.mark.parametrize("value", [b"a\x01b", b"a\x00b", b"\x1f", b"a\x7f"])
def test_control_characters_are_no_http_and_the_answer_says_so(gateway: Gateway, value: bytes) -> None:
    reply = predict(gateway, [value])
    assert reply.status == 400
    assert reply.json()["error"].startswith("malformed HTTP (http1.")


@pytest.mark.parametrize("values", [[], [b"ann", b"ann"], [b"ann", b"bob"], [b"ann", b""], [b"", b"ann"]])
def test_the_header_is_sent_once_or_the_request_is_refused(gateway: Gateway, values: list[bytes]) -> None:
    reply = predict(gateway, values)
    assert (reply.status, reply.json()["error"]) == (400, visitor_id.WHY_NOT)


def test_blanks_around_the_value_are_http_s_own_and_not_of_the_id(gateway: Gateway) -> None:
    reply = predict(gateway, [b" \t ann \t"])
    exposed = gateway.exposures().filter(pl.col("request_id") == request_id(reply)).to_dicts()
    assert [(row["visitor_id"], row["variant"]) for row in exposed] == [("ann", arm("ann"))]


# Bytes of which HTTP itself makes nothing else, and many that come near the rule from either side.
_FITTING = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=260).map(str.encode)
_ANY = st.binary(max_size=300).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\x00"))
_TEXT = (
    st.text(max_size=40)
    .map(lambda text: text.encode("utf-8", "ignore"))
    .map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\x00"))
)
HEADERS = st.lists(_FITTING | _ANY | _TEXT, max_size=1) | st.lists(_FITTING | _ANY, min_size=2, max_size=3)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests=st.lists(HEADERS, min_size=6, max_size=15))
def test_whatever_is_sent_hashed_logged_and_counted_are_one(gateway: Gateway, requests: list[list[bytes]]) -> None:
    expected: dict[str, str] = {}
    refused: set[str] = set()
    for values in requests:
        reply = predict(gateway, values)
        sent = [value.strip(b" \t") for value in values]
        visitor = visitor_id.read(sent)
        assert (reply.status == 200) == (visitor is not None), (values, reply)
        if visitor is None:
            assert reply.status == 400
            refused.add(request_id(reply))
        else:
            expected[request_id(reply)] = visitor
    exposed = gateway.exposures().filter(pl.col("request_id").is_in([*expected, *refused]))
    assert {row["request_id"]: row["visitor_id"] for row in exposed.to_dicts()} == expected
    assert {row["request_id"]: row["variant"] for row in exposed.to_dicts()} == {
        request: arm(visitor) for request, visitor in expected.items()
    }
    counted = eventually(lambda: all_of(gateway, set(expected))) if expected else {}
    assert {request: row["visitor_id"] for request, row in counted.items()} == expected
    assert not set(gateway.counted()["request_id"]) & refused


def all_of(gateway: Gateway, wanted: set[str]) -> dict[str, dict[str, str]]:
    rows = gateway.counted().filter(pl.col("request_id").is_in(wanted)).to_dicts()
    return {row["request_id"]: row for row in rows} if len(rows) == len(wanted) else {}


def test_every_line_of_the_gateways_log_can_be_read_whatever_was_sent(gateway: Gateway) -> None:
    for value in NEVER:
        gateway.send("POST", "/\xff%00", ask(), (NAME, value), (b"x-odd", value))
    gateway.counted_with(request_id(predict(gateway, [b"ann"])))  # with its line all those before it are written
    lines = gateway.home.settings.path("logs", "gateway", "access.jsonl").read_bytes().split(b"\n")[:-1]
    assert len(lines) > len(NEVER)
    assert all(json.loads(line) for line in lines)


def test_several_users_in_one_body_are_one_visitor_in_both_versions_of_the_protocol(gateway: Gateway) -> None:
    users = ["u01", "u02", "ann"]
    v1 = json.dumps({"instances": [{"user_id": user, "k": 2} for user in users]}).encode()
    tensor = {"name": "user_id", "datatype": "BYTES", "shape": [3], "data": users}
    v2 = json.dumps({"inputs": [tensor]}).encode()
    for path, body in ((PREDICT, v1), (INFER, v2)):
        reply = gateway.send("POST", path, body, (NAME, b"family"))
        said = reply.json()
        request = said["predictions"][0]["request_id"] if "predictions" in said else said["parameters"]["request_id"]
        rows = gateway.exposures().filter(pl.col("request_id") == request)
        assert rows["user_id"].sort().to_list() == sorted(users)
        assert set(rows["visitor_id"]) == {"family"}
        assert set(rows["variant"]) == {arm("family")}


def test_two_visitors_who_both_ask_for_the_guest_are_two_in_outcomes_and_arrivals(gateway: Gateway) -> None:
    since = datetime.now(UTC) - timedelta(seconds=1)
    one = next(f"session-{n}" for n in range(99) if arm(f"session-{n}") == "canary")
    other = next(f"session-{n}" for n in range(99) if arm(f"session-{n}") == "stable")
    clicked = []
    for visitor in (one, other):
        reply = predict(gateway, [visitor.encode()])
        shown = reply.json()["predictions"][0]
        event = {"event_id": f"e-{visitor}", "request_id": shown["request_id"], "event_type": "click"}
        event["item_id"] = shown["items"][0]["item_id"]
        body = json.dumps({"events": [event]}).encode()
        # Whoever reports it: the event belongs to the visitor of the answer.
        json_type = (b"content-type", b"application/json")
        reported = gateway.send("POST", "/v1/feedback", body, json_type, (NAME, b"somebody else"))
        assert reported.json() == {"accepted": 1, "duplicates": 0}
        clicked.append(shown["request_id"])
        gateway.counted_with(shown["request_id"])
    now = datetime.now(UTC) + timedelta(hours=1)
    ours = pl.col("request_id").is_in(clicked)
    # Without an online store every answer is of a lower rung, which is not what is looked at here.
    exposed = gateway.exposures().filter(ours).with_columns(rung=pl.lit("full"))
    logs = Logs(exposed, gateway.feedback(), gateway.counted().filter(ours))
    weights = [WeightSince(since - timedelta(hours=1), CANARY_BP)]
    scope = Scope(CANARY, STABLE, plan(attribution_seconds=60), weights, top_k=3, now=now)
    outcomes = visitor_outcomes(logs, scope)
    arms = {row["visitor_id"]: (row["is_canary"], row["outcome"]) for row in outcomes.visitors.to_dicts()}
    assert arms == {one: (True, 1.0), other: (False, 1.0)}
    assert outcomes.saw_both == 0
    requests = gateway_requests(logs, scope)
    arrived = dict(requests.select("visitor_id", "variant").iter_rows())
    assert arrived == {one: "canary", other: "stable"}
