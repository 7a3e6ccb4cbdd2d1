"""How large the image is, what a node pulls of it, how long a build takes, and a model server from start to ready.

Here: `python -m benchmarks.image` as root, with buildah and runc: both targets of the Dockerfile. Not here: a cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks import harness
from image.build import TARGETS, build
from image.run import USER, Rootfs, mounted
from image.storage import buildah
from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.serving.processes import free_port

REPEATS = 5
DEADLINE_SECONDS = 300.0
HOME = "/var/lib/recsys"


def sizes(name: str) -> dict[str, float | int]:
    """Bytes on a disk, and the gzipped layers that a node pulls."""
    with tempfile.TemporaryDirectory(prefix="recsys-oci-") as folder:
        buildah("push", "--quiet", name, f"oci:{folder}:image")
        blobs = Path(folder) / "blobs" / "sha256"
        index = json.loads((Path(folder) / "index.json").read_text())
        manifest = json.loads((blobs / index["manifests"][0]["digest"].split(":")[1]).read_text())
        layers = [int(layer["size"]) for layer in manifest["layers"]]
    size = int(json.loads(buildah("images", "--json", name))[0].get("size_bytes", 0)) or _unpacked(name)
    return {
        "unpacked_mb": round(size / 1e6, 1),
        "pulled_mb": round(sum(layers) / 1e6, 1),
        "layers_count": len(layers),
        # What a node pulls anew when only our own code changed: the last layer.
        "pulled_for_code_mb": round(layers[-1] / 1e6, 2),
    }


def _unpacked(name: str) -> int:
    with mounted(name) as files:
        paths = [path for path in files.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return sum(path.stat().st_size for path in paths)


def ready_seconds(image: Rootfs, home: Path) -> tuple[float, float]:
    """From `runc run` to the first answer of a model server on a mounted bundle; and of a processor's time."""
    port = free_port()
    command = ["python", "-m", "recsys_assets.serving.server", "--bundle", f"{HOME}/bundles/3"]
    command += ["--home", HOME, "--port", str(port)]
    started = time.monotonic()
    with (
        image.start(command, folders={home: HOME}) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client,
    ):
        while not _is_ready(client):
            if process.poll() is not None or time.monotonic() - started > DEADLINE_SECONDS:
                raise SystemExit(f"the server did not get ready: {process.communicate()}")
            time.sleep(0.02)
        took = time.monotonic() - started
        spent = [child.cpu_times() for child in psutil.Process(process.pid).children(recursive=True)]
        return took, sum(times.user + times.system for times in spent)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def measure(target: str, home: Path) -> dict[str, float | int]:
    """Every figure of one target."""
    name = build(target)
    again = []
    for _ in range(REPEATS):
        started = time.monotonic()
        build(target)
        again.append(time.monotonic() - started)
    with mounted(name) as image:
        ready_seconds(image, home)  # the first start reads the files from the disk
        starts = [ready_seconds(image, home) for _ in range(REPEATS)]
    figures = {
        "build_unchanged": again,
        "server_ready": [took for took, _ in starts],
        # What stays the same when the machine is busy with something else.
        "server_ready_processor": [spent for _, spent in starts],
    }
    told = {
        k: v for key, values in figures.items() for k, v in harness.Interval.of(values).figures(key, "s", 2).items()
    }
    return {**sizes(name), **told}


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="recsys-home-"))
    try:
        signed_bundle(home / "bundles" / "3", home / "keys")
        for path in [home, *home.rglob("*")]:
            os.chown(path, USER, USER)
        found = {target: measure(target, home) for target in TARGETS}
    finally:
        shutil.rmtree(home)
    # Other work on the machine at the time makes every time here longer.
    figures = {"load_average": round(os.getloadavg()[1], 1), **found["all"]}
    harness.write("image", command="python -m benchmarks.image", figures=figures, peers={"server": found["server"]})


if __name__ == "__main__":
    main()
