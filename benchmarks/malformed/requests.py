"""Requests that a real model server must refuse with 4xx at their fault's place, and those it must answer.

Here: both protocol versions' bodies, headers and paths, changed at a place they know. Not here: the shapes of either.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from hypothesis import strategies as st

from benchmarks.malformed.cases import Case, Good, Refused, sample
from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.serving.processes import Running
from recsys_assets_tests.serving.processes import running as started

V1, V2 = "/v1/models/recommender:predict", "/v2/models/recommender/infer"
ONE: dict[str, Any] = {
    "instances": [
        {"user_id": "u01", "k": 5},
        {"user_id": "u02"},
        {"user_id": "u03", "profile": {"features": {"n": 1.0}, "recent_items": ["i01"], "recent_times": [1.7e9]}},
    ]
}
TWO: dict[str, Any] = {
    "inputs": [
        {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["u01", "u02"]},
        {"name": "k", "datatype": "INT32", "shape": [1], "data": [5]},
    ],
    "outputs": [{"name": "item_id"}, {"name": "count"}],
}
_NO_ID = ["", " u", "u ", "a\x00b", "a\nb", "x" * 257, 5, None, True, 1.5, [], {}, "\u200b", "a\u202eb", "\ufeff"]
_NO_K = [0, -1, 101, 10**9, 10**30, "5", 1.5, None, True, [], {}]
_NO_LIST = [None, {}, "x", 5, True]
# Path into the body, place that the refusal must name, and values that break a rule there.
Rules = list[tuple[tuple[str | int, ...], str, list[Any]]]
RULES_1: Rules = [
    (("instances",), "instances", [[], None, {}, "x", 5, [{"user_id": "u"}] * 65]),
    (("instances", 0), "instances[0]", [None, [], "x", 5, {}, {"k": 5}]),
    (("instances", 0, "user_id"), "instances[0].user_id", _NO_ID),
    (("instances", 0, "k"), "instances[0].k", _NO_K),
    (("instances", 1, "surprise"), "instances[1].surprise", [1, None, "x"]),
    (("surprise",), "surprise", [1, None]),
    (("instances", 1, "profile"), "instances[1].profile", [[], "x", 5, True, {"surprise": 1}]),
    (
        ("instances", 2, "profile", "features"),
        "profile.features",
        [[], "x", 5, None, {"n": "x"}, {"n": None}, {"n": []}],
    ),
    (("instances", 2, "profile", "features"), "profile.features", [{str(n): 1.0 for n in range(1_001)}, {"n": True}]),
    (
        ("instances", 2, "profile", "recent_items"),
        "profile.recent_items",
        [None, {}, "x", [5], [""], ["a\x00"], ["i"] * 1_001],
    ),
    (
        ("instances", 2, "profile", "recent_times"),
        "profile.recent_times",
        [None, {}, "x", ["x"], [None], [True], [1.0] * 1_001],
    ),
    (("instances", 2, "profile", "recent_times"), "profile.recent_times", [[], [1.0, 2.0]]),
]
RULES_2: Rules = [
    (("inputs",), "inputs", [[], None, {}, "x", 5]),
    (("inputs", 0), "inputs", [None, [], "x", {}]),
    (("inputs", 0, "name"), "inputs", ["users", "k", "", "USER_ID"]),
    (("inputs", 0, "name"), "inputs[0].name", [None, 5, [], True]),
    (("inputs", 0, "datatype"), "inputs[0].datatype", ["INT32", "FP32", "", "bytes", None, 5]),
    (
        ("inputs", 0, "shape"),
        "inputs[0].shape",
        [[], [1], [3], [2, 2], [-1], [0], None, "2", [2, 1, 1], [2.0], ["2"], [10**30]],
    ),
    (("inputs", 0, "data"), "inputs[0]", [[], None, "u01", {}, ["u"] * 65, [1, 2], [None, "u"], [["u"], ["v"]]]),
    (("inputs", 0, "data", 1), "user_id[1]", ["", " u", "a\x00b", "x" * 257, "a\nb", "\u200b"]),
    (("inputs", 1, "name"), "inputs", ["K", "user_id", "limit"]),
    (("inputs", 1, "datatype"), "inputs[1].datatype", ["BYTES", "FP64", "BOOL", ""]),
    (("inputs", 1, "data"), "k[0]", [[0], [-1], [101], [10**15]]),
    (("inputs", 1, "data"), "inputs[1].data", [["5"], [None], [5.5], [True], [10**40], [[5]]]),
    (("inputs", 2), "inputs", [{"name": "x", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}]),
    (("outputs", 0, "name"), "outputs[0].name", ["", "items", "ITEM_ID", None, 5]),
    (("outputs",), "outputs", [{}, "x", 5, [None], ["item_id"]]),
    (("id",), "id", ["", " a", "a\x00", 5, True, "x" * 257, []]),
    (("surprise",), "surprise", [1, None]),
    (("parameters",), "parameters", [[], "x", 5]),
]
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "user_id", "k", "name", "data", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@dataclass(frozen=True)
class Place:
    """A server that runs, and a seed for the ids that nobody uses twice."""

    server: Running


@contextmanager
def running(folder: Path) -> Iterator[Place]:
    """One real model server over a signed and attested bundle, for all cases."""
    signed_bundle(folder / "bundles" / "3", folder / "keys")
    patient = ("--deadline-ms", "30000")  # how soon a busy machine answers is not what is asked here
    with started("server", "--bundle", folder / "bundles" / "3", "--home", folder, *patient) as server:
        yield Place(server)


def mutated(place: Place, rng: random.Random) -> Iterator[Case]:
    """Without end: a wrong value at each place of both versions' bodies, broken bytes, and wrong ways to ask."""
    while True:
        for path, base, rules in ((V1, ONE, RULES_1), (V2, TWO, RULES_2)):
            for where, named, values in rules:
                body = dump(changed(base, where, rng.choice(values)))
                yield _case(place, f"{path[:3]}:{named}", body, "422", named, path=path)
            for name, body, status, named in broken(base, rng):
                yield _case(place, f"{path[:3]}:{name}", body, status, named, path=path)
        for value in sample(_ANYTHING, 20, start=rng.randrange(2**32)):
            yield _case(place, "anything", dump(value), "422", "", path=rng.choice([V1, V2]))
        yield from _ways(place, rng)


def dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def changed(base: Any, where: tuple[str | int, ...], value: Any) -> Any:
    made = copy.deepcopy(base)
    inner: Any = made
    for step in where[:-1]:
        inner = inner[step]
    if isinstance(inner, list) and where[-1] == len(inner):
        inner.append(value)
    else:
        inner[where[-1]] = value
    return made


def broken(base: Any, rng: random.Random) -> Iterator[tuple[str, bytes, str, str]]:
    """Bytes that are no JSON, or JSON that says a thing twice."""
    good = dump(base)
    first = next(iter(base))
    yield "cut", good[: rng.randrange(1, len(good))], "400", "body"
    yield "empty", b"", "400", "body"
    yield "noise", b"\xff" + rng.randbytes(rng.randrange(200)), "400", "body"
    yield "no_utf8", good.replace(b"u01", b"\xff\xfe"), "400", "body"
    yield "half_character", good.replace(b"u01", b"\\ud800"), "400", "body"
    yield "raw_control", good.replace(b"u01", b"u\x00" + bytes([rng.randrange(1, 31)])), "400", "body"
    yield "nan", good.replace(b": 5", b": NaN").replace(b"[5]", b"[NaN]"), "400", "body"
    yield "infinity", good.replace(b": 5", b": -Infinity").replace(b"[5]", b"[Infinity]"), "400", "body"
    yield "two", good + good, "400", "body"
    yield "comment", good + b"// more", "400", "body"
    yield "deep", good[:-1] + b', "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "400", "body"
    yield "deep_object", b'{"a":' * 3_000 + b"1" + b"}" * 3_000, "400", "body"
    yield "list", b"[" + good + b"]", "422", "body"
    yield "scalar", rng.choice([b"5", b'"x"', b"null", b"true"]), "422", "body"
    yield "name_twice", good[:-1] + f', "{first}": []}}'.encode(), "422", first
    yield (
        "inner_name_twice",
        good.replace(b'"user_id": "u01"', b'"user_id": "u01", "user_id": "u02"').replace(
            b'"datatype": "BYTES"', b'"datatype": "BYTES", "datatype": "BYTES"'
        ),
        "422",
        "user_id" if first == "instances" else "datatype",
    )
    yield "name_twice_escaped", good[:-1] + f', "\\u{ord(first[0]):04x}{first[1:]}": []}}'.encode(), "422", first
    yield "large", good[:-1] + b" " * ((1 << 20) + rng.randrange(9)) + b"}", "413", "body"


def _ways(place: Place, rng: random.Random) -> Iterator[Case]:
    """Right bodies, asked for in a wrong way."""
    good = dump(ONE)
    names = [
        "../../etc/passwd",
        "..%2f..%2fetc",
        "recommender%00",
        "RECOMMENDER",
        "x" * 2_000,
        "%ff",
        "a:predict",
        "%2e%2e",
    ]
    for name in rng.sample(names, 3):
        yield _case(place, "path", good, "404", "", path=f"/v1/models/{name}:predict")
    for version in rng.sample(["2", "03", "-1", "latest", "3%00", "9" * 400], 2):
        yield _case(place, "version", dump(TWO), "404", "", path=f"/v2/models/recommender/versions/{version}/infer")
    kind = rng.choice(
        ["text/xml", "application/xml", "application/x-protobuf", "multipart/form-data", "application/grpc", "json"]
    )
    yield _case(place, "content_type", good, "415", "content-type", headers={"content-type": kind})
    yield _case(place, "binary", good, "415", "binary", headers={"inference-header-content-length": "10"})
    for length in rng.sample(["", "x", "-1", "9" * 400, "1.5"], 2):
        headers = {"inference-header-content-length": length}
        yield _case(place, "binary_length", dump(TWO), "400", "inference-header", path=V2, headers=headers)
    half = _gzip(good)[: rng.randrange(1, len(_gzip(good)))]
    yield _case(place, "half_gzip", half, "400", "body", headers={"content-encoding": "gzip"})
    coding = rng.choice(["br", "zstd", "gzip, gzip", "compress"])
    yield _case(place, "coding", good, "415", "content-encoding", headers={"content-encoding": coding})
    unfit = rng.choice(["", "a,b", "x" * 257, "a\tb"])
    yield _case(place, "visitor", good, "400", "x-user-id", headers={"x-user-id": unfit})
    for method in rng.sample(["GET", "PUT", "DELETE", "PATCH"], 2):
        yield _case(place, "method", good, "405", "", method=method, path=V2)
    if rng.random() < 0.2:
        yield _case(place, "hundred_megabytes_announced", b"x" * (100 << 20), "413", "body")
        yield Case("hundred_megabytes_in_chunks", lambda: _chunks(place), "413", ("body",))


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content)


def _chunks(place: Place) -> Refused | None:
    def parts() -> Iterator[bytes]:
        for _ in range(1_600):
            yield b"x" * (1 << 16)

    try:
        answer = place.server.client.post(V1, content=parts(), headers={"content-type": "application/json"})
    except httpx.WriteError:  # it did not even listen to the end
        return Refused("413", "body: the connection was closed") if _lives(place) else None
    return _judged(answer)


def _case(
    place: Place,
    rule: str,
    body: bytes,
    status: str,
    named: str,
    *,
    path: str = V1,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Case:
    def give() -> Refused | None:
        try:
            answer = place.server.client.request(
                method, path, content=body, headers={"content-type": "application/json"} | (headers or {})
            )
        except (httpx.WriteError, httpx.ReadError):
            return Refused("413", "body: the connection was closed") if len(body) > 1 << 20 and _lives(place) else None
        return _judged(answer)

    return Case(rule, give, status, (named,))


def _judged(answer: httpx.Response) -> Refused | None:
    if answer.status_code < 400:
        return None
    said = answer.json()
    faults = [f"{fault['where']}: {fault['rule']}" for fault in said["faults"]]
    return Refused(str(answer.status_code), "; ".join(faults) or said["error"])


def _lives(place: Place) -> bool:
    return place.server.process.poll() is None and place.server.client.get("/v2/health/ready").status_code == 200


_IDS = [
    "u01",
    "nobody",
    "用户",
    "é",
    "🎬",
    "a b",
    "0",
    "null",
    "x" * 256,
    "../etc",
    "'; DROP",
    "%00",
    "<b>",
    "-1",
    "\u0e01",
]


def valid(place: Place, rng: random.Random) -> Iterator[Good]:
    """Without end: known and unknown users, both versions, all sizes; the answer must be about exactly these users."""
    while True:
        users = [rng.choice(_IDS) for _ in range(rng.choice([1, 1, 2, 5, 64]))]
        asks: list[dict[str, Any]] = [{"user_id": user} for user in users]
        for ask in asks:
            ask |= rng.choice(
                [
                    {},
                    {"k": 1},
                    {"k": 100},
                    {"profile": None},
                    {"profile": {}},
                    {"k": 7, "profile": {"features": {"n": 1}}},
                ]
            )
        one = {"instances": asks}
        limits = rng.choice([[10], [rng.randrange(1, 101) for _ in users]])
        tensors = [
            {
                "name": "user_id",
                "datatype": "BYTES",
                "shape": rng.choice([[len(users)], [len(users), 1]]),
                "data": users,
            },
            {"name": "k", "datatype": rng.choice(["INT8", "UINT64"]), "shape": [len(limits)], "data": limits},
        ]
        two: dict[str, Any] = {"inputs": rng.choice([tensors, tensors[::-1], tensors[:1]])}
        two |= rng.choice(
            [{}, {"id": "a"}, {"outputs": []}, {"outputs": [{"name": "rung"}]}, {"parameters": {"x": [1]}}]
        )
        text = dump(one) if rng.random() < 0.5 else json.dumps(one, indent=2).encode()
        kind = rng.choice(["application/json", "application/json; charset=utf-8", "Application/JSON"])
        yield Good("v1", lambda b=text, u=users, k=kind: _answered(place, V1, b, u, k))  # type: ignore[misc]
        tensor = dump(two)
        yield Good("v2", lambda b=tensor, u=users, k=kind: _answered(place, V2, b, u, k))  # type: ignore[misc]


def _answered(place: Place, path: str, body: bytes, users: list[str], kind: str) -> str:
    answer = place.server.client.post(path, content=body, headers={"content-type": kind})
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    said = answer.json()
    if path == V1:
        return "" if [one["user_id"] for one in said["predictions"]] == users else "other users were answered"
    sizes = {output["shape"][0] for output in said["outputs"]}
    return "" if sizes == {len(users)} else f"{sizes} answers to {len(users)} users"
