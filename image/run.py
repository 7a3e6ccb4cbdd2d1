"""One container of a built image, as a node runs it: by runc, as user 10001, on a root that cannot be written.

Here: a folder mounted by buildah, and runc's configuration of it. Not here: a cluster. The container has the host's
network, so that a test finds its ports, and nothing else of the host but the folders it is given.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from image.storage import ImageError, buildah, call

USER: Final = 10_001
_RUNC: Final = ("runc", "--root", "/run/recsys-runc")


class Rootfs:
    """The files of an image, mounted; `start` runs a command on them."""

    def __init__(self, folder: Path, environment: Sequence[str]) -> None:
        self.folder, self._environment = folder, list(environment)

    @contextmanager
    def start(
        self,
        command: Sequence[str],
        *,
        folders: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[str]]:
        """The process of the container, whose output is piped; it is gone when the block ends.

        `folders` of the host, which user 10001 may write where the host lets it, stand at their paths inside.
        """
        name = f"recsys-{uuid.uuid4().hex[:12]}"
        bundle = Path(tempfile.mkdtemp(prefix="recsys-runc-"))
        variables = [*self._environment, *(f"{key}={value}" for key, value in (environment or {}).items())]
        config = _config(self.folder, command, variables, folders or {})
        (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")
        words = [*_RUNC, "run", "--bundle", str(bundle), name]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            with suppress(ImageError):  # it has ended by itself
                call([*_RUNC, "delete", "--force", name])
            process.communicate()
            shutil.rmtree(bundle)

    def run(self, command: Sequence[str], *, seconds: float, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with self.start(command, **more) as process:
            out, err = process.communicate(timeout=seconds)
            return subprocess.CompletedProcess(list(command), process.returncode, out, err)


@contextmanager
def mounted(image: str) -> Iterator[Rootfs]:
    """The image's files for as long as the block lasts."""
    container = buildah("from", "--pull-never", image)
    try:
        config = json.loads(buildah("inspect", "--type", "container", container))["OCIv1"]["config"]
        yield Rootfs(Path(buildah("mount", container)), config["Env"])
    finally:
        buildah("umount", container)
        buildah("rm", container)


def _config(
    root: Path, command: Sequence[str], environment: Sequence[str], folders: Mapping[Path, str]
) -> dict[str, Any]:
    bound = [
        {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", "rw"]}
        for outside, inside in folders.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": list(command),
            "env": list(environment),
            "cwd": "/tmp",  # noqa: S108 - the container's own
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},  # noqa: S108
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},  # noqa: S108
            *bound,
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }
