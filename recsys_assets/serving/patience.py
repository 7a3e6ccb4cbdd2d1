"""How long a request waits for something that may hang, and when it is asked again: deadline, breaker, trials.

Here: one dependency of an answer, called on threads of its own. Not here: what the dependency is (online.py, app.py),
or what is done without it (ladder.py).

    trusted --a call is given up at its deadline--> left alone --a trial in the background is in time--> trusted
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from recsys_assets.serving.pulse import Pulse
from recsys_assets.serving.threads import Job, Threads
from recsys_assets.serving.usual import UsualTime

T = TypeVar("T")
Why = Literal["slow", "unavailable", "paused"]

# The first trial comes at once: what was a mere slip is trusted again before the next request comes.
FIRST_PAUSE, LAST_PAUSE = 0.02, 0.5
# A trial that does not come back holds a thread, so the next one waits longer.
LAST_PAUSE_HANGING = 5.0
# What hung or failed slowly, and comes and goes, must prove itself for longer each time.
FIRST_HOLD, LAST_HOLD, FLAPPING_SECONDS = 0.5, 5.0, 10.0
# A thread may have to wait as long as the timer did, before the work and after it.
LAGS = 2.0
# Of so many calls so many were given up: comes and goes as well, though each came back in the end.
SLIPS, AMONG = 5, 200
# What took more than this part of the deadline hung, whether it was given up or failed. Not all of it: a thread begins
# a moment after it was asked, and a client's own timeout may be over a moment before the request's.
BLAMED = 0.5


@dataclass(frozen=True)
class Missed:
    """No answer in time: it was slow, it failed, or it was not asked at all."""

    why: Why


class Patience(Generic[T]):
    """Calls work on its own threads, waiting no longer than a small multiple of the usual time.

    Use from one event loop. A request that is given up costs its deadline once; then nobody asks but trials in the
    background, which repeat the newest request that came meanwhile. An error that comes quickly costs no time and
    changes nothing for the next request; one that took its time is as bad as no answer.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: tuple[type[Exception], ...],
        least_seconds: float,
        most_seconds: float,
        now: Callable[[], float],
        threads: int = 4,
        pulse: Pulse | None = None,
    ) -> None:
        self._now, self._most = now, most_seconds
        self._pulse = pulse or Pulse(now)
        self._usual = UsualTime(least=least_seconds, most=most_seconds)
        self._threads = Threads(name, size=threads, failures=failures, now=now)
        self._waiting: set[Job] = set()
        self._slips: deque[bool] = deque(maxlen=AMONG)
        self._paused = False
        self._pause, self._hold = FIRST_PAUSE, 0.0
        self._trusted_at, self._wrong_at, self._was_a_slip = float("-inf"), 0.0, True
        self._trial: Job | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._newest: Callable[[], Any] | None = None

    @property
    def deadline_seconds(self) -> float:
        """How long a request waits now: longer where this process itself waits for a processor."""
        return min(self._usual.deadline + LAGS * self._pulse.lag(), self._most)

    @property
    def paused(self) -> bool:
        return self._paused

    async def call(self, work: Callable[[], T]) -> T | Missed:
        """What `work` returns, or why there is nothing. An error that is none of `failures` is raised."""
        self._newest = work
        if self._paused:
            return Missed("paused")
        job = self._threads.submit(work, self._settled)
        self._waiting.add(job)
        timer = job.loop.call_later(self.deadline_seconds, self._overdue, job)
        try:
            return await job.future  # type: ignore[no-any-return]
        finally:
            timer.cancel()
            self._waiting.discard(job)

    async def prime(self, works: list[Callable[[], T]], *, within_seconds: float) -> None:
        """Learn the usual time before the first request; ends at the first miss, or when the time is used up."""
        ends = self._now() + within_seconds
        for work in works:
            if self._now() >= ends or isinstance(await self.call(work), Missed):
                return

    def close(self) -> None:
        """Give up everything. Threads that hang are left behind; they end with the process."""
        if self._timer is not None:
            self._timer.cancel()
        self._pulse.stop()
        self._threads.close()

    def _overdue(self, job: Job) -> None:
        """The request's time is up. Waiting behind others for a thread is not the dependency's doing."""
        if job.done or job.future.done():
            return
        since = job.started or self._now()
        left = min(since + self.deadline_seconds, job.asked + self._most) - self._now()
        if left > 0:
            job.loop.call_later(left, self._overdue, job)
            return
        self._threads.leave(job)
        job.future.set_result(Missed("slow"))
        if job.started is not None and self._hung(self._now() - job.started):
            self._slips.append(True)
            self._leave_alone(job.loop)

    def _hung(self, seconds: float) -> bool:
        return seconds >= BLAMED * self.deadline_seconds

    def _leave_alone(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._paused:
            return
        now = self._now()
        if now - self._trusted_at > FLAPPING_SECONDS:
            self._hold = 0.0
        elif not self._was_a_slip or sum(self._slips) >= SLIPS:
            self._hold = min(max(2 * self._hold, FIRST_HOLD), LAST_HOLD)
        self._paused, self._pause, self._wrong_at, self._was_a_slip = True, FIRST_PAUSE, now, True
        for other in self._waiting:
            if other.started is None and not other.future.done():
                self._threads.leave(other)
                other.future.set_result(Missed("paused"))
        self._try_in(loop, 0.0)

    def _settled(self, job: Job) -> None:
        """A thread is through with it, in time or not."""
        if job.skipped:
            return
        if job.error is None and not job.crashed:
            self._usual.learn(job.took, at=self._now())
        if job is self._trial:
            self._trial = None
            self._tried(job)
        elif not job.future.done():
            hung = job.error is not None and self._hung(job.took)
            self._slips.append(hung)
            self._hand_over(job)
            if hung:
                self._leave_alone(job.loop)
                self._wrong()
        elif job.error is not None:
            self._wrong()

    def _hand_over(self, job: Job) -> None:
        if job.crashed:
            job.future.set_exception(RuntimeError("a defect; what the thread said last stands in the log"))
        else:
            job.future.set_result(job.value if job.error is None else Missed("unavailable"))

    def _wrong(self) -> None:
        """More than a slip: it hung, or failed after a long time."""
        self._wrong_at, self._was_a_slip = self._now(), False

    def _try_in(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._try, loop)

    def _try(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._trial is not None:  # hangs: another one may find it well again
            self._threads.leave(self._trial)
            self._wrong()
            self._pause = min(max(4 * self._pause, 3 * self._most), LAST_PAUSE_HANGING)
        if self._newest is None:
            return
        self._trial = self._threads.submit(self._newest, self._settled)
        self._trial.future.set_result(None)  # nobody waits for it
        self._try_in(loop, max(self._pause, 3 * self._most))

    def _tried(self, job: Job) -> None:
        now = self._now()
        in_time = job.took <= self.deadline_seconds if job.error is None else not self._hung(job.took)
        if in_time and now - self._wrong_at >= self._hold:
            self._paused, self._trusted_at = False, now
            if self._timer is not None:
                self._timer.cancel()
            return
        if not in_time:
            self._wrong_at = now
            self._was_a_slip &= job.error is None
            self._pause = min(2 * self._pause, LAST_PAUSE)
        self._try_in(job.loop, self._pause)
