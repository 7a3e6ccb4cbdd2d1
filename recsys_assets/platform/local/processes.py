"""Processes that a supervisor of ours started and that outlived it.

Here: finding them by the mark that supervisor puts into each child's environment, and ending them. Not here: starting.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

MARK: Final = "SUPERVISOR_SERVER_URL"
NAME: Final = "SUPERVISOR_PROCESS_NAME"
_POLL_SECONDS = 0.05


def marked(socket: Path, *, wanted: Callable[[str], bool] = lambda _: True) -> set[int]:
    """Living processes below the supervisor with this socket, by the program they belong to; never us or our parents.

    Only Linux tells one process about another's environment; elsewhere the answer is empty.
    """
    return {pid for pid, name in named(socket).items() if wanted(name)}


def named(socket: Path) -> dict[int, str]:
    """The same processes with the name of the program that each belongs to."""
    mine = _ancestors(os.getpid())
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    found = {pid: name for pid in pids if pid not in mine and (name := name_of(pid, socket)) is not None}
    return {pid: name for pid, name in found.items() if is_alive(pid)}


def name_of(pid: int, socket: Path) -> str | None:
    """The program below the supervisor with this socket that a living process belongs to; None for any other."""
    variables = _environment(Path(f"/proc/{pid}"))
    return variables.get(NAME, "") if variables.get(MARK) == f"unix://{socket}" and is_alive(pid) else None


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to take note does not."""
    stat = _stat(pid)
    if stat is not None:
        return stat[0] not in {"Z", "X"}
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def parent(pid: int) -> int | None:
    """The parent of a process; None where it has ended."""
    stat = _stat(pid)
    return None if stat is None else int(stat[1])


def end(pids: Collection[int], *, patience_seconds: float = 5.0) -> None:
    """Ask them to end, then make them."""
    for number, patience in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        for pid in [p for p in pids if is_alive(p)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if wait_until(lambda: not any(is_alive(p) for p in pids), seconds=patience):
            return


def wait_until(holds: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _environment(entry: Path) -> dict[str, str]:
    try:
        raw = (entry / "environ").read_bytes()
    except OSError:
        # It ended meanwhile, or it is somebody else's: not one of ours either way.
        return {}
    pairs = (os.fsdecode(part).partition("=") for part in raw.split(b"\0") if b"=" in part)
    return {key: value for key, _, value in pairs}


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = parent(pid) or 0
    return found


def _stat(pid: int) -> list[str] | None:
    """State and parent. The name before them may hold blanks and brackets, so they are counted from the last one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
