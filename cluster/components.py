"""The command lines of etcd and of Kubernetes' control plane.

Here: flags as pure functions of files and addresses, each unusual one with its reason. Not here: running them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cluster.pki import Pair
from cluster.versions import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER

CLUSTER_DOMAIN = "cluster.local"
ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"


@dataclass(frozen=True)
class Addresses:
    """Where the control plane listens, and the ranges that it hands out."""

    host: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    controller_manager_port: int
    scheduler_port: int
    services: str = "10.96.0.0/16"
    pods: str = "10.244.0.0/16"

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{self.host}:{self.api_port}"


@dataclass(frozen=True)
class Files:
    """The certificates, keys and kubeconfigs of a control plane."""

    folder: Path
    authority: Path
    server: Pair
    etcd_client: Pair
    kubelet_client: Pair
    aggregator: Pair
    service_accounts: Pair
    kubeconfigs: dict[str, Path] = field(default_factory=dict)


def etcd(at: Addresses, files: Files) -> list[str | Path]:
    """etcd on loopback, which takes client certificates of the cluster's authority only."""
    peer = f"http://127.0.0.1:{at.etcd_peer_port}"
    client = f"https://127.0.0.1:{at.etcd_port}"
    return [
        ETCD.path, "--name=etcd", f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=etcd={peer}",
        "--client-cert-auth=true", f"--trusted-ca-file={files.authority}",
        f"--cert-file={files.server.certificate}", f"--key-file={files.server.key}",
        # The data live as long as the test run: a lost fsync loses nothing that anybody would miss.
        "--unsafe-no-fsync=true", "--log-level=warn",
    ]  # fmt: skip


def apiserver(at: Addresses, files: Files) -> list[str | Path]:
    """The API server with real authentication (certificates, tokens) and real authorisation (Node, RBAC)."""
    return [
        APISERVER.path, f"--bind-address={at.host}", f"--advertise-address={at.host}", f"--secure-port={at.api_port}",
        f"--service-cluster-ip-range={at.services}", "--allow-privileged=true",
        f"--etcd-servers=https://127.0.0.1:{at.etcd_port}", f"--etcd-cafile={files.authority}",
        f"--etcd-certfile={files.etcd_client.certificate}", f"--etcd-keyfile={files.etcd_client.key}",
        f"--tls-cert-file={files.server.certificate}", f"--tls-private-key-file={files.server.key}",
        f"--client-ca-file={files.authority}", "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--service-account-issuer={ISSUER}", f"--service-account-key-file={files.service_accounts.certificate}",
        f"--service-account-signing-key-file={files.service_accounts.key}",
        f"--kubelet-client-certificate={files.kubelet_client.certificate}",
        f"--kubelet-client-key={files.kubelet_client.key}",
        f"--kubelet-certificate-authority={files.authority}", "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={files.aggregator.certificate}", f"--proxy-client-key-file={files.aggregator.key}",
        f"--requestheader-client-ca-file={files.authority}", "--requestheader-allowed-names=aggregator",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        # Two cores: stopping should not wait for the usual minute of long requests.
        "--shutdown-delay-duration=0s", "--profiling=false",
    ]  # fmt: skip


def controller_manager(at: Addresses, files: Files) -> list[str | Path]:
    """The controllers: service accounts, Deployments, garbage collection and the rest, one replica without election."""
    config = files.kubeconfigs["controller-manager"]
    return [
        CONTROLLER_MANAGER.path, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}", "--leader-elect=false", "--use-service-account-credentials=true",
        f"--bind-address={at.host}", f"--secure-port={at.controller_manager_port}",
        f"--service-account-private-key-file={files.service_accounts.key}", f"--root-ca-file={files.authority}",
        f"--cluster-cidr={at.pods}", f"--service-cluster-ip-range={at.services}", "--profiling=false",
    ]  # fmt: skip


def scheduler(at: Addresses, files: Files) -> list[str | Path]:
    """The scheduler, one replica without election."""
    config = files.kubeconfigs["scheduler"]
    return [
        SCHEDULER.path, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}", "--leader-elect=false",
        f"--bind-address={at.host}", f"--secure-port={at.scheduler_port}", "--profiling=false",
    ]  # fmt: skip
