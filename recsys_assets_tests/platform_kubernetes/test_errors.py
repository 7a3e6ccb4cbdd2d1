"""What an API server answers, as it was seen to answer, and the typed error that it becomes.

Here: literal answers of Kubernetes 1.36. Not here: getting them (`cluster/test_platform_errors.py`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys_assets.platform.interface import (
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    NotFound,
    PlatformError,
    Refused,
    Unavailable,
)
from recsys_assets.platform.kubernetes.errors import Target, refusal, unreachable
from recsys_assets.platform.kubernetes.kinds import VIRTUAL_SERVICES

ABOUT = Target("VirtualService", "films", VIRTUAL_SERVICES, "recsys")


def answer(message: str, reason: str = "", **details: Any) -> str:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "details": details})


CAUSE = {"reason": "FieldValueInvalid", "message": 'Invalid value: "soon"', "field": "spec.http[0].timeout"}
UID = {"message": 'Invalid value: "u": field is immutable', "field": "metadata.uid"}
_OBJECT = "(recsys/films; networking.istio.io/v1, Kind=VirtualService)"
UNTYPED = f"failed to create typed patch object {_OBJECT}: .spec.foo: field not declared in schema"


@pytest.mark.parametrize(("status", "body", "error", "told"), [
    (409, answer("the object has been modified", "Conflict"), Conflict, "VirtualService/films: the object has been"),
    (404, answer('virtualservices "films" not found', "NotFound", name="films", kind="virtualservices"), NotFound,
     "not found"),
    (404, "404 page not found\n", Missing, "no CRD virtualservices.networking.istio.io of version v1"),
    (404, answer('namespaces "recsys" not found', "NotFound", name="recsys", kind="namespaces"), Missing,
     "no namespace recsys"),
    (422, answer("is invalid", "Invalid", causes=[CAUSE]), Invalid, r"spec.http\[0\].timeout: Invalid value"),
    (422, answer("is invalid", "Invalid", causes=[UID]), Conflict, "another object of this name stands there now"),
    (500, answer(UNTYPED), Invalid, "spec.foo: field not declared in schema"),
    (400, answer('admission webhook "validation.istio.io" denied the request: configuration is invalid: no host'),
     Refused, "no host"),
    (403, answer('admission webhook "x" denied the request: not today', "Forbidden"), Refused, "not today"),
    (422, answer("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many", "Invalid"), Refused,
     "too many"),
    (403, answer('User "guard" cannot create resource "virtualservices"', "Forbidden"), Forbidden, "cannot create"),
    (401, answer("Unauthorized", "Unauthorized"), Forbidden, "Unauthorized"),
    (500, answer('Internal error occurred: failed calling webhook "v": connection refused', "InternalError"),
     Unavailable, "failed calling webhook"),
    (429, answer("too many requests", "TooManyRequests"), Unavailable, "429 too many requests"),
    (503, "", Unavailable, "503 it gave no reason"),
    (499, "teapot", Unavailable, "499 teapot"),
    (413, answer("Request entity too large: limit is 3145728", "RequestEntityTooLarge"), Invalid, "too large"),
])  # fmt: skip
def test_an_answer_becomes_the_error_that_names_the_object_and_the_reason(
    status: int, body: str, error: type[PlatformError], told: str
) -> None:
    found = refusal(ABOUT, status, body)
    assert type(found) is error
    assert str(found).startswith("VirtualService/films: ")
    with pytest.raises(error, match=told):
        raise found


def test_no_answer_says_nothing_about_the_object() -> None:
    found = unreachable(ABOUT, "NewConnectionError: refused")
    assert isinstance(found, Unavailable)
    assert "did not answer: NewConnectionError" in str(found)


def test_an_endless_answer_is_cut() -> None:
    assert len(str(refusal(ABOUT, 500, "x" * 100_000))) < 3_000
