"""A real gateway with real model servers of two versions and a real collector behind it, and raw requests to it.

Here: set-up, one connection for requests as bytes, and the logs of both sides. Not here: claims.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.platform.local.programs import COLLECTOR, ENVOY, RECONCILER
from recsys_assets.serving.logs import read_exposures, read_feedback
from recsys_assets.tail import read_whole
from recsys_assets_tests.contracts.manifests import inference_service
from recsys_assets_tests.platform.homes import Home, make_settings
from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.waiting import eventually

PREDICT, INFER = "/v1/models/films:predict", "/v2/models/films/infer"
RELEASE = "films-v2-1"
NOTES = {"recsys-assets.dev/release-id": RELEASE}
STABLE, CANARY = "1", "2"
CANARY_BP = 5_000


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Gateway:
    """A gateway of two arms, half of the visitors each, as people meet it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = home.settings.serving.gateway_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._logs = home.settings.path("logs")

    def send(self, method: str, path: str, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Reply:
        """One request whose headers are exactly these bytes."""
        given = [(b"host", b"films"), (b"content-length", str(len(body)).encode()), (b"connection", b"close"), *headers]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in given)
        with self._sent(f"{method} {path} HTTP/1.1\r\n".encode() + head + b"\r\n" + body) as connection:
            # As long as the reply says: Envoy closes a second after a refusal, lest it be lost.
            answer = HTTPResponse(connection, method=method)
            answer.begin()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers, answer.read())

    def raw(self, request: bytes) -> Reply:
        """These bytes, and everything that comes back until the gateway closes."""
        with self._sent(request) as connection:
            return read_reply(b"".join(iter(lambda: connection.recv(1 << 16), b"")))

    def _sent(self, request: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(request)
        return connection

    def exposures(self) -> pl.DataFrame:
        return read_exposures(self._logs / "exposures")

    def feedback(self) -> pl.DataFrame:
        return read_feedback(self._logs / "feedback")

    def counted(self, since: datetime | None = None) -> pl.DataFrame:
        """What the analysis reads of the gateway's log."""
        return read_whole(self._logs / "gateway", GATEWAY_LOG, since)

    def counted_with(self, request_id: str) -> dict[str, Any]:
        """The row of one request, as soon as Envoy has written it."""
        rows = eventually(lambda: self.counted().filter(pl.col("request_id") == request_id).to_dicts())
        assert len(rows) == 1
        row: dict[str, Any] = rows[0]
        return row


def read_reply(received: bytes) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def ask(user: str = "u03", k: int = 3) -> bytes:
    """A body of `:predict` for one user."""
    return json.dumps({"instances": [{"user_id": user, "k": k}]}).encode()


@contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    """Two versions of one recommender: their answers are equal, their names are not."""
    settings = make_settings(folder / "home")
    state = settings.path()
    for version in (STABLE, CANARY):
        signed_bundle(state / "bundles" / version, state / "keys", version=version, name="films")
    try:
        stack.start(settings, (RECONCILER, ENVOY, COLLECTOR))
        home = Home(settings)
        for version in (STABLE, CANARY):
            bundle = ["--bundle", str(state / "bundles" / version), "--home", str(state)]
            server = ["-m", "recsys_assets.serving.server", "--port", "$(PORT)", *bundle]
            home.store.apply(
                inference_service(f"films-v{version}", command=[sys.executable], args=server), expected=ANY
            )
        for version in (STABLE, CANARY):
            home.until_service(version, lambda status: status.ready)
        home.route({"films-v2": CANARY_BP, "films-v1": 10_000 - CANARY_BP}, annotations=NOTES)
        yield Gateway(home)
    finally:
        stack.stop(settings)
