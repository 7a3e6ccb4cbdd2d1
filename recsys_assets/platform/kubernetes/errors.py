"""What the API server's refusals mean to the platform's callers.

Here: pure translation of an answer to a typed error. Not here: sending anything, or deciding whether to ask again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

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
from recsys_assets.platform.kubernetes.kinds import Resource

# `admission webhook "x" denied the request: why`, and `ValidatingAdmissionPolicy 'x' ... denied request: why`.
_DENIED: Final = re.compile(r"(admission webhook|ValidatingAdmissionPolicy) ['\"].*denied (the )?request", re.DOTALL)
# What server-side apply says, as a 500, of a field that the schema does not have or that has another type.
_UNTYPED: Final = re.compile(r"failed to create typed patch object \(.*?\): \.?(\S+): (.*)", re.DOTALL)
_MAX_TOLD: Final = 2_000


@dataclass(frozen=True)
class Target:
    """The object that a request was about, as its caller calls it, and what it is to the API server."""

    kind: str
    name: str
    resource: Resource
    namespace: str


@dataclass(frozen=True)
class _Answer:
    target: Target
    status: int
    message: str
    reason: str
    details: Mapping[str, Any]


def refusal(target: Target, status: int, body: str) -> PlatformError:
    """The typed error of an answer that is not a success. It names the object and holds the server's own words."""
    answer = _read(target, status, body)
    if _DENIED.search(answer.message):
        return Refused(target.kind, target.name, "(admission)", answer.message)
    if untyped := _UNTYPED.search(answer.message):
        return Invalid(target.kind, target.name, untyped[1], untyped[2])
    return _BY_STATUS.get(status, _unavailable)(answer)


def unreachable(target: Target, why: str) -> Unavailable:
    """No answer at all, so that nothing is known, not even whether a write was done."""
    return Unavailable(target.kind, target.name, f"the API server did not answer: {why}"[:_MAX_TOLD])


def _read(target: Target, status: int, body: str) -> _Answer:
    try:
        read = json.loads(body)
    except ValueError:
        read = None
    document: Mapping[str, Any] = read if isinstance(read, dict) and read.get("kind") == "Status" else {}
    message = str(document.get("message") or body.strip() or "it gave no reason")[:_MAX_TOLD]
    return _Answer(target, status, message, str(document.get("reason") or ""), document.get("details") or {})


def _conflict(answer: _Answer) -> PlatformError:
    return Conflict(answer.target.kind, answer.target.name, answer.message)


def _forbidden(answer: _Answer) -> PlatformError:
    return Forbidden(answer.target.kind, answer.target.name, answer.message)


def _invalid(answer: _Answer) -> PlatformError:
    causes = [cause for cause in answer.details.get("causes") or [] if isinstance(cause, dict)]
    field = str((causes[0].get("field") if causes else None) or "(top)")
    told = "; ".join(f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes[1:])
    first = str(causes[0].get("message")) if causes else answer.message
    if field == "metadata.uid":
        # The object that was read is gone, and a namesake stands in its place.
        return Conflict(
            answer.target.kind, answer.target.name, f"another object of this name stands there now: {first}"
        )
    return Invalid(answer.target.kind, answer.target.name, field, "; ".join(filter(None, [first, told])))


def _not_found(answer: _Answer) -> PlatformError:
    """Of the object, of its namespace, or of its whole kind."""
    target, missing = answer.target, answer.details.get("kind")
    if missing == target.resource.plural and answer.details.get("name"):
        return NotFound(target.kind, target.name, answer.message)
    if missing == "namespaces":
        return Missing(target.kind, target.name, f"the cluster has no namespace {target.namespace}: {answer.message}")
    crd, version = target.resource.crd, target.resource.version
    return Missing(target.kind, target.name, f"the cluster has no CRD {crd} of version {version}: {answer.message}")


def _unavailable(answer: _Answer) -> PlatformError:
    return Unavailable(answer.target.kind, answer.target.name, f"{answer.status} {answer.message}")


_BY_STATUS: Final[Mapping[int, Callable[[_Answer], PlatformError]]] = {
    400: _invalid,
    401: _forbidden,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    413: _invalid,
    415: _invalid,
    422: _invalid,
}
