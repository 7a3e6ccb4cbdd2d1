"""Buildah on this machine: its storage in the cache folder, and no network for what it runs.

Here: how it is called. Not here: what is built (build.py), or what is run (run.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

RUN_ROOT: Final = Path("/run/recsys-containers")


class ImageError(RuntimeError):
    """A tool said no; the message is what it said last."""


def cache() -> Path:
    """Everything that is kept from build to build, outside the repository."""
    named = os.environ.get("RECSYS_CLUSTER_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "recsys-assets-cluster"


def buildah(*words: str, show: bool = False) -> str:
    """Run it in a network namespace of its own: it would make a bridge and firewall rules on the host."""
    places = ["--root", str(cache() / "containers" / "storage"), "--runroot", str(RUN_ROOT)]
    return call(["unshare", "--net", "buildah", *places, *words], show=show)


def call(command: Sequence[str], *, show: bool = False) -> str:
    """Run a tool; its output, which `show` lets through to the terminal instead."""
    done = subprocess.run(command, capture_output=not show, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{' '.join(command)}: {(done.stderr or 'see above').strip()[-2_000:]}")
    return "" if show else done.stdout.strip()
