"""The switch of the drills: a small file that turns a fault on and off in a server that runs.

Here: writing, reading, looking again. Not here: what a fault does (faults.py). A server without `--drills` never looks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from recsys_assets.serving.faults import FAULTS, Drill

LOOK_SECONDS: Final = 0.2
log = logging.getLogger("recsys_assets.drills")


class BadSwitch(ValueError):  # noqa: N818
    """The file does not say a drill; the message says why."""


class Switch:
    """What the file says now, looked at no more than each LOOK_SECONDS. No file, or a broken one, is no drill."""

    def __init__(self, path: Path, *, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        """`clock` is monotonic; `wall` is Unix time, for `until`."""
        self._path, self._clock, self._wall = path, clock, wall
        self._look_at, self._seen = 0.0, (0, 0)
        self._drill: Drill | None = None
        self._until: float | None = None

    def __call__(self) -> Drill | None:
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_SECONDS
            self._look()
        if self._until is not None and self._wall() >= self._until:
            return None
        return self._drill

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen != self._seen:
                self._seen, self._drill = seen, None
                self._drill, self._until = read_switch(self._path.read_bytes())
                log.warning("drill switched on by %s: %s", self._path, self._drill)
        except FileNotFoundError:
            self._drill, self._seen = None, (0, 0)
        except (BadSwitch, OSError) as broken:
            self._drill = None
            log.error("%s: no drill: %s", self._path, broken)


def switch_path(home: Path, service: str) -> Path:
    """Where the server of this service looks."""
    return home / "drills" / f"{service}.json"


def read_switch(text: bytes) -> tuple[Drill, float | None]:
    """The drill and its end; raises BadSwitch."""
    try:
        said = json.loads(text)
    except ValueError as broken:
        raise BadSwitch(f"not JSON: {broken}") from None
    if not isinstance(said, dict) or (unknown := said.keys() - {"fault", "share", "seconds", "until"}):
        raise BadSwitch(f"unknown: {sorted(unknown)}" if isinstance(said, dict) else "not an object")
    fault = next((fault for fault in FAULTS if fault == said.get("fault")), None)
    if fault is None:
        raise BadSwitch(f"fault must be one of {', '.join(FAULTS)}")
    share, seconds = _number(said, "share", 1.0), _number(said, "seconds", 60.0)
    return Drill.of(fault, share, seconds), _number(said, "until", float("inf"))


def _number(said: dict[str, Any], name: str, highest: float) -> float | None:
    value = said.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise BadSwitch(f"{name} must lie between 0 and {highest:g}")
    return float(value)
