"""Real server processes on free ports, for the serving tests.

Here: starting one, waiting until it answers, ending it. Not here: any test.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from recsys_assets_tests.waiting import HANG_SECONDS, eventually


@dataclass(frozen=True)
class Running:
    """A process that answers, and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    def predict(self, *instances: object, headers: dict[str, str] | None = None) -> httpx.Response:
        body = {"instances": list(instances)}
        return self.client.post("/v1/models/recommender:predict", json=body, headers=headers)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(module: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", f"recsys_assets.serving.{module}", *map(str, arguments)]


@contextmanager
def running(module: str, *arguments: str | Path) -> Iterator[Running]:
    """A process of ours, ready; it is gone when the block ends."""
    port = free_port()
    process = subprocess.Popen(command(module, "--port", str(port), *arguments), stderr=subprocess.PIPE)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_SECONDS, trust_env=False)
    try:
        _wait(process, client)
        yield Running(process, client)
    finally:
        client.close()
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _wait(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"exited with {process.returncode}: {process.stderr and process.stderr.read()!r}")
        try:
            return client.get("/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, what=f"{client.base_url} is ready")
