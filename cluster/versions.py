"""Which tools the cluster is made of, and which version of each is pinned.

Here: the tools, their Go packages, versions read from their go.mod, and where all of it is cached. Not here: building.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

GO_MODULES = Path(__file__).parent / "go"
KUBERNETES = "k8s.io/kubernetes"
ISTIO = "istio.io/istio"
KSERVE = "github.com/kserve/kserve"
OWN_SOURCE = "own"  # the version of what is written here and has no module to take it from


@dataclass(frozen=True)
class Tool:
    """One binary: its name, the folder below `go/` that pins it, and the package `go build` is asked for."""

    name: str
    folder: str
    module: str
    package: str
    version_variables: tuple[str, ...] = ()  # Go variables that take the version, which a plain build leaves unset

    @property
    def version(self) -> str:
        """The version that go.mod requires: it is written there and nowhere else."""
        return pinned_version(self.folder, self.module) if self.module else OWN_SOURCE

    @property
    def path(self) -> Path:
        """Where the built binary stands."""
        return cache_folder() / "bin" / f"{self.name}-{self.version}"

    @property
    def linker_flags(self) -> str:
        """No debug symbols, and the version where the tool reports or compares its own."""
        return " ".join(["-s -w", *(f"-X {variable}={self.version}" for variable in self.version_variables)])

    @property
    def digest(self) -> str:
        """A digest over everything pinned for this binary; another digest means it has to be built again."""
        files = [GO_MODULES / self.folder / name for name in ("go.mod", "go.sum")]
        files += sorted((GO_MODULES / self.folder).glob("*.go"))
        parts = [*(path.read_bytes() for path in files), self.package.encode(), self.linker_flags.encode()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _kubernetes(name: str) -> Tool:
    variables = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")
    return Tool(name, "kubernetes", KUBERNETES, f"{KUBERNETES}/cmd/{name}", variables)


def _istio(name: str) -> Tool:
    return Tool(name, "istio", ISTIO, f"{ISTIO}/pilot/cmd/{name}", (f"{ISTIO}/pkg/version.buildVersion",))


ETCD = Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3")
APISERVER = _kubernetes("kube-apiserver")
CONTROLLER_MANAGER = _kubernetes("kube-controller-manager")
SCHEDULER = _kubernetes("kube-scheduler")
KUBELET = _kubernetes("kubelet")
PROXY = _kubernetes("kube-proxy")
COREDNS = Tool("coredns", "coredns", "github.com/coredns/coredns", "github.com/coredns/coredns")
KSERVE_MANAGER = Tool("kserve-manager", "kserve", KSERVE, f"{KSERVE}/cmd/manager")
ISTIOD = _istio("pilot-discovery")
ISTIO_AGENT = _istio("pilot-agent")
PAUSE = Tool("pause", "pause", "", ".")

# In the order in which they are needed: a test of an API server waits for the first two only.
API_SERVER_TOOLS = (ETCD, APISERVER)
CONTROL_PLANE_TOOLS = (*API_SERVER_TOOLS, CONTROLLER_MANAGER, SCHEDULER)
NODE_TOOLS = (*CONTROL_PLANE_TOOLS, KUBELET, PROXY, PAUSE, COREDNS)
ALL_TOOLS = (*NODE_TOOLS, KSERVE_MANAGER, ISTIOD, ISTIO_AGENT)


def cache_folder() -> Path:
    """The folder outside the repository where binaries, charts and images are kept between runs."""
    set_here = os.environ.get("RECSYS_CLUSTER_CACHE")
    return Path(set_here) if set_here else Path.home() / ".cache" / "recsys-assets-cluster"


def pinned_version(folder: str, module: str) -> str:
    """The version of `module` that `go/<folder>/go.mod` requires."""
    text = (GO_MODULES / folder / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require\s+|\s+){re.escape(module)}\s+(v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"go/{folder}/go.mod does not require {module}")
    return found.group(1)
