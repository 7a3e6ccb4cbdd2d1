"""The wheels of a lock in a folder outside the repository, so that an image builds without a network.

Here: which entries of the lock the base image needs, and pip's download of them. Not here: any address: pip asks the
index that it is configured with, and takes only what has the lock's hashes.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement

# Some entries are for old or new patch releases alone: the base's Python need not be the one that runs this.
_PATCH_RELEASES = ("3.11.0", "3.11.99")


def wheels(locks: Sequence[Path], cache: Path) -> Path:
    """The folder with the wheels of these locks, filled where it is not yet."""
    digest = hashlib.sha256(b"\0".join(lock.read_bytes() for lock in locks)).hexdigest()
    folder = cache / digest[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=cache, prefix=".downloading-"))
        _download("".join(entry for lock in locks for entry in needed(lock.read_text(encoding="utf-8"))), aside)
        aside.rename(folder)
    return folder


def needed(lock: str) -> Iterator[str]:
    """The entries that Python 3.11 needs on this machine, without their markers."""
    for entry in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        requirement, *hashes = entry.split(" \\\n")
        if not hashes:
            continue  # what stands before the first one
        marker = Requirement(requirement.strip()).marker
        if marker is None or any(_holds(marker, release) for release in _PATCH_RELEASES):
            yield " \\\n".join([requirement.split(";")[0].rstrip(), *hashes])


def _holds(marker: object, release: str) -> bool:
    held: bool = marker.evaluate({"python_full_version": release})  # type: ignore[attr-defined]
    return held


def _download(entries: str, folder: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as lock:
        lock.write(entries)
        lock.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--require-hashes", "-r", lock.name, "-d", str(folder)], check=True)
