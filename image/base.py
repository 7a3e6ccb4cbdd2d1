"""A base image of Debian's own packages, for where the public base image cannot be had.

Here: debootstrap, and its folder as an image. Not here: anything of ours.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from image.storage import ImageError, buildah, cache, call

NAME: Final = "localhost/recsys-base:bookworm"
SUITE: Final = "bookworm"
# debootstrap resolves no virtual packages: python3-distutils is what python3.11-venv means by python3.11-distutils.
PACKAGES: Final = ("ca-certificates", "libgomp1", "python3.11", "python3.11-venv", "python3-distutils")
# What a container never reads: package lists, manuals, translations.
_LEFT_OUT: Final = (
    "debootstrap",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def base() -> str:
    """The name of the base image, made where it is not there yet."""
    if not present(NAME):
        archive = cache() / "images" / f"base-{SUITE}.tar"
        if not archive.exists():
            _bootstrap(archive)
        container = buildah("from", "--isolation", "chroot", "scratch")
        buildah("add", container, str(archive), "/")
        buildah("config", "--cmd", "/bin/sh", container)
        buildah("commit", "--rm", container, NAME)
    return NAME


def present(name: str) -> bool:
    """Whether buildah has an image of this name."""
    try:
        buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
    except ImageError:
        return False
    return True


def _bootstrap(archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="recsys-base-", dir=archive.parent))
    try:
        root.chmod(0o755)
        call(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)])
        for left_out in _LEFT_OUT:
            shutil.rmtree(root / left_out, ignore_errors=True)
            if left_out.startswith("var/"):
                (root / left_out).mkdir(parents=True)
        aside = archive.with_suffix(".writing")
        call(["tar", "--create", "--file", str(aside), "--directory", str(root), "."])
        aside.rename(archive)
    finally:
        shutil.rmtree(root)
