"""Whether the wall clock was set since a release was last written: held against a clock that nobody can set.

Here: the mark that the route keeps, and the comparison. Not here: what follows from a jump (phases.py, tick.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

# NTP slews by half a second in a quarter of an hour, and steps by more only when a clock was wrong.
JUMP_SECONDS: Final = 2.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ClockMark:
    """Wall clock and uptime read together. Uptimes are comparable within one boot of one machine only."""

    boot: str
    uptime_seconds: float
    at: datetime

    def written(self) -> str:
        return f"{self.boot} {self.uptime_seconds:.6f} {self.at.isoformat()}"


def read_mark(text: str) -> ClockMark:
    """Back from an annotation; ValueError where it cannot be read."""
    boot, uptime, at = text.split(" ")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return ClockMark(boot, float(uptime), moment)


def jumped_seconds(before: ClockMark | None, now: ClockMark | None) -> float:
    """How far the wall clock was set between the marks; 0 where nobody can tell: another boot, or no mark."""
    if before is None or now is None or before.boot != now.boot:
        return 0.0
    jump = (now.at - before.at).total_seconds() - (now.uptime_seconds - before.uptime_seconds)
    return jump if abs(jump) > JUMP_SECONDS else 0.0


def machine_clock(clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> ClockMark | None:
    """The mark of this machine now; the uptime counts on while it sleeps. None where there is no such clock."""
    if not hasattr(time, "CLOCK_BOOTTIME") or not _BOOT_ID.exists():
        return None
    boot = _BOOT_ID.read_text(encoding="ascii").strip()
    return ClockMark(boot, time.clock_gettime(time.CLOCK_BOOTTIME), clock())
