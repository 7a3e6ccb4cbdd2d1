"""The processes of a cluster: started with a log each, waited for by a probe, stopped for good.

Here: one process, and asking until a condition holds. Not here: which processes a cluster has.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.errors import CommandFailedError, NotReadyError

POLL_SECONDS = 0.05
STOP_SECONDS = 10.0
LOG_TAIL = 2000


class Process:
    """A process that dies with the one that started it, even when that is killed."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._running.pid if self._running is not None and self._running.poll() is None else None

    @property
    def child(self) -> int | None:
        """The process id that was started last, whether or not it still runs."""
        return self._running.pid if self._running is not None else None

    def start(self) -> None:
        """Start it with its output in the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            # The signal is set by setpriv, not by a preexec_fn: the parent may have threads.
            command = ["setpriv", "--pdeathsig", "KILL", *self._command]
            self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def stop(self) -> None:
        """Ask it to end; kill it when it does not within STOP_SECONDS."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Probe until it is ready; a process that ended, or a deadline that passed, is an error with the log's end."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if self.pid is None:
                raise NotReadyError(f"{self.name} ended before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReadyError(f"{self.name} was not ready within {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def log_tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:] if self.log.exists() else ""

    def resident_bytes(self) -> int:
        """Memory that is resident now; 0 when it does not run."""
        pid = self.pid
        if pid is None:
            return 0
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def poll(what: str, holds: Callable[[], bool], timeout_seconds: float, every_seconds: float = 0.2) -> None:
    """Ask until it holds; NotReadyError with `what` once the deadline passed."""
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} did not come true within {timeout_seconds:g} s")
        time.sleep(every_seconds)


def run(command: Sequence[str | Path], *, stdin: str | None = None, timeout_seconds: float = 300) -> str:
    """Run a command to its end and give what it printed; CommandFailedError with its error output otherwise."""
    words = [str(part) for part in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-LOG_TAIL:].strip()
        raise CommandFailedError(f"`{' '.join(words)}` failed ({done.returncode}): {said}")
    return done.stdout
