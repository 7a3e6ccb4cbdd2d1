"""Stalls: a process that stood still says so, once it runs again, in a log of its own and in a file.

Here: noticing that a beat came late, one JSON line for each stall, and reading them back. Not here: what is concluded
from one (rollout/episodes.py). A stall that nobody wrote is no proof that there was none: a killed process writes
nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

# A beat this late is no busy moment: visitors noticed it.
STALL_SECONDS: Final = 1.0
# A file keeps so many of the newest lines: a process that stalls all the time does not fill a disk.
KEPT_LINES: Final = 1_000
log = logging.getLogger("recsys_assets.stalls")


@dataclass(frozen=True)
class Stall:
    """This process stood still for `seconds` from `began` on."""

    process: str
    began: datetime
    seconds: float

    @property
    def ended(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)

    def told(self) -> str:
        return f"{self.process} stalled {self.seconds:.1f} s at {self.began.astimezone(UTC):%H:%M:%S} UTC"


def uptime_seconds() -> float:
    """A clock that nobody can set, and that counts on while the machine sleeps or is paused, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def stalls_folder(home: Path) -> Path:
    return home / "logs" / "stalls"


class StallLog:
    """The stalls of one process; `home` is None where there is nowhere to keep them, and only the log line is left.

    A full or broken disk must not take down what only notes its own stalls: the line in the log is kept.
    """

    def __init__(self, home: Path | None, process: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._file = None if home is None else stalls_folder(home) / f"{process}.jsonl"
        self._process = process
        self._clock = clock or (lambda: datetime.now(UTC))

    def late(self, seconds: float) -> Stall | None:
        """Note a beat that came so late; None where that is no stall."""
        if seconds < STALL_SECONDS:
            return None
        stall = Stall(self._process, self._clock() - timedelta(seconds=seconds), seconds)
        line = {"process": stall.process, "began": stall.began.isoformat(), "seconds": round(seconds, 3)}
        log.warning("stalled %.1f s at %s: %s", seconds, f"{stall.began:%H:%M:%S} UTC", json.dumps(line))
        try:
            self._write(json.dumps(line) + "\n")
        except OSError as broken:
            log.error("the stall cannot be kept: %s", broken)
        return stall

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        before = self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.exists() else []
        whole = [old for old in before if old.endswith("\n")]
        new = self._file.with_suffix(".tmp")
        new.write_text("".join([*whole[1 - KEPT_LINES :], line]), encoding="utf-8")
        new.replace(self._file)


class Beats:
    """Notices that its caller stood still while it rested. `now` is a clock that nobody can set."""

    def __init__(self, stalls: StallLog, now: Callable[[], float] = uptime_seconds) -> None:
        self._stalls, self._now = stalls, now

    def rest(self, wait: Callable[[float], bool], seconds: float) -> bool:
        """What `wait` says after so many seconds; that it took longer than it should is noted."""
        due = self._now() + seconds
        said = wait(seconds)
        self._stalls.late(self._now() - due)
        return said


def read_stalls(home: Path, since: datetime) -> Sequence[Stall]:
    """Every stall that ended after `since`, of every process, in order. A line that is no stall is left out."""
    found = [stall for file in sorted(stalls_folder(home).glob("*.jsonl")) for stall in _read(file)]
    return sorted((stall for stall in found if stall.ended >= since), key=lambda stall: stall.began)


def _read(file: Path) -> list[Stall]:
    found = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # what only explains an episode holds up nothing
    for line in lines:
        try:
            row = json.loads(line)
            stall = Stall(str(row["process"]), datetime.fromisoformat(row["began"]), float(row["seconds"]))
        except (ValueError, KeyError, TypeError):
            continue
        if stall.began.tzinfo is not None:
            found.append(stall)
    return found
