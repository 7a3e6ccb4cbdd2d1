"""Stopping a cluster leaves the machine as it was, also when the test run that holds it is killed.

Here: processes, mounts, links, routes, packet rules, control groups and kernel parameters before and after.
Not here: what a cluster can do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.processes import poll, run

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
SECONDS = 600.0


def kernel_parameters() -> dict[str, str]:
    """Every parameter that says how the machine behaves; counters and random values are left out."""
    moving = (
        "random/",
        "/entropy_avail",
        "nr_open",
        "-nr",
        "-state",
        "/pty/nr",
        "ns_last_pid",
        "sched_domain",
        "hostname",
    )
    found = {}
    for path in Path("/proc/sys").rglob("*"):
        if path.is_file() and not any(part in str(path) for part in moving) and os.access(path, os.W_OK):
            try:
                found[str(path)] = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # some can only be written
    return found


def traces(state: Path) -> dict[str, object]:
    """What a cluster could leave on a machine where nothing else begins or ends meanwhile."""
    links = run(["ip", "-o", "link"])
    return {
        "links": sorted(line.split(":")[1].strip() for line in links.splitlines()),
        "routes": run(["ip", "route", "show", "table", "all"]),
        "mounts": sorted(line for line in Path("/proc/mounts").read_text().splitlines() if "/proc/" not in line),
        "iptables": _rules("iptables-save"),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/recsys-cluster-*")),
        "parameters": kernel_parameters(),
        "processes": processes_about(state),
    }


def _rules(command: str) -> list[str]:
    if shutil.which(command) is None:
        return []
    return [line for line in run([command]).splitlines() if line and not line.startswith("#")]


def processes_about(state: Path) -> list[str]:
    """Commands of processes that name the state folder, or that live in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(state) in command and process.name != str(os.getpid()):
            found.append(command)
    return found


def test_after_stopping_the_machine_is_as_before(tmp_path: Path) -> None:
    state = tmp_path / "c"
    before = traces(state)
    with Cluster(state) as cluster:
        during = traces(state)
        assert cluster.layout.link in str(during["links"])
        assert during["cgroups"]
        assert during["processes"]
    after = traces(state)
    for kind, found in before.items():
        assert after[kind] == found, kind
    assert not (state / "containerd").exists()


def test_a_test_run_that_is_killed_takes_its_cluster_along(tmp_path: Path) -> None:
    state = tmp_path / "c"
    before = traces(state)
    script = f"""
import sys
from pathlib import Path
from cluster.cluster import Cluster
with Cluster(Path({str(state)!r})):
    print("up", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        assert processes_about(state)
        holder.send_signal(signal.SIGKILL)
    poll("the killed run's cluster going away", lambda: traces(state) == before, SECONDS)
