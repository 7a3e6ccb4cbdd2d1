"""Programs that outlived a killed supervisor: those that answer users are adopted, the others make room.

Here: who is adopted, and the list of them. Not here: starting a supervisor (`stack.py`), noticing that one is gone
(`keeper.py`). Supervisor cannot take over a process that it did not start; so an adopted one is only known and ended.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from recsys_assets.platform.local import processes
from recsys_assets.platform.local.programs import COLLECTOR, DAEMON, ENVOY, MODEL_PREFIX, WEBSERVER

FILE: Final = "adopted.json"
# Below these there are processes of Dagster's own: a run goes on to its end, a code server ends without its heartbeat.
_WITH_RUNS: Final = frozenset({DAEMON, WEBSERVER})


def answers_users(name: str) -> bool:
    """Ending one of these would lose requests; all others only decide, and are better started anew."""
    return name in {ENVOY, COLLECTOR} or name.startswith(MODEL_PREFIX)


def adopt(folder: Path, socket: Path, *, unchanged: Callable[[str], bool], spared: Collection[str] = ()) -> bool:
    """Note what serves on, as long as it is what would be started now; end the rest, but not us. Whether any lived.

    The `spared` are neither noted nor ended yet.
    """
    living = processes.named(socket)
    kept = {name: pid for pid, name in living.items() if answers_users(name) and unchanged(name) and _leads(pid)}
    others = {pid: name for pid, name in living.items() if name not in kept and name not in spared}
    processes.end({pid for pid, name in others.items() if _leads(pid) or name not in _WITH_RUNS})
    _note(folder, kept)
    return bool(living)


def adopted(folder: Path, socket: Path) -> dict[str, int]:
    """The adopted programs that still live. A number that went to another process does not count."""
    return {name: pid for name, pid in _noted(folder).items() if processes.name_of(pid, socket) == name}


def ended(folder: Path, socket: Path) -> list[str]:
    """Programs that were adopted and live no more, so that supervisor must start them."""
    return sorted(_noted(folder).keys() - adopted(folder, socket).keys())


def forget(folder: Path, names: Collection[str]) -> None:
    """These are supervisor's own again."""
    _note(folder, {name: pid for name, pid in _noted(folder).items() if name not in names})


def end_all(names: Collection[str], socket: Path, *, but_children_of: int | None) -> None:
    """End the programs of these names that a supervisor before this one had started, but not us."""
    found = {pid for pid, name in processes.named(socket).items() if name in names and _leads(pid)}
    processes.end({pid for pid in found if processes.parent(pid) not in {None, but_children_of}})


def end(pid: int, *, wait: bool) -> None:
    """End an adopted program with its children, as supervisor would."""
    if wait:
        processes.end({pid})
        return
    try:
        os.killpg(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _noted(folder: Path) -> dict[str, int]:
    try:
        noted: dict[str, int] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return noted


def _note(folder: Path, kept: Mapping[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{FILE}.{os.getpid()}"
    aside.write_text(json.dumps(kept, sort_keys=True), encoding="utf-8")
    aside.replace(folder / FILE)


def _leads(pid: int) -> bool:
    """Supervisor makes each program the leader of a group; what a program starts by itself is none."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
