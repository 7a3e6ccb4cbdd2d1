"""Build the image from the Dockerfile and leave it as an archive: `python -m image.build`, or `make image`.

Here: the order of the steps and where the archive goes. Not here: what is in the image, that is the Dockerfile's.
Needs root and buildah, and debootstrap where no other base image is named.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Final

from image.base import base
from image.storage import ImageError, buildah, cache, call
from image.wheels import wheels

TOP: Final = Path(__file__).parent.parent
LOCKS: Final = ("bootstrap.lock", "runtime.lock")
# What can change how a container behaves; the page that people read cannot.
SOURCES: Final = (
    "Dockerfile",
    "pyproject.toml",
    "dagster.yaml",
    "requirements/*.lock",
    "image/inside/*",
    "recsys_assets/**/*",
)
TARGETS: Final = {"all": "recsys-assets", "server": "recsys-assets-server"}


def version() -> str:
    """The project's version, which is the image's tag."""
    read: str = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return read


def image_name(target: str = "all") -> str:
    """The name under which a cluster knows the image."""
    return f"{TARGETS[target]}:{version()}"


def archive(target: str = "all") -> Path:
    """Where the image stands as a file that containerd imports."""
    return cache() / "images" / f"{TARGETS[target]}-{version()}.tar"


def sources() -> str:
    """One digest of everything that the image is built from, but for the base."""
    found = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in TOP.glob(pattern)}):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(TOP)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def is_current(target: str = "all") -> bool:
    """Whether the archive that stands was made from the sources as they are now."""
    said = _record(target)
    return archive(target).is_file() and said.is_file() and said.read_text(encoding="ascii") == sources()


def _record(target: str) -> Path:
    return archive(target).with_suffix(".sources")


def build(target: str = "all", *, base_image: str | None = None) -> str:
    """Build one target in buildah's storage; returns its full name there."""
    named = base_image or base()
    folder = wheels([TOP / "requirements" / lock for lock in LOCKS], cache() / "wheels")
    name = f"localhost/{image_name(target)}"
    words = ["build", "--pull-never", "--isolation", "chroot", "--layers", "--force-rm", "--format", "oci", "--quiet"]
    words += ["--build-arg", f"BASE_IMAGE={named}", "--build-arg", f"VERSION={version()}"]
    words += ["--build-arg", f"REVISION={_revision()}", "--volume", f"{folder}:/wheels:ro"]
    buildah(*words, "--target", target, "--tag", name, str(TOP))
    return name


def export(target: str = "all") -> Path:
    """Write the built image aside, then in place of the one before. Its name in there is the short one."""
    path = archive(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".writing")
    aside.unlink(missing_ok=True)
    buildah(
        "push",
        "--quiet",
        f"localhost/{image_name(target)}",
        f"docker-archive:{aside}:docker.io/library/{image_name(target)}",
    )
    return aside.replace(path)


def _revision() -> str:
    try:
        return call(["git", "-C", str(TOP), "rev-parse", "HEAD"])
    except ImageError:
        return "unknown"


def main() -> int:
    """Build and export; says how long each took, or what a tool said."""
    parser = argparse.ArgumentParser("image.build", description=__doc__)
    parser.add_argument("targets", nargs="*", default=["all"], choices=[*TARGETS], help="default: all")
    parser.add_argument("--base-image", help="an image that buildah has; default: one of Debian's packages, made here")
    given = parser.parse_args()
    if lacking := [tool for tool in ("buildah", "debootstrap", "unshare", "tar") if shutil.which(tool) is None]:
        sys.stderr.write(f"image: not found: {', '.join(lacking)} (packages of Debian)\n")
        return 1
    try:
        for target in given.targets:
            if is_current(target) and given.base_image is None:
                sys.stdout.write(f"{image_name(target)}: as its sources: {archive(target)}\n")
                continue
            started, made_of = time.monotonic(), sources()
            name = build(target, base_image=given.base_image)
            built = time.monotonic()
            path = export(target)
            _record(target).write_text(made_of, encoding="ascii")
            took = f"built in {built - started:.0f} s, exported in {time.monotonic() - built:.0f} s"
            sys.stdout.write(f"{name}: {took}: {path} ({path.stat().st_size / 1e6:.0f} MB)\n")
    except ImageError as failed:
        sys.stderr.write(f"image: {failed}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
