"""Builds the binaries of the cluster from their Go modules, once, into the cache.

Here: finding Go, `go build` with pinned flags, the time each build took. Not here: which tools there are.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import BuildFailedError, MissingError
from cluster.versions import ALL_TOOLS, GO_MODULES, Tool, cache_folder

GO_NEEDED = (1, 26)
GO_USUAL_PLACE = "/usr/local/go/bin/go"


def find_go() -> str:
    """The Go command, which must be new enough: nothing here downloads another toolchain."""
    go = shutil.which("go") or shutil.which(GO_USUAL_PLACE)
    if go is None:
        raise MissingError(
            "Go 1.26 or newer is needed to build the cluster's binaries: install it and put `go` on the PATH"
        )
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=True, env=go_environment()).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GO_NEEDED:
        raise MissingError(f"Go 1.26 or newer is needed to build the cluster's binaries: {go} is {said.strip()}")
    return go


def is_built(tool: Tool) -> bool:
    """Whether the cached binary was built from exactly what is pinned now."""
    record = build_record(tool)
    return tool.path.is_file() and record.get("digest") == tool.digest


def build_record(tool: Tool) -> dict[str, str | float | int]:
    """What was written beside the binary: times, size, the digest of what was pinned; empty where nothing was built."""
    path = _record_path(tool)
    if not path.is_file():
        return {}
    loaded: dict[str, str | float | int] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def ensure_built(tools: Sequence[Tool]) -> None:
    """Build what is missing, one tool after the other; a second process that asks for the same waits for the first."""
    for tool in tools:
        if is_built(tool):
            continue
        with _alone(tool):
            if not is_built(tool):
                _build(find_go(), tool)


def _build(go: str, tool: Tool) -> None:
    sys.stdout.write(f"building {tool.name} {tool.version} (minutes, once) ...\n")
    sys.stdout.flush()
    tool.path.parent.mkdir(parents=True, exist_ok=True)
    partial = tool.path.with_name(f".{tool.path.name}.partial")
    command = [go, "build", "-trimpath", "-ldflags", tool.linker_flags, "-o", str(partial), tool.package]
    started, cpu = time.monotonic(), _children_cpu_seconds()
    done = subprocess.run(
        command, cwd=GO_MODULES / tool.folder, env=go_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildFailedError(f"go build of {tool.name} {tool.version} failed:\n{done.stderr[-3000:]}")
    record = {
        "tool": tool.name,
        "version": tool.version,
        "digest": tool.digest,
        "wall_seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(_children_cpu_seconds() - cpu, 1),
        "bytes": partial.stat().st_size,
    }
    partial.replace(tool.path)
    _record_path(tool).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"built {tool.name}: {record['wall_seconds']} s, {record['cpu_seconds']} s of CPU\n")


def go_environment() -> dict[str, str]:
    """What every Go command here runs with."""
    # CGO is off so that a binary runs in an image that has no C library; the toolchain is the one that is installed.
    return os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _record_path(tool: Tool) -> Path:
    return tool.path.with_name(f"{tool.path.name}.json")


@contextmanager
def _alone(tool: Tool) -> Iterator[None]:
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / tool.name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """`python -m cluster.build [tool ...]`: build what is missing; without names, everything."""
    by_name = {tool.name: tool for tool in ALL_TOOLS}
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("tools", nargs="*", choices=[*by_name, []], metavar="tool")
    names = parser.parse_args().tools or list(by_name)
    ensure_built([by_name[name] for name in names])


if __name__ == "__main__":
    main()
