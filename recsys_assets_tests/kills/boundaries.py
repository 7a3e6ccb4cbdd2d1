"""Every place where a process writes state, and stopping a process exactly before or after the n-th of them.

Here: the list of writes, recording them, SIGKILL or SIGSTOP at one. Not here: which runs are made (runs.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.ledger import Ledger
from recsys_assets.serving.appendlog import AppendLog

How = Literal["before", "after", "torn", "stop"]
WRITES: tuple[tuple[type, str], ...] = (
    (ManifestStore, "apply"),
    (ManifestStore, "delete"),
    (ManifestStore, "set_status"),
    (ManifestStore, "take_port"),
    (ManifestStore, "drop_instance"),
    (Ledger, "append"),
    (ModelRegistryResource, "set_alias"),
    (ModelRegistryResource, "drop_alias"),
    (AppendLog, "append"),
    (AppendLog, "sync"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "write_text"),
)
# Of these, half may stand in the file when the process dies.
TEARABLE = {"AppendLog.append", "Path.write_text"}


@dataclass(frozen=True)
class Stop:
    """Where a process is stopped: at its `number`-th write, from 1, and how."""

    number: int
    how: How


@dataclass
class Writes:
    """The writes of one process so far; with a `stop`, the last thing that it ever does."""

    home: Path
    stop: Stop | None = None
    names: list[str] = field(default_factory=list)

    def around(self, name: str, write: Callable[..., Any], *given: Any, **more: Any) -> Any:
        self.names.append(name)
        here = self.stop if self.stop and self.stop.number == len(self.names) else None
        if here and here.how == "torn" and name in TEARABLE:
            _tear(given)
        if here and here.how in {"before", "torn"}:
            os.kill(os.getpid(), signal.SIGKILL)
        if here and here.how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        result = write(*given, **more)
        if here and here.how == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def _tear(given: tuple[Any, ...]) -> None:
    """Half of what was to be written, as a kill in the middle of a large write leaves it."""
    target, content = given[0], given[1]
    data = content.encode() if isinstance(content, str) else content
    appended = isinstance(target, AppendLog)
    with Path(target.path if appended else target).open("ab" if appended else "wb") as file:
        file.write(data[: len(data) // 2])


@contextmanager
def watched(home: Path, stop: Stop | None = None) -> Iterator[Writes]:
    """Every write of this process below `home` goes through `Writes.around` while the block runs."""
    writes = Writes(home, stop)
    before = [(owner, name, getattr(owner, name)) for owner, name in WRITES]
    for owner, name, write in before:
        setattr(owner, name, _wrapped(writes, f"{owner.__name__}.{name}", write))
    try:
        yield writes
    finally:
        for owner, name, write in before:
            setattr(owner, name, write)


def _wrapped(writes: Writes, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *given: Any, **more: Any) -> Any:
        if isinstance(self, Path) and not (self.is_relative_to(writes.home) and self.parent != writes.home):
            return write(self, *given, **more)
        return writes.around(name, write, self, *given, **more)

    return call
