"""A few threads that work for one event loop, and can be left behind where they hang.

Here: jobs, threads, bookkeeping. Not here: deadlines and trust (patience.py). The standard pool waits for its threads
when the process ends, and one that hangs would never let it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

MAX_HANGING: Final = 256


class Job:
    """One call. `future` is for whoever waits; the thread writes the rest, `done` last."""

    __slots__ = (
        "asked", "crashed", "done", "error", "future", "hangs", "loop", "skipped", "started", "then", "took", "value",
        "work",
    )  # fmt: skip

    def __init__(self, work: Callable[[], Any], then: Callable[[Job], None], asked: float) -> None:
        self.work, self.then, self.asked = work, then, asked
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.started: float | None = None
        self.took = 0.0
        self.value: Any = None
        self.error: Exception | None = None
        self.crashed = self.done = self.hangs = self.skipped = False


class Threads:
    """`size` threads that answer; each that was left behind is replaced, until it comes back."""

    def __init__(
        self, name: str, *, size: int, failures: tuple[type[Exception], ...], now: Callable[[], float]
    ) -> None:
        self._name, self._size, self._failures, self._now = name, size, failures, now
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._alive = self._hanging = self._asked = 0

    def submit(self, work: Callable[[], Any], then: Callable[[Job], None]) -> Job:
        """Have `work` done; `then` is called in the event loop when it is."""
        job = Job(work, then, self._now())
        self._asked += 1
        if self._alive < min(self._size, self._asked - self._hanging) + self._hanging and self._hanging < MAX_HANGING:
            self._alive += 1
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        self._queue.put(job)
        return job

    def leave(self, job: Job) -> None:
        """Nobody waits for it any more. If it runs, its thread no longer counts; else it will not be run."""
        if job.started is None:
            job.skipped = True
        elif not job.done and not job.hangs:
            job.hangs = True
            self._hanging += 1

    def close(self) -> None:
        """Let the threads end that can."""
        for _ in range(self._alive):
            self._queue.put(None)
        self._alive = 0

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                if not job.skipped:
                    self._do(job)
            finally:
                job.done = True
                if not job.loop.is_closed():
                    job.loop.call_soon_threadsafe(self._back, job)

    def _do(self, job: Job) -> None:
        job.started = started = self._now()
        job.crashed = True
        try:
            job.value = job.work()
            job.crashed = False
        except self._failures as failed:
            job.error, job.crashed = failed, False
        finally:
            job.took = self._now() - started

    def _back(self, job: Job) -> None:
        self._asked -= 1
        self._alive -= job.crashed  # an error that nobody expected took its thread along
        if job.hangs:
            self._hanging -= 1
            if self._alive > self._size + self._hanging:
                self._alive -= 1
                self._queue.put(None)
        job.then(job)
