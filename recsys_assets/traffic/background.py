"""Replayed traffic beside a waiting run: a child process that lives exactly as long as the `with` block.

Here: starting and stopping it. Not here: what it sends (replay.py).
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from recsys_assets.settings import Settings

STOP_SECONDS = 10.0


@contextmanager
def replaying(settings: Settings, *, rate: float | None = None, seed: int | None = None) -> Iterator[None]:
    """Replay visitors against the gateway while the block runs. Its output goes to `<home>/logs/traffic.log`."""
    log = settings.path("logs", "traffic.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    rate = rate or settings.traffic.rate
    # More visits than the longest release can use: it is the block that ends the replay.
    plan = settings.rollout.plan
    users = math.ceil(rate * 2 * (plan.deadline_seconds + plan.bake_seconds))
    command = [sys.executable, "-m", "recsys_assets.traffic.replay", "--quiet"]
    command += ["--rate", str(rate), "--users", str(users)]
    command += ["--seed", str(seed)] if seed is not None else []
    with log.open("ab") as output:
        child = subprocess.Popen(command, env=os.environ | settings.environment(), stdout=output, stderr=output)
        try:
            yield
        finally:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
