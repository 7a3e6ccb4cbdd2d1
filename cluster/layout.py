"""Where a cluster keeps its files, and which addresses it uses.

Here: pure functions of a state folder and of a number that no other cluster has. Not here: making any of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.components import Addresses

NODE = "node"
RUNTIME_SOCKET_LIMIT = 107  # bytes that a path of a Unix socket may have


@dataclass(frozen=True)
class Layout:
    """A cluster's files below `state`, and its slice of 10.217.0.0/16: node, pods and services with a /24 each."""

    state: Path
    number: int

    @property
    def host_address(self) -> str:
        """The host as pods see it: servers beside the cluster listen here."""
        return f"10.217.{4 * self.number}.1"

    @property
    def node_address(self) -> str:
        """The node, which is also where the API server listens."""
        return f"10.217.{4 * self.number}.2"

    @property
    def node_network(self) -> str:
        """The network between the host and the node."""
        return f"10.217.{4 * self.number}.0/24"

    @property
    def pods(self) -> str:
        """The addresses of pods."""
        return f"10.217.{4 * self.number + 1}.0/24"

    @property
    def services(self) -> str:
        """The addresses of services."""
        return f"10.217.{4 * self.number + 2}.0/24"

    @property
    def dns_address(self) -> str:
        """Where CoreDNS answers: the tenth service address, as everywhere."""
        return f"10.217.{4 * self.number + 2}.10"

    @property
    def link(self) -> str:
        """The host's end of the link to the node."""
        return f"recsys{self.number}"

    @property
    def cgroup(self) -> str:
        """The group below which all pods run, in each hierarchy."""
        return f"/recsys-cluster-{self.number}"

    @property
    def addresses(self) -> Addresses:
        """Fixed ports: nobody else is in the cluster's network namespace."""
        return Addresses(self.node_address, 6443, 2379, 2380, 10257, 10259, self.services, self.pods)

    @property
    def runtime_socket(self) -> Path:
        """Where containerd listens."""
        return self.state / "containerd.sock"

    @property
    def ready(self) -> Path:
        """Written once the node is ready, with how long each phase took."""
        return self.state / "ready.json"

    @property
    def failed(self) -> Path:
        """Written when the cluster could not come up, with the reason."""
        return self.state / "failed.txt"

    @property
    def logs(self) -> Path:
        """A log per part."""
        return self.state / "logs"
