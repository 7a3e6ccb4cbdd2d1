"""Where a tick gets its rows: the logs of the model servers, the collector and the gateway.

Here: reading, and telling "cannot be read" from "empty". Not here: what counts (outcomes.py).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from recsys_assets.platform.local.access_log import read_gateway_requests
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.serving.logs import LogCorrupt, read_exposures, read_feedback


class MetricsSource(Protocol):
    """Rows since a moment. A source that cannot be read is None in the result: never an empty frame."""

    def logs(self, since: datetime) -> Logs: ...

    def gateway_only(self, since: datetime) -> Logs:
        """What the guard needs, without the rest."""


class LogMetrics:
    """The files below the home folder. `problems` says why the last read of each source failed."""

    def __init__(self, home: Path) -> None:
        self._logs = home / "logs"
        self.problems: dict[str, str] = {}

    def logs(self, since: datetime) -> Logs:
        self.problems = {}
        return Logs(
            exposures=self._exposures(since),
            feedback=self._feedback(since),
            gateway=self._gateway(since),
        )

    def gateway_only(self, since: datetime) -> Logs:
        self.problems = {}
        return Logs(exposures=None, feedback=None, gateway=self._gateway(since))

    def _exposures(self, since: datetime) -> pl.DataFrame | None:
        try:
            return read_exposures(self._logs / "exposures", since)
        except (LogCorrupt, OSError) as broken:
            self.problems["exposures"] = str(broken)
        return None

    def _feedback(self, since: datetime) -> pl.DataFrame | None:
        try:
            return read_feedback(self._logs / "feedback", since)
        except (LogCorrupt, OSError) as broken:
            self.problems["feedback"] = str(broken)
        return None

    def _gateway(self, since: datetime) -> pl.DataFrame | None:
        try:
            return read_gateway_requests(self._logs / "gateway", since)
        except (ValueError, OSError, pl.exceptions.PolarsError) as broken:
            self.problems["gateway"] = str(broken)
        return None
