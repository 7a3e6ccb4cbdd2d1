"""Where a tick gets its rows: the logs of the model servers, the collector and the gateway.

Here: telling "cannot be read" from "empty". Not here: what counts (outcomes.py), places in files (tail.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import polars as pl

from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.serving.logs import EXPOSURE_LOG, FEEDBACK_LOG, LogCorrupt, each_once
from recsys_assets.stalls import Stall, read_stalls
from recsys_assets.tail import Tail


class MetricsSource(Protocol):
    """Rows since a moment. A source that cannot be read is None in the result: never an empty frame."""

    def logs(self, since: datetime) -> Logs: ...

    def gateway_only(self, since: datetime) -> Logs:
        """What the gateway knows, without the rest."""

    def stalls(self, since: datetime) -> Sequence[Stall]:
        """What processes noted of their own stalls."""


class LogMetrics:
    """The files below the home folder, read on from where the last look ended.

    `problems` says why the last read of each source failed. Keep one where many looks are taken; threads may share it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        logs = home / "logs"
        self._exposures = Tail(logs / "exposures", EXPOSURE_LOG)
        self._feedback = Tail(logs / "feedback", FEEDBACK_LOG)
        self._gateway = Tail(logs / "gateway", GATEWAY_LOG)
        self.problems: dict[str, str] = {}

    def logs(self, since: datetime) -> Logs:
        self.problems = {}
        return Logs(
            exposures=self._frame("exposures", lambda: self._exposures.read(since)),
            feedback=self._frame("feedback", lambda: each_once(self._feedback.read(since))),
            gateway=self._frame("gateway", lambda: self._gateway.read(since)),
        )

    def gateway_only(self, since: datetime) -> Logs:
        self.problems = {}
        gateway = self._frame("gateway", lambda: self._gateway.read(since))
        return Logs(exposures=None, feedback=None, gateway=gateway)

    def stalls(self, since: datetime) -> Sequence[Stall]:
        return read_stalls(self._home, since)

    def _frame(self, source: str, read: Callable[[], pl.DataFrame]) -> pl.DataFrame | None:
        try:
            return read()
        except (LogCorrupt, ValueError, OSError, pl.exceptions.PolarsError) as broken:
            self.problems[source] = str(broken)
        return None


@lru_cache(maxsize=4)
def kept_metrics(home: Path) -> LogMetrics:
    """The one of this home in this process: a code server takes a look each second, for days."""
    return LogMetrics(home)
