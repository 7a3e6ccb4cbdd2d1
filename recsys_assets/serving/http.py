"""Who calls and what they sent: headers of the gateway, and a body read under limits.

Here: the parts of HTTP that the model server and the collector share. Not here: any route.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from recsys_assets.serving.protocol import MAX_BODY_BYTES, MAX_ID_LENGTH, Malformed, dumps, refuse

JSON: Final = "application/json"
BODY_SECONDS: Final = 10.0
# Longer than the gateway keeps an idle connection: it must be the gateway that closes, or a request gets lost.
KEEP_ALIVE_SECONDS: Final = 3_700

CallerVariant = Literal["stable", "canary", "shadow", "direct"]
_VARIANTS: Final[dict[str, CallerVariant]] = {"stable": "stable", "canary": "canary", "shadow": "shadow"}


@dataclass(frozen=True)
class Caller:
    """`visitor_id` is None for a probe; `variant` is direct where no gateway stood in between."""

    request_id: str
    visitor_id: str | None
    variant: CallerVariant

    @property
    def is_visitor(self) -> bool:
        return self.visitor_id is not None

    @property
    def is_answered(self) -> bool:
        """Whether a user waits for this answer; a copy in the shadow answers nobody."""
        return self.is_visitor and self.variant != "shadow"


def caller_of(request: Request, service: str = "") -> Caller:
    """The caller by the headers that the gateway sets. An id that cannot be an id is replaced or left out.

    `service` is the one that is asked here: by its name it knows that a request is a copy.
    """
    asked = _identifier(request.headers.get("x-request-id"))
    return Caller(
        request_id=asked or str(uuid.uuid4()),
        visitor_id=_identifier(request.headers.get("x-user-id")),
        variant=_variant(request, service),
    )


def _variant(request: Request, service: str) -> CallerVariant:
    # Envoy marks a mirrored request by its host, before the port; Istio tells it not to.
    if request.headers.get("host", "").split(":")[0].endswith("-shadow"):
        return "shadow"
    if service and request.headers.get("x-recsys-shadow") == service:
        return "shadow"
    return _VARIANTS.get(request.headers.get("x-recsys-variant", ""), "direct")


def _identifier(header: str | None) -> str | None:
    if not header:
        return None
    try:
        text = header.encode("latin-1").decode("utf-8")  # ASGI reads header bytes as latin-1
    except UnicodeDecodeError:
        text = header
    return text if len(text) <= MAX_ID_LENGTH and text.isprintable() else None


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body as a whole, or 4xx: too large (413), not JSON by its own word (415), too slow (408), cut off (400)."""
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if kind != JSON:
        refuse("content-type", f"must be {JSON}", status=415)
    if "inference-header-content-length" in request.headers:
        refuse("inference-header-content-length", "binary tensors are not served", status=415)
    if int(request.headers.get("content-length", "0") or 0) > limit:
        refuse("body", f"must not be longer than {limit} bytes", status=413)
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                parts.append(part)
                if sum(map(len, parts)) > limit:
                    refuse("body", f"must not be longer than {limit} bytes", status=413)
    except TimeoutError:
        refuse("body", f"must arrive within {BODY_SECONDS:.0f} seconds", status=408)
    except ClientDisconnect:
        refuse("body", "was cut off", status=400)
    return b"".join(parts)


def add_error_answers(app: FastAPI) -> None:
    """Every error is JSON that says why: a refused request, an unknown route, and a defect of ours."""
    app.add_exception_handler(Malformed, _malformed)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _defect)


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, Malformed)
    return Response(error.body(), error.status, media_type=JSON)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"[:200]
    body = {"error": f"{where}: {error.detail}", "faults": [{"where": where, "rule": str(error.detail)}]}
    return Response(dumps(body), error.status_code, headers=error.headers, media_type=JSON)


async def _defect(request: Request, error: Exception) -> Response:
    return Response(dumps({"error": f"a defect: {type(error).__name__}", "faults": []}), 500, media_type=JSON)
