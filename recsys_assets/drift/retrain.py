"""When a drift asks for a new model: one pure decision.

Here: `decide_retrain`. Not here: a clock, a cursor, or Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from recsys_assets.drift.detector import DriftReport
from recsys_assets.records import Outcome


@dataclass(frozen=True)
class Retrain:
    """Whether to ask for a release now, and why (not)."""

    ask: bool
    reason: str


def decide_retrain(
    report: DriftReport | None,
    *,
    now: datetime,
    last_request: datetime | None,
    in_flight: bool,
    cooldown_seconds: float,
) -> Retrain:
    """Ask when the data drifted, nothing is under way, the cool-down is over, and a new model would know more.

    A report that is absent or inconclusive is no drift: a release costs canary traffic, and missing data are not a
    reason to train on them. A clock that jumped back behind the last request counts as still cooling down.
    """
    if report is None:
        return Retrain(False, "there is no drift report yet")
    if report.outcome is not Outcome.FAIL:
        return Retrain(False, f"no drift ({report.outcome.value}): {report.reason}")
    if report.champion_as_of is not None and report.champion_as_of >= report.as_of:
        return Retrain(
            False, f"champion {report.champion_version} already knows all days up to {report.as_of:%Y-%m-%d}"
        )
    if in_flight:
        return Retrain(False, "a release is under way")
    if last_request is not None and now < last_request + timedelta(seconds=cooldown_seconds):
        until = last_request + timedelta(seconds=cooldown_seconds)
        return Retrain(False, f"cooling down until {until.isoformat(timespec='seconds')}")
    return Retrain(True, report.reason)
