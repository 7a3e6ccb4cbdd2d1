"""A real API server on loopback, with etcd below it and, when asked for, the controllers and the scheduler.

Here: bringing it up and down, and identities for its clients. Not here: a node, which is `cluster.node`.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from cluster import components
from cluster.access import Access
from cluster.api import Api
from cluster.build import ensure_built
from cluster.components import Addresses, Files
from cluster.kubeconfig import write_kubeconfig
from cluster.pki import Authority, Pair, signing_keys
from cluster.processes import Process
from cluster.versions import API_SERVER_TOOLS, CONTROL_PLANE_TOOLS

READY_SECONDS = 300.0  # 3 to 6 s on a quiet machine; builds and benchmarks may run beside it
ADMIN_GROUP = "system:masters"


class ControlPlane(Access):
    """A context manager: an API server that is ready on entry, and gone with its data's processes on exit.

    >>> with ControlPlane(tmp_path, controllers=True) as plane:  # doctest: +SKIP
    ...     kubernetes.config.load_kube_config(str(plane.kubeconfig))
    """

    def __init__(self, state: Path, *, controllers: bool = False, addresses: Addresses | None = None) -> None:
        self.state = state
        self.addresses = addresses or loopback_addresses()
        self.server = self.addresses.server
        self.ready_seconds = 0.0
        self._controllers = controllers
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> ControlPlane:
        ensure_built(CONTROL_PLANE_TOOLS if self._controllers else API_SERVER_TOOLS)
        self.state.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start()
            undo.pop_all()
        self.ready_seconds = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @cached_property
    def authority(self) -> Authority:
        """The authority that the API server trusts for clients, and clients for the API server."""
        return Authority(self.state / "pki", "kubernetes")

    @cached_property
    def admin(self) -> Pair:
        """The certificate of a person who may do everything."""
        return self.authority.issue("admin", "admin", [ADMIN_GROUP])

    @property
    def processes(self) -> dict[str, Process]:
        """The running parts by name."""
        return dict(self._processes)

    def resident_bytes(self) -> dict[str, int]:
        """Resident memory of each part."""
        return {name: process.resident_bytes() for name, process in self._processes.items()}

    def stop(self) -> None:
        """Stop everything, the last started first."""
        for process in reversed(self._processes.values()):
            process.stop()

    @cached_property
    def _files(self) -> Files:
        at, issue = self.addresses, self.authority.issue
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        server = issue("server", "kube-apiserver", hosts=[*names, "127.0.0.1", at.host, _first_address(at.services)])
        users = {
            "admin": self.admin,
            "controller-manager": issue("controller-manager", "system:kube-controller-manager"),
            "scheduler": issue("scheduler", "system:kube-scheduler"),
        }
        return Files(
            folder=self.state,
            authority=self.authority.certificate,
            server=server,
            etcd_client=issue("etcd-client", "kube-apiserver"),
            kubelet_client=issue("kubelet-client", "kube-apiserver-kubelet-client", [ADMIN_GROUP]),
            aggregator=issue("aggregator", "aggregator"),
            service_accounts=signing_keys(self.state / "pki"),
            kubeconfigs={
                name: write_kubeconfig(self.state / f"{name}.kubeconfig", at.server, self.authority.certificate, pair)
                for name, pair in users.items()
            },
        )

    def _start(self) -> None:
        at, files = self.addresses, self._files
        self._run("etcd", components.etcd(at, files)).wait_until(self._etcd_answers, READY_SECONDS)
        self._run("kube-apiserver", components.apiserver(at, files)).wait_until(self.api.is_ready, READY_SECONDS)
        if not self._controllers:
            return
        self._run("kube-controller-manager", components.controller_manager(at, files))
        self._run("kube-scheduler", components.scheduler(at, files))
        # The first service account tells that the controllers work; without it no pod is admitted.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._processes["kube-controller-manager"].wait_until(lambda: self.api.exists(account), READY_SECONDS)

    def _run(self, name: str, command: list[str | Path]) -> Process:
        process = Process(name, command, self.state / "logs" / f"{name}.log")
        self._processes[name] = process
        process.start()
        return process

    def _etcd_answers(self) -> bool:
        etcd = f"https://127.0.0.1:{self.addresses.etcd_port}"
        client = Api(etcd, self.authority.certificate, self._files.etcd_client)
        try:
            return '"health":"true"' in client.request("GET", "/health")
        except (OSError, http.client.HTTPException):
            return False


def loopback_addresses() -> Addresses:
    """Loopback with ports that are free now; all are held until the last is found, so none comes twice."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(5)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return Addresses("127.0.0.1", *ports)


def _first_address(network: str) -> str:
    return str(ipaddress.ip_network(network)[1])
