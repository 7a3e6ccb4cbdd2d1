"""Version 2 of the inference protocol (Open Inference Protocol): `POST /v2/models/<name>/infer` and the metadata.

Here: tensors in and out. Not here: version 1, HTTP, ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from recsys_assets.serving.ladder import Answer
from recsys_assets.serving.protocol import DEFAULT_K, MAX_INSTANCES, MAX_K, Ask, Identifier, Strict, parse_body, refuse

_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_OUTPUTS = {"item_id": "BYTES", "score": "FP64", "count": "INT32", "rung": "BYTES"}


class _Tensor(Strict):
    name: str
    datatype: str
    shape: list[int] = Field(min_length=1, max_length=2)
    data: list[str | int] = Field(max_length=MAX_INSTANCES)
    parameters: dict[str, Any] | None = None


class _Wanted(Strict):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(Strict):
    inputs: list[_Tensor] = Field(min_length=1, max_length=2)
    outputs: list[_Wanted] | None = None
    id: Identifier | None = None
    parameters: dict[str, Any] | None = None


class _Checked(Strict):
    asks: list[Ask]


def parse(raw: bytes) -> tuple[list[Ask], str | None, list[str]]:
    """The questions, the request's own id (None where it has none) and the outputs it wants."""
    request = parse_body(raw, _Request)
    users, limits = _columns(request)
    wanted = [output.name for output in request.outputs or ()] or list(_OUTPUTS)
    for number, name in enumerate(wanted):
        if name not in _OUTPUTS:
            refuse(f"outputs[{number}].name", f"must be one of {', '.join(_OUTPUTS)}")
    asks = [_ask(number, user, limit) for number, (user, limit) in enumerate(zip(users, limits, strict=True))]
    return asks, request.id, wanted


def _columns(request: _Request) -> tuple[list[str], list[int]]:
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) != len(names) or not {"user_id"} <= set(names) <= {"user_id", "k"}:
        refuse("inputs", "must hold one tensor user_id (BYTES) and at most one tensor k (an integer type)")
    users: list[str] = []
    limits: list[int] = []
    for number, tensor in enumerate(request.inputs):
        _check_shape(tensor, f"inputs[{number}]")
        if tensor.name == "user_id":
            users = _typed(tensor, f"inputs[{number}]", str, ("BYTES",))
        else:
            limits = _typed(tensor, f"inputs[{number}]", int, _INTEGERS)
    limits = limits or [DEFAULT_K]
    if len(limits) not in {1, len(users)}:
        refuse("inputs", f"k must have 1 element or {len(users)}, as user_id has")
    return users, limits * len(users) if len(limits) == 1 else limits


def _typed(tensor: _Tensor, where: str, kind: type, datatypes: Sequence[str]) -> list[Any]:
    if tensor.datatype not in datatypes:
        refuse(f"{where}.datatype", f"must be {' or '.join(datatypes)} for {tensor.name}")
    for number, value in enumerate(tensor.data):
        if type(value) is not kind:
            refuse(f"{where}.data[{number}]", f"must be a {'string' if kind is str else 'whole number'}")
    return tensor.data


def _check_shape(tensor: _Tensor, where: str) -> None:
    if tensor.shape not in ([len(tensor.data)], [len(tensor.data), 1]):
        refuse(
            f"{where}.shape", f"must be [{len(tensor.data)}] or [{len(tensor.data)}, 1]: data has that many elements"
        )
    if not tensor.data:
        refuse(f"{where}.data", "must not be empty")


def _ask(number: int, user_id: str, k: int) -> Ask:
    if not 1 <= k <= MAX_K:
        refuse(f"k[{number}]", f"must lie between 1 and {MAX_K}")
    return parse_ask({"user_id": user_id, "k": k}, number)


def parse_ask(value: dict[str, Any], number: int) -> Ask:
    """One question out of its tensors' elements."""
    from pydantic import ValidationError

    try:
        return Ask.model_validate(value)
    except ValidationError as broken:
        refuse(f"user_id[{number}]", broken.errors()[0]["msg"])


def render(
    answers: Sequence[Answer],
    *,
    name: str,
    model_version: str,
    variant: str,
    request_id: str,
    own_id: str | None,
    wanted: Sequence[str],
) -> dict[str, Any]:
    """The answer's tensors. Short rankings are filled up with "" and 0; `count` says how many items are real."""
    width = max(len(answer.items) for answer in answers)
    n = len(answers)
    data: dict[str, tuple[list[int], list[Any]]] = {
        "item_id": ([n, width], [i for a in answers for i in [*a.items, *[""] * (width - len(a.items))]]),
        "score": ([n, width], [float(s) for a in answers for s in [*a.scores, *[0.0] * (width - len(a.items))]]),
        "count": ([n], [len(a.items) for a in answers]),
        "rung": ([n], [a.rung for a in answers]),
    }
    return {
        "model_name": name,
        "model_version": model_version,
        # Clients match answers to questions by it, so a request without one gets the gateway's id.
        "id": own_id or request_id,
        "parameters": {"variant": variant, "request_id": request_id, "flags": ",".join(sorted(_all_flags(answers)))},
        "outputs": [
            {"name": out, "datatype": _OUTPUTS[out], "shape": data[out][0], "data": data[out][1]} for out in wanted
        ],
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
