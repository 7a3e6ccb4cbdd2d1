"""A home on free ports with a real stack in it, and the few verbs that the live tests share.

Here: set-up and waiting. Not here: claims.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, VIRTUAL_SERVICE, ServiceStatus
from recsys_assets.platform.local.store import ManifestStore, open_store
from recsys_assets.platform.local.supervisor import ProgramState, Supervisor
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets_tests.conftest import free_ports
from recsys_assets_tests.contracts.manifests import inference_service, virtual_service
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

SERVER = str(Path(__file__).with_name("model_server.py"))
PATH = "/v1/models/films:predict"


def make_settings(home: Path) -> Settings:
    home.mkdir(parents=True)
    gateway, admin, collector = free_ports(3)
    first = random.randrange(20_000, 30_000, 20)
    raw: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text())
    raw["model_name"] = "films"
    raw["serving"] = {
        "gateway_port": gateway,
        "gateway_admin_port": admin,
        "collector_port": collector,
        "model_port_first": first,
        "model_port_last": first + 19,
        "ready_timeout_seconds": HANG_SECONDS,
    }
    config = home / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw))
    return load_settings(home=home / "state", config=config)


class Home:
    """A home whose stack runs: services of the tiny server, and requests through the gateway."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.store = settings, open_store(settings)
        self.folder = settings.path("servers")
        self.folder.mkdir(parents=True, exist_ok=True)

    def serve(self, *versions: str) -> None:
        for version in versions:
            args = [SERVER, "--port", "$(PORT)", "--version", version, "--folder", str(self.folder)]
            manifest = inference_service(f"films-v{version}", command=[sys.executable], args=args)
            self.store.apply(manifest, expected=ANY)
        for version in versions:
            self.until_service(version, lambda status: status.ready)

    def until_service(self, version: str, holds: Callable[[ServiceStatus], bool]) -> ServiceStatus:
        return self._until(self.store, INFERENCE_SERVICE, f"films-v{version}", holds)

    def route(self, weights: dict[str, int], **more: Any) -> ServiceStatus:
        """Apply a route and wait until the gateway has it in force."""
        self.store.apply(virtual_service(weights, **more), expected=ANY)
        return self.until_route(lambda status: status.observed_generation == status.generation)

    def until_route(self, holds: Callable[[ServiceStatus], bool]) -> ServiceStatus:
        return self._until(self.store, VIRTUAL_SERVICE, "films", holds)

    def mode(self, version: str, mode: str) -> None:
        (self.folder / f"{version}.mode").write_text(mode)

    def answered(self, version: str) -> list[tuple[str, str]]:
        """(host, request id) of each answer that this version gave."""
        path = self.folder / f"{version}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    def client(self) -> Client:
        return Client(self.settings.serving.gateway_port)

    @staticmethod
    def _until(store: ManifestStore, kind: str, name: str, holds: Callable[[ServiceStatus], bool]) -> ServiceStatus:
        last: list[ServiceStatus] = []

        def now() -> bool:
            last[:] = [store.status(kind, name)]
            return holds(last[0])

        try:
            eventually(now)
        except AssertionError:
            raise AssertionError(f"{kind}/{name} stayed at {last[0]}") from None
        return last[0]


class Client:
    """One kept connection; `http.client` costs the busy test machine least."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)

    def ask(
        self, user: str | None, *, path: str = PATH, body: bytes = b"{}", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one recommendation."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        visitor = {} if user is None else {"x-user-id": user}
        self._connection.request("POST", path, body, visitor | named)
        answer = self._connection.getresponse()
        self.headers = answer.headers
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else {}

    def close(self) -> None:
        self._connection.close()


def running_programs(settings: Settings) -> Mapping[str, ProgramState]:
    """Each program's state by its name, model servers included; empty when the stack does not run."""
    supervisor = Supervisor(settings)
    return supervisor.states() if supervisor.is_running() else {}
