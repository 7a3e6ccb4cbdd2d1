"""Wall time and peak memory of a stage of the demo, child processes included.

Here: sampling. Not here: what is run meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5


@dataclass
class Reading:
    """Seconds of wall time and the peak sum of proportional set sizes, in MiB, of everything that works on the home."""

    seconds: float = 0.0
    peak_mib: float = 0.0


def _belongs(process: psutil.Process, home: str, own: set[int]) -> bool:
    return process.pid in own or process.environ().get("RECSYS_HOME") == home


def _memory_mib(home: Path) -> float:
    this = psutil.Process()
    own = {this.pid, *(child.pid for child in this.children(recursive=True))}
    total = 0
    for process in psutil.process_iter():
        try:
            if _belongs(process, str(home), own):
                total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # it ended between two looks, or belongs to somebody else
    return total / 2**20


@contextmanager
def metered(home: Path) -> Iterator[Reading]:
    """Fill a Reading while the block runs."""
    reading, done = Reading(), threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            reading.peak_mib = max(reading.peak_mib, _memory_mib(home))

    sampler = threading.Thread(target=sample, daemon=True)
    start = time.monotonic()
    sampler.start()
    try:
        yield reading
    finally:
        done.set()
        sampler.join()
        reading.seconds = time.monotonic() - start
        reading.peak_mib = max(reading.peak_mib, _memory_mib(home))
