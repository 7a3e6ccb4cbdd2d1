"""What the model server says about itself: names, versions, liveness and readiness of both protocol versions.

Here: the routes that rank nothing. Not here: inference (app.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Response

from recsys_assets.serving.bodies import JSON
from recsys_assets.serving.protocol import dumps, refuse
from recsys_assets.serving.protocol_v2 import EXTENSIONS, model_metadata

Say = Callable[[], dict[str, Any]]


def check_model(served: str, served_version: str, name: str, version: str | None = None) -> None:
    """Refuse a question to another model or version with 404."""
    if name != served:
        refuse("model", f"this server serves {served}", status=404)
    if version not in {None, served_version}:
        refuse("version", f"this server serves version {served_version}", status=404)


def add_metadata(app: FastAPI, *, name: str, version: str, lost: Callable[[], int]) -> None:
    """Add the GET routes. A server that answers at all is ready: it listens only once its bundle is loaded."""
    about_server: dict[str, Say] = {
        "/": lambda: {"status": "alive"},
        "/v1/models": lambda: {"models": [name]},
        "/v2": lambda: {"name": "recsys_assets", "version": version, "extensions": list(EXTENSIONS)},
        "/v2/health/live": lambda: {"live": True, "model_version": version},
        "/v2/health/ready": lambda: {"ready": True, "model_version": version, "exposures_lost": lost()},
    }
    about_model: dict[str, Say] = {
        "/v1/models/{name}": lambda: {"name": name, "ready": True},
        "/v2/models/{name}": lambda: model_metadata(name, version),
        "/v2/models/{name}/ready": lambda: {"name": name, "ready": True},
        "/v2/models/{name}/versions/{version}": lambda: model_metadata(name, version),
        "/v2/models/{name}/versions/{version}/ready": lambda: {"name": name, "ready": True},
    }
    for path, say in about_server.items():
        app.add_api_route(path, _about_server(say), methods=["GET", "HEAD"], response_model=None)
    for path, say in about_model.items():
        app.add_api_route(path, _about_model(say, name, version), methods=["GET", "HEAD"], response_model=None)


# Coroutines, though nothing is awaited: FastAPI runs plain functions in threads, which a probe need not wait for.
def _about_server(say: Say) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(dumps(say()), media_type=JSON)

    return answer


def _about_model(say: Say, served: str, served_version: str) -> Callable[..., Awaitable[Response]]:
    async def answer(name: str, version: str | None = None) -> Response:
        check_model(served, served_version, name, version)
        return Response(dumps(say()), media_type=JSON)

    return answer
