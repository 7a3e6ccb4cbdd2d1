"""The reports of a home over HTTP, for the person at this machine: evaluations and drift, as the assets link them.

Here: which files, and under which protection. Not here: the process that serves them (collector.py), or the links
(resources/pages.py). A page holds Evidently's scripts and names out of people's data, so it may reach nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

PREFIX: Final = "/reports"
# Scripts may draw, and nothing else: no network, no storage, no origin of their own.
_HEADERS: Final = {
    "content-security-policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class _Pages(StaticFiles):
    """Files named `*.html` below one folder; no listing, no link out of it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not path.endswith(".html"):
            raise HTTPException(status_code=404)
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: os.PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response


def report_pages(folder: Path, *, host: str) -> ASGIApp:
    """For names of this machine only: a page elsewhere whose name was pointed here is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", host])
    return Starlette(routes=[Mount("/", app=_Pages(directory=folder))], middleware=[hosts])
