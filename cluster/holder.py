"""Holds a cluster up until its standard input ends, then leaves the host as it was.

Here: the process between a test run and the namespaces; it cleans even when that is killed. Not here: the node.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster import host
from cluster.control_plane import READY_SECONDS
from cluster.errors import ClusterError, NotReadyError
from cluster.layout import Layout
from cluster.processes import poll

BRING_UP_SECONDS = 3 * READY_SECONDS


def hold(at: Layout, archives: list[Path]) -> None:
    """Bring the cluster up, say so in one line, wait for the end of the input, take everything down."""
    with ExitStack() as undo:
        undo.callback(_remove_data, at)
        undo.enter_context(host.kept_parameters())
        undo.enter_context(host.control_groups(at))
        inside = undo.enter_context(_namespaces(at, archives))
        poll("a network namespace of its own", lambda: _has_own_network(inside.pid), READY_SECONDS, 0.02)
        undo.enter_context(host.link(at, inside.pid))
        poll("the cluster being ready", lambda: at.ready.exists() or _ended(inside), BRING_UP_SECONDS)
        if not at.ready.exists():
            reason = at.failed.read_text(encoding="utf-8") if at.failed.exists() else "it ended without a reason"
            raise NotReadyError(f"the cluster did not come up: {reason}")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


@contextmanager
def _namespaces(at: Layout, archives: list[Path]) -> Iterator[subprocess.Popen[bytes]]:
    at.logs.mkdir(parents=True, exist_ok=True)
    flags = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    inner = [sys.executable, "-m", "cluster.node", str(at.state), str(at.number), *map(str, archives)]
    with (at.logs / "node.log").open("ab") as log:
        started = subprocess.Popen(["unshare", *flags, *inner], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield started
    finally:
        _kill_first_process(started.pid)
        started.wait()


def _kill_first_process(parent: int) -> None:
    """Kill the first process of the namespaces: its parent can only collect it once the kernel has ended all others."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    inside = children.read_text(encoding="ascii").split() if children.exists() else []
    for process in inside or [str(parent)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


def _has_own_network(process: int) -> bool:
    return Path(f"/proc/{process}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _remove_data(at: Layout) -> None:
    for name in ("containerd", "containerd-state", "kubelet", "etcd", "var-upper", "var-work"):
        shutil.rmtree(at.state / name, ignore_errors=True)


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """`python -m cluster.holder STATE NUMBER [ARCHIVE ...]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("archives", type=Path, nargs="*")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run, which then closes the input
    try:
        hold(Layout(asked.state, asked.number), asked.archives)
    except ClusterError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
