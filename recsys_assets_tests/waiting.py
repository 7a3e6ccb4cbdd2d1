"""Waiting for a condition: one helper for all tests, with one limit that is for hangs and never for speed.

Here: `eventually`. Not here: any measurement of time; how fast something is belongs in benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import getsource
from typing import Final, TypeVar

T = TypeVar("T")

# A busy machine may be many times slower than a quiet one. What has not come by then hangs.
HANG_SECONDS: Final = 600.0


def eventually(look: Callable[[], T | None], *, what: str = "", every_seconds: float = 0.02) -> T:
    """Look until there is something, and return it; where that hangs, fail and name what was waited for.

    `what` is the source of `look` unless given. A `look` that raises ends the wait at once: what is waited for
    cannot come any more.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"{HANG_SECONDS:.0f} s went by without: {what or getsource(look).strip()}"
        time.sleep(every_seconds)
    return found
