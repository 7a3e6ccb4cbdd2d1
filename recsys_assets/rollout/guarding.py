"""Whether a guard watches: a lock that falls with its process, and the time of its last look.

Here: both sides of that one file. Not here: what the guard looks at (guard.py), or what follows where there is none
(phases.py).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from recsys_assets.platform.local.store import is_locked
from recsys_assets.settings import Settings

# A guard that hangs keeps its lock; one that has not looked for so long is no guard. Its longest look is shorter.
STALE_SECONDS: Final = 15.0


def guard_lock(settings: Settings) -> Path:
    return settings.path("platform", "guarding.lock")


def is_guarded(lock: Path, *, now: Callable[[], float] = time.time) -> bool:
    """Whether some living process holds the lock and looked lately, by the wall clock's word.

    A clock that was set says no until the next look, which is the safe side.
    """
    if not is_locked(lock):
        return False
    with suppress(FileNotFoundError):
        return -STALE_SECONDS < now() - lock.stat().st_mtime < STALE_SECONDS
    return False


class Beat:
    """The guard's side. It holds the lock from a look that succeeded up to one that does not, or to its end.

    Of two guards one holds it; both look, and both say when.
    """

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._held: int | None = None

    def looked(self) -> None:
        """Say that just now all that must be seen was seen."""
        if self._held is None:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)  # another guard holds it, or somebody asks just now
            else:
                self._held = descriptor
        os.utime(self._lock)

    def blind(self) -> None:
        """Say that nothing can be seen any more."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
