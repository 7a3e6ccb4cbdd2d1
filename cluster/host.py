"""What a cluster needs from the host and gives back: a link, kernel parameters, control groups.

Here: the host's side, each thing with its undoing. Not here: what runs inside the namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from cluster.errors import ClusterError, MissingError
from cluster.layout import Layout
from cluster.processes import poll, run
from cluster.versions import cache_folder

CGROUPS = Path("/sys/fs/cgroup")
PARAMETERS = Path("/proc/sys")
# kubelet sets these for the whole machine, whatever namespaces it runs in.
CHANGED_BY_KUBELET = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip
COMMANDS = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "iptables": "iptables", "conntrack": "conntrack",
    "ip": "iproute2", "mount": "mount", "unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux",
    "busybox": "busybox-static", "ldd": "libc-bin",
}  # fmt: skip
# What building the product's image takes (see image/), which the node itself does not need.
IMAGE_COMMANDS = {"buildah": "buildah", "debootstrap": "debootstrap"}
PLUGINS = Path("/usr/lib/cni")
NUMBERS = 60
CGROUP_EMPTY_SECONDS = 30.0


def check_prerequisites(commands: Mapping[str, str] = COMMANDS) -> None:
    """Root, Debian's packages and control groups of version 1: one sentence for the first that is missing."""
    if os.geteuid() != 0:
        raise MissingError("the cluster needs root: it makes namespaces, mounts and control groups")
    for command, package in commands.items():
        if shutil.which(command) is None:
            raise MissingError(f"`{command}` is missing: apt-get install {package}")
    if not (PLUGINS / "ptp").exists():
        raise MissingError(f"{PLUGINS}/ptp is missing: apt-get install containernetworking-plugins")
    if not (CGROUPS / "memory").is_dir():
        raise MissingError(f"{CGROUPS}/memory is missing: the cluster here is set up for control groups of version 1")


def reserve_number() -> tuple[int, IO[str]]:
    """A number that no other cluster has, and the open lock that keeps it: whoever holds the file holds the number."""
    taken = {int(found) for found in re.findall(r"\brecsys(\d+)[:@]", run(["ip", "-o", "link"]))}
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for number in range(NUMBERS):
        lock = (locks / f"cluster-{number}").open("w")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if number not in taken:
                return number, lock
        lock.close()
    raise ClusterError(f"{NUMBERS} clusters run on this machine already")


@contextmanager
def kept_parameters() -> Iterator[None]:
    """Put the kernel parameters back that kubelet changes."""
    before = {name: (PARAMETERS / name).read_text(encoding="ascii") for name in CHANGED_BY_KUBELET}
    try:
        yield
    finally:
        for name, value in before.items():
            if (PARAMETERS / name).read_text(encoding="ascii") != value:
                (PARAMETERS / name).write_text(value, encoding="ascii")


@contextmanager
def control_groups(at: Layout) -> Iterator[None]:
    """A group per hierarchy for the pods of this cluster; removed with all groups below it."""
    roots = [
        folder / at.cgroup.lstrip("/")
        for folder in CGROUPS.iterdir()
        if not folder.is_symlink() and (folder / "cgroup.procs").exists()
    ]
    for root in roots:
        root.mkdir(exist_ok=True)  # left by a holder that was killed: the number is ours now
    try:
        yield
    finally:
        for root in roots:
            poll(f"no process being left in {root}", partial(_removed, root), CGROUP_EMPTY_SECONDS)


def _removed(root: Path) -> bool:
    if not root.is_dir():
        return True
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):  # a process that was killed may still be leaving
            folder.rmdir()
    with contextlib.suppress(OSError):
        root.rmdir()
    return not root.is_dir()


@contextmanager
def link(at: Layout, process: int) -> Iterator[None]:
    """A link into the network of `process`, and routes to pods and services; they go with the link."""
    run(["ip", "link", "add", at.link, "type", "veth", "peer", "name", "eth0", "netns", str(process)])
    try:
        run(["ip", "address", "add", f"{at.host_address}/24", "dev", at.link])
        run(["ip", "link", "set", at.link, "up"])
        for network in (at.pods, at.services):
            run(["ip", "route", "add", network, "via", at.node_address])
        yield
    finally:
        # It may be gone already: the kernel removes a link when the network at its other end goes away.
        with contextlib.suppress(ClusterError):
            run(["ip", "link", "delete", at.link])
