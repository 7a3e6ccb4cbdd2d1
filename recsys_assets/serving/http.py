"""Who calls, by the headers of the gateway, and how errors are answered.

Here: the parts of HTTP that the model server and the collector share. Not here: bodies (bodies.py), any route.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from recsys_assets import visitor_id
from recsys_assets.serving.bodies import JSON
from recsys_assets.serving.protocol import MAX_ID_LENGTH, Malformed, dumps

# Longer than the gateway keeps an idle connection: it must be the gateway that closes, or a request gets lost.
KEEP_ALIVE_SECONDS: Final = 3_700

CallerVariant = Literal["stable", "canary", "shadow", "direct"]
_VARIANTS: Final[dict[str, CallerVariant]] = {"stable": "stable", "canary": "canary", "shadow": "shadow"}


@dataclass(frozen=True)
class Caller:
    """`visitor_id` is None for a probe; `variant` is direct where no gateway stood in between.

    `is_fit`: it is a probe, or its visitor is named by the rule by which the gateway assigns visitors. Nobody else is
    answered: an answer that is logged under another name would be analysed as somebody else's.
    """

    request_id: str
    visitor_id: str | None
    variant: CallerVariant
    is_fit: bool

    @property
    def is_visitor(self) -> bool:
        return self.visitor_id is not None

    @property
    def is_answered(self) -> bool:
        """Whether a user waits for this answer; a copy in the shadow answers nobody."""
        return self.is_visitor and self.variant != "shadow"


def caller_of(request: Request, service: str = "") -> Caller:
    """The caller by the headers that the gateway sets. A request id that cannot be an id is replaced.

    `service` is the one that is asked here: by its name it knows that a request is a copy.
    """
    asked = _identifier(request.headers.get("x-request-id"))
    name = visitor_id.HEADER.encode()
    values = [value for header, value in request.scope["headers"] if header == name]
    visitor, variant = visitor_id.read(values), _variant(request, service)
    is_probe = not values and variant == "direct"
    return Caller(asked or str(uuid.uuid4()), visitor, variant, is_fit=is_probe or visitor is not None)


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


class SlashAtTheEnd:
    """A slash at the end of a path changes nothing: a redirect would lose the body of some clients."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1:
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


def add_error_answers(app: FastAPI) -> None:
    """Every error is JSON that says why: a refused request, an unknown route, and a defect of ours."""
    app.router.redirect_slashes = False
    app.add_middleware(SlashAtTheEnd)
    app.add_exception_handler(Malformed, _malformed)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _defect)


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, Malformed)
    return Response(error.body(), error.status, headers=error.headers, media_type=JSON)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"[:200]
    allowed = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), None)
    rule = f"this path takes {allowed}" if error.status_code == 405 and allowed else str(error.detail)
    body = {"error": f"{where}: {rule}", "faults": [{"where": where, "rule": rule}]}
    return Response(dumps(body), error.status_code, headers=error.headers, media_type=JSON)


async def _defect(request: Request, error: Exception) -> Response:
    return Response(dumps({"error": f"a defect: {type(error).__name__}", "faults": []}), 500, media_type=JSON)
