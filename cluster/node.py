"""The whole cluster as one process: the first of its own namespaces, so that its end is the end of everything in it.

Here: mounts, network, containerd, control plane, kubelet and kube-proxy, in this order. Not here: the host's side.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from cluster import node_config
from cluster.control_plane import READY_SECONDS, ControlPlane
from cluster.errors import ClusterError
from cluster.kubeconfig import write_kubeconfig
from cluster.layout import NODE, Layout
from cluster.processes import Process, poll, run
from cluster.versions import KUBELET, PROXY

SUPERVISE_SECONDS = 0.2


class Node:
    """Everything that runs inside the namespaces."""

    def __init__(self, at: Layout, archives: list[Path]) -> None:
        self._at = at
        self._archives = archives
        self._plane = ControlPlane(at.state, controllers=True, addresses=at.addresses)
        self._own: dict[str, Process] = {}
        self._phases: dict[str, float] = {}

    def bring_up(self) -> None:
        """Each phase after the one it needs; how long each took is written for the host."""
        for name, phase in (
            ("network", self._network),
            ("containerd", self._containerd),
            ("images", self._images),
            ("control_plane", self._control_plane),
            ("node_ready", self._node),
        ):
            started = time.monotonic()
            phase()
            self._phases[f"{name}_seconds"] = round(time.monotonic() - started, 2)
        memory = {name: process.resident_bytes() for name, process in self._all().items()}
        _write(self._at.ready, json.dumps({"phases": self._phases, "resident_bytes": memory}))

    def supervise(self) -> None:
        """Restart what ended, as a service manager would, and collect orphans, as the first process must."""
        while True:
            for process in self._all().values():
                if process.pid is None:
                    process.start()
            _collect_orphans({process.child for process in self._all().values()})
            time.sleep(SUPERVISE_SECONDS)

    def _all(self) -> dict[str, Process]:
        return self._own | self._plane.processes

    def _network(self) -> None:
        run(["ip", "link", "set", "lo", "up"])
        poll("the link from the host", lambda: _has_link("eth0"), READY_SECONDS)
        run(["ip", "address", "add", f"{self._at.node_address}/24", "dev", "eth0"])
        run(["ip", "link", "set", "eth0", "up"])
        run(["ip", "route", "add", "default", "via", self._at.host_address])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")

    def _containerd(self) -> None:
        network = self._at.state / "cni" / "10-pods.conflist"
        network.parent.mkdir()
        _write(network, node_config.pod_network(self._at))
        config = self._at.state / "containerd.toml"
        _write(config, node_config.containerd(self._at))
        self._start("containerd", ["containerd", "--config", config]).wait_until(self._runtime_answers, READY_SECONDS)

    def _images(self) -> None:
        for archive in self._archives:
            import_image(self._at.runtime_socket, archive)

    def _control_plane(self) -> None:
        self._plane.__enter__()

    def _node(self) -> None:
        at, issue = self._at, self._plane.authority.issue
        user = issue("node", f"system:node:{NODE}", ["system:nodes"], hosts=[NODE, at.node_address])
        node = write_kubeconfig(at.state / "node.kubeconfig", self._plane.server, self._plane.authority_file, user)
        user = issue("kube-proxy", "system:kube-proxy")
        proxy = write_kubeconfig(at.state / "proxy.kubeconfig", self._plane.server, self._plane.authority_file, user)
        serving = issue("kubelet", NODE, hosts=[NODE, at.node_address])
        _write(at.state / "resolv.conf", "")
        _write(at.state / "kubelet.yaml", node_config.kubelet(at, self._plane.authority_file, serving))
        _write(at.state / "kube-proxy.yaml", node_config.kube_proxy(at, proxy))
        root = at.state / "kubelet"
        kubelet: list[str | Path] = [
            KUBELET.path,
            f"--config={at.state / 'kubelet.yaml'}",
            f"--kubeconfig={node}",
            f"--root-dir={root}",
        ]
        self._start("kubelet", [*kubelet, f"--hostname-override={NODE}", f"--node-ip={at.node_address}"])
        self._start("kube-proxy", [PROXY.path, f"--config={at.state / 'kube-proxy.yaml'}"])
        self._own["kubelet"].wait_until(self._node_is_ready, READY_SECONDS)

    def _node_is_ready(self) -> bool:
        path = f"/api/v1/nodes/{NODE}"
        if not self._plane.api.exists(path):
            return False
        conditions = self._plane.api.request("GET", path)["status"].get("conditions") or []
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _runtime_answers(self) -> bool:
        try:
            run(["ctr", "--address", self._at.runtime_socket, "version"])
        except ClusterError:
            return False
        return True

    def _start(self, name: str, command: list[str | Path]) -> Process:
        process = Process(name, command, self._at.logs / f"{name}.log")
        self._own[name] = process
        process.start()
        return process


def import_image(socket: Path, archive: Path) -> None:
    """Give containerd an image, in the namespace that kubelet looks into."""
    run(["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive], timeout_seconds=1200)


def _has_link(name: str) -> bool:
    # /sys shows the network of whoever mounted it; the kernel's table of this process's own network does not.
    return any(line.strip().startswith(f"{name}:") for line in Path("/proc/net/dev").read_text("ascii").splitlines())


def _own_mounts(state: Path) -> None:
    """Pods' mounts must reach the pods (shared), and nothing may reach the host (the namespace is private)."""
    run(["mount", "--make-rprivate", "/"])
    run(["mount", "--make-rshared", "/"])
    run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    for folder in ("var-upper", "var-work"):
        (state / folder).mkdir()
    # Logs of pods and what network plugins remember go to /var by fixed paths: it is written to a layer that goes away.
    layers = f"lowerdir=/var,upperdir={state / 'var-upper'},workdir={state / 'var-work'}"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, "/var"])


def _collect_orphans(children: set[int | None]) -> None:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := _ended(flags)) is not None and ended not in children:
        os.waitpid(ended, 0)


def _ended(flags: int) -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, flags)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _end_at_once(_signal: int, _frame: object) -> None:
    # The kernel kills everything else in the process namespace when its first process ends.
    os._exit(0)


def main() -> None:
    """`python -m cluster.node STATE NUMBER [ARCHIVE ...]`, as the first process of new namespaces."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("archives", type=Path, nargs="*")
    asked = parser.parse_args()
    at = Layout(asked.state, asked.number)
    signal.signal(signal.SIGTERM, _end_at_once)
    try:
        _own_mounts(at.state)
        node = Node(at, asked.archives)
        node.bring_up()
    except (ClusterError, OSError) as error:
        _write(at.failed, f"{type(error).__name__}: {error}")
        sys.exit(1)
    node.supervise()


if __name__ == "__main__":
    main()
