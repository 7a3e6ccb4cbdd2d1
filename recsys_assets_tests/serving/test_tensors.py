"""Tensors flat, nested and binary: the elements that a person would read, or the place of the fault.

Here: the pure functions. Not here: a server (test_server.py), published clients (gateway/test_clients.py).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.serving import protocol_v2
from recsys_assets.serving.protocol import Malformed, dumps
from recsys_assets.serving.tensors import packed, unpacked

USERS: dict[str, Any] = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["u03", "u04"]}


def asked(*inputs: dict[str, Any], binary: bytes | None = None, **more: Any) -> list[tuple[str, int]]:
    """(user, k) of each question."""
    body = dumps({"inputs": list(inputs), **more})
    length = None if binary is None else str(len(body))
    asks, _ = protocol_v2.parse(body + (binary or b""), name="films", json_length=length)
    return [(ask.user_id, ask.k) for ask in asks]


def k(**change: Any) -> dict[str, Any]:
    return {"name": "k", "datatype": "INT32", "shape": [2], "data": [3, 4], **change}


@pytest.mark.parametrize(("users", "limits"), [
    (USERS, k()),
    ({**USERS, "shape": [2, 1]}, k(shape=[2, 1])),
    ({**USERS, "shape": [2, 1], "data": [["u03"], ["u04"]]}, k(shape=[2, 1], data=[[3], [4]])),
    (USERS, k(datatype="UINT8")),
])  # fmt: skip
def test_flat_and_nested_data_are_the_same_tensor(users: dict[str, Any], limits: dict[str, Any]) -> None:
    assert asked(users, limits) == [("u03", 3), ("u04", 4)]


@pytest.mark.parametrize(("change", "where", "rule"), [
    ({"data": [["u03"], ["u04"]]}, "inputs[0].data[0]", "is nested deeper than the shape"),
    ({"shape": [2, 1], "data": [["u03", "u04"]]}, "inputs[0].data", "a list of 2, as the shape says, but is 1 of them"),
    ({"shape": [2, 1], "data": [["u03"], "u04"]}, "inputs[0].data[1]", "a list of 1, as the shape says, but is a"),
    ({"shape": [2, 1], "data": [["u03"], []]}, "inputs[0].data[1]", "a list of 1, as the shape says, but is 0 of them"),
    ({"shape": [2, 1], "data": [["u03"], [["u04"]]]}, "inputs[0].data[1][0]", "is nested deeper than the shape"),
    ({"shape": [1, 2]}, "inputs[0].shape", "must be [n] or [n, 1], an element for each user, not [1, 2]"),
    ({"shape": [2, 1, 1]}, "inputs[0].shape", "must be [n] or [n, 1]"),
    ({"shape": []}, "inputs[0].shape", "must be [n] or [n, 1]"),
    ({"shape": [-2]}, "inputs[0].shape", "must be [n] or [n, 1]"),
    ({"shape": [3]}, "inputs[0].shape", "[3] has 3 element(s), but data has 2"),
    ({"shape": [10**12]}, "inputs[0].shape", "must not have more than 64 elements"),
    ({"data": None}, "inputs[0].data", "is missing"),
    ({"data": ["u03", None]}, "inputs[0].data[1]", "must be a string"),
])  # fmt: skip
def test_a_fault_of_a_tensor_is_named_with_its_place(change: dict[str, Any], where: str, rule: str) -> None:
    with pytest.raises(Malformed) as refused:
        asked({**USERS, **change})
    (fault,) = refused.value.faults
    assert fault["where"] == where
    assert rule in fault["rule"]


TEXTS = b"\x03\0\0\0u03\x03\0\0\0u04"


def binary(size: int = len(TEXTS), **change: Any) -> dict[str, Any]:
    return {"name": "user_id", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": size}, **change}


def test_binary_tensors_follow_the_json_in_the_order_of_the_inputs() -> None:
    limits = {"name": "k", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
    assert asked(binary(), limits, binary=TEXTS + struct.pack("<2q", 3, 4)) == [("u03", 3), ("u04", 4)]
    assert asked(limits, binary(), binary=struct.pack("<2q", 3, 4) + TEXTS) == [("u03", 3), ("u04", 4)]
    assert asked(binary(), k(), binary=TEXTS) == [("u03", 3), ("u04", 4)]


@pytest.mark.parametrize(("tensor", "after", "rule"), [
    (binary(13), TEXTS[:13], "element 1 is cut off"),
    (binary(2), TEXTS[:2], "element 0 is cut off"),
    (binary(), TEXTS + b"x", "1 bytes follow that belong to no tensor"),
    (binary(shape=[1]), TEXTS, "must hold 1 element(s)"),
    (binary(shape=[3]), TEXTS, "must hold 3 element(s)"),
    (binary(15), TEXTS, "must be a whole number up to the 14 bytes"),
    (binary(-1), TEXTS, "must be a whole number up to"),
    (binary(5), b"\x01\0\0\0\xff", "element 0 is not UTF-8"),
])  # fmt: skip
def test_a_broken_binary_tensor_is_refused(tensor: dict[str, Any], after: bytes, rule: str) -> None:
    with pytest.raises(Malformed, match=r".") as refused:
        asked(tensor, binary=after)
    assert rule in refused.value.error


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "999999", "9" * 5_000, "\u0663"])
def test_the_length_of_the_json_is_a_number_within_the_body(length: str) -> None:
    with pytest.raises(Malformed) as refused:
        protocol_v2.parse(dumps({"inputs": [USERS]}), name="films", json_length=length)
    assert (refused.value.status, refused.value.faults[0]["where"]) == (400, "inference-header-content-length")


@given(st.lists(st.text(max_size=8), max_size=8))
def test_what_is_packed_is_unpacked_again(texts: list[str]) -> None:
    plain = [text.encode("utf-8", "ignore").decode() for text in texts]
    assert unpacked(packed(plain, "BYTES"), "BYTES", len(plain), "t") == plain


@given(st.binary(max_size=60), st.integers(0, 9))
def test_any_bytes_are_texts_or_refused(raw: bytes, count: int) -> None:
    try:
        found = unpacked(raw, "BYTES", count, "t")
    except Malformed:
        return
    assert packed(found, "BYTES") == raw


@pytest.mark.parametrize(("more", "where"), [
    ({"model_name": "other"}, "model_name"),
    ({"outputs": [{"name": "rung"}, {"name": "rung"}]}, "outputs[1].name"),
    ({"outputs": [{"name": "rung", "parameters": {"classification": 2}}]}, "outputs[0].parameters.classification"),
    ({"surprise": 1}, "surprise"),
])  # fmt: skip
def test_what_this_server_cannot_do_is_refused_and_not_left_out(more: dict[str, Any], where: str) -> None:
    with pytest.raises(Malformed) as refused:
        asked(USERS, **more)
    assert refused.value.faults[0]["where"] == where


def test_the_model_may_be_named_again_and_parameters_are_read_over() -> None:
    assert asked(USERS, k(), model_name="films", parameters={"sequence_id": 7}) == [("u03", 3), ("u04", 4)]
