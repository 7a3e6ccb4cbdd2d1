"""Tensors of the Open Inference Protocol as lists of elements: flat or nested JSON, or binary after the JSON.

Here: shape, datatype and both ways of writing, with the place of every fault. Not here: which tensors there are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

from recsys_assets.serving.protocol import MAX_INSTANCES, refuse

INTEGERS: Final = {
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
_NUMBERS: Final = {**INTEGERS, "FP64": "d"}
BINARY_SIZE: Final = "binary_data_size"
_LENGTH: Final = struct.Struct("<I")


def column(shape: Sequence[int], where: str) -> int:
    """How many elements a tensor has that holds one for each user: its shape must be [n] or [n, 1]."""
    if not shape or min(shape) < 0 or list(shape[1:]) not in ([], [1]):
        refuse(f"{where}.shape", f"must be [n] or [n, 1], an element for each user, not {_short(shape)}")
    if shape[0] > MAX_INSTANCES:
        refuse(f"{where}.shape", f"must not have more than {MAX_INSTANCES} elements, not {shape[0]}")
    return shape[0]


def flattened(data: Sequence[Any], shape: Sequence[int], where: str) -> list[Any]:
    """The elements of row-major data, written flat or nested as the shape is."""
    if not any(isinstance(element, list) for element in data):
        count = math.prod(shape)
        if len(data) != count:
            refuse(f"{where}.shape", f"{_short(shape)} has {count} element(s), but data has {len(data)}")
        return list(data)
    found: list[Any] = []
    _walk(data, list(shape), f"{where}.data", found)
    return found


def _walk(data: Any, shape: Sequence[int], where: str, found: list[Any]) -> None:
    if not shape:
        if isinstance(data, list):
            refuse(where, "is nested deeper than the shape")
        found.append(data)
        return
    if not isinstance(data, list) or len(data) != shape[0]:
        got = f"{len(data)} of them" if isinstance(data, list) else "a single value"
        refuse(where, f"must be a list of {shape[0]}, as the shape says, but is {got}")
    for number, inner in enumerate(data):
        _walk(inner, shape[1:], f"{where}[{number}]", found)


def unpacked(raw: bytes, datatype: str, count: int, where: str) -> list[Any]:
    """The elements of a binary tensor: little-endian numbers, or texts each after its length in four bytes."""
    if datatype == "BYTES":
        return _texts(raw, count, where)
    packed = struct.Struct(f"<{count}{INTEGERS[datatype]}")
    if packed.size != len(raw):
        refuse(where, f"{count} element(s) of {datatype} are {packed.size} bytes, but {BINARY_SIZE} is {len(raw)}")
    return list(packed.unpack(raw))


def _texts(raw: bytes, count: int, where: str) -> list[Any]:
    texts: list[str] = []
    at = 0
    while at < len(raw) and len(texts) < count:
        end = at + _LENGTH.size + (_LENGTH.unpack_from(raw, at)[0] if at + _LENGTH.size <= len(raw) else len(raw))
        if end > len(raw):
            refuse(where, f"element {len(texts)} is cut off")
        try:
            texts.append(raw[at + _LENGTH.size : end].decode("utf-8"))
        except UnicodeDecodeError:
            refuse(where, f"element {len(texts)} is not UTF-8")
        at = end
    if len(texts) != count or at != len(raw):
        refuse(where, f"must hold {count} element(s), as the shape says, and nothing after them")
    return texts


def packed(data: Sequence[Any], datatype: str) -> bytes:
    """The other way round."""
    if datatype != "BYTES":
        return struct.pack(f"<{len(data)}{_NUMBERS[datatype]}", *data)
    texts = [str(text).encode() for text in data]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def _short(shape: Sequence[int]) -> str:
    return str(list(shape))[:80]
