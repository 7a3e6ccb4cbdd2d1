"""Version 2 of the inference protocol (Open Inference Protocol): `POST /v2/models/<name>/infer` and the metadata.

Here: which tensors go in and out, in JSON or by the binary extension. Not here: a tensor's elements (tensors.py),
version 1, HTTP, ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, ValidationError

from recsys_assets.serving.ladder import Answer
from recsys_assets.serving.protocol import (
    DEFAULT_K,
    MAX_K,
    Ask,
    Identifier,
    Rendered,
    Strict,
    dumps,
    parse_body,
    refuse,
)
from recsys_assets.serving.tensors import BINARY_SIZE, INTEGERS, column, flattened, packed, unpacked

# How long the JSON before binary tensors is, in requests and answers.
JSON_LENGTH: Final = "inference-header-content-length"
EXTENSIONS: Final = ("binary_tensor_data",)
_OUTPUTS: Final = {"item_id": "BYTES", "score": "FP64", "count": "INT32", "rung": "BYTES"}
# What other servers' extensions ask for: to leave it out unsaid would be another answer than the one asked for.
_NOT_SERVED: Final = ("classification", "shared_memory_region")


class _Tensor(Strict):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _Wanted(Strict):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(Strict):
    inputs: list[_Tensor] = Field(min_length=1, max_length=2)
    outputs: list[_Wanted] | None = None
    id: Identifier | None = None
    parameters: dict[str, Any] | None = None
    # KServe's client names the model again, beside the path.
    model_name: str | None = None
    model_version: str | None = None


@dataclass(frozen=True)
class Wish:
    """How the answer is to look: under which id (None: the gateway's), and each output by name, binary or not."""

    own_id: str | None
    outputs: dict[str, bool]


def parse(raw: bytes, *, name: str, json_length: str | None = None) -> tuple[list[Ask], Wish]:
    """The questions and what is wanted back. `json_length` is the header's value: binary tensors follow the JSON."""
    end = len(raw) if json_length is None else _json_end(json_length, len(raw))
    request = parse_body(raw[:end], _Request)
    if request.model_name not in {None, name}:
        refuse("model_name", f"must be {name}, as the path says")
    users, limits = _columns(request, raw[end:])
    asks = [_ask(number, user, limit) for number, (user, limit) in enumerate(zip(users, limits, strict=True))]
    return asks, Wish(request.id, _wanted(request))


def _json_end(header: str, length: int) -> int:
    if not header.isascii() or not header.isdigit() or int(header[:9]) > length or len(header) > 9:
        refuse(JSON_LENGTH, f"must be a number up to the body's {length} bytes", status=400)
    return int(header)


def _wanted(request: _Request) -> dict[str, bool]:
    by_default = (request.parameters or {}).get("binary_data_output") is True
    wanted: dict[str, bool] = {}
    for number, output in enumerate(request.outputs or ()):
        parameters = output.parameters or {}
        if output.name not in _OUTPUTS or output.name in wanted:
            refuse(f"outputs[{number}].name", f"must be one of {', '.join(_OUTPUTS)}, each once")
        for asked in (name for name in _NOT_SERVED if name in parameters):
            refuse(f"outputs[{number}].parameters.{asked}", "is an extension that this server does not have")
        wanted[output.name] = parameters.get("binary_data", by_default) is True
    return wanted or dict.fromkeys(_OUTPUTS, by_default)


def _columns(request: _Request, binary: bytes) -> tuple[list[str], list[int]]:
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) != len(names) or not {"user_id"} <= set(names) <= {"user_id", "k"}:
        refuse("inputs", "must hold one tensor user_id (BYTES) and at most one tensor k (an integer type)")
    found: dict[str, list[Any]] = {"k": [DEFAULT_K]}
    for number, tensor in enumerate(request.inputs):
        where = f"inputs[{number}]"
        kind, datatypes = (str, ("BYTES",)) if tensor.name == "user_id" else (int, tuple(INTEGERS))
        if tensor.datatype not in datatypes:
            refuse(f"{where}.datatype", f"must be {' or '.join(datatypes)} for {tensor.name}")
        size = _binary_size(tensor, where, len(binary))
        found[tensor.name] = _elements(tensor, kind, binary[:size], where)
        binary = binary[size:]
    if binary:
        refuse("body", f"{len(binary)} bytes follow that belong to no tensor")
    users, limits = found["user_id"], found["k"]
    if len(limits) not in {1, len(users)}:
        refuse("inputs", f"k must have 1 element or {len(users)}, as user_id has")
    return users, limits * len(users) if len(limits) == 1 else limits


def _binary_size(tensor: _Tensor, where: str, left: int) -> int:
    """How many of the bytes after the JSON are this tensor's."""
    size = (tensor.parameters or {}).get(BINARY_SIZE)
    if tensor.data is not None:
        return 0
    if size is None:
        refuse(f"{where}.data", f"is missing; without it, parameters.{BINARY_SIZE} must say how many bytes are its own")
    if type(size) is not int or not 0 <= size <= left:
        refuse(f"{where}.parameters.{BINARY_SIZE}", f"must be a whole number up to the {left} bytes that are there")
    return size


def _elements(tensor: _Tensor, kind: type, binary: bytes, where: str) -> list[Any]:
    count = column(tensor.shape, where)
    if tensor.data is None:
        elements = unpacked(binary, tensor.datatype, count, f"{where}.data")
    else:
        elements = flattened(tensor.data, tensor.shape, where)
    if not elements:
        refuse(f"{where}.data", "must not be empty")
    for number, value in enumerate(elements):
        if type(value) is not kind:
            refuse(f"{where}.data[{number}]", f"must be a {'string' if kind is str else 'whole number'}")
    return elements


def _ask(number: int, user_id: str, k: int) -> Ask:
    if not 1 <= k <= MAX_K:
        refuse(f"k[{number}]", f"must lie between 1 and {MAX_K}")
    return parse_ask({"user_id": user_id, "k": k}, number)


def parse_ask(value: dict[str, Any], number: int) -> Ask:
    """One question out of its tensors' elements."""
    try:
        return Ask.model_validate(value)
    except ValidationError as broken:
        refuse(f"user_id[{number}]", broken.errors()[0]["msg"])


def render(
    answers: Sequence[Answer], wish: Wish, *, name: str, model_version: str, variant: str, request_id: str
) -> Rendered:
    """The answer's tensors. Short rankings are filled up with "" and 0; `count` says how many items are real."""
    tensors = _tensors(answers)
    binary: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for out, is_binary in wish.outputs.items():
        shape, data = tensors[out]
        output: dict[str, Any] = {"name": out, "datatype": _OUTPUTS[out], "shape": shape}
        if is_binary:
            binary.append(packed(data, _OUTPUTS[out]))
            output["parameters"] = {BINARY_SIZE: len(binary[-1])}
        else:
            output["data"] = data
        outputs.append(output)
    body = dumps(
        {
            "model_name": name,
            "model_version": model_version,
            # Clients match answers to questions by it, so a request without one gets the gateway's id.
            "id": wish.own_id or request_id,
            "parameters": {
                "variant": variant,
                "request_id": request_id,
                "flags": ",".join(sorted(_all_flags(answers))),
            },
            "outputs": outputs,
        }
    )
    if not binary:
        return Rendered(body)
    return Rendered(b"".join([body, *binary]), {JSON_LENGTH: str(len(body))}, "application/octet-stream")


def _tensors(answers: Sequence[Answer]) -> dict[str, tuple[list[int], list[Any]]]:
    width = max(len(answer.items) for answer in answers)
    n = len(answers)
    return {
        "item_id": ([n, width], [i for a in answers for i in [*a.items, *[""] * (width - len(a.items))]]),
        "score": ([n, width], [float(s) for a in answers for s in [*a.scores, *[0.0] * (width - len(a.items))]]),
        "count": ([n], [len(a.items) for a in answers]),
        "rung": ([n], [a.rung for a in answers]),
    }


def _all_flags(answers: Sequence[Answer]) -> set[str]:
    return {flag for answer in answers for flag in answer.flags}


def model_metadata(name: str, version: str) -> dict[str, Any]:
    """What `GET /v2/models/<name>` says."""
    return {
        "name": name,
        "versions": [version],
        "platform": "recsys_assets_two_stage",
        "inputs": [
            {"name": "user_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "k", "datatype": "INT32", "shape": [-1]},
        ],
        "outputs": [
            {"name": out, "datatype": datatype, "shape": [-1, -1] if out in {"item_id", "score"} else [-1]}
            for out, datatype in _OUTPUTS.items()
        ],
    }
