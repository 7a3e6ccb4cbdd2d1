"""What a verdict stands on: the names of the checks, and whether the sources can carry a verdict at all.

Here: shared words and the rule "no data is not zero". Not here: any judgement of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

import polars as pl

from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.rollout.outcomes import Logs, Scope

QUALITY: Final = "canary_is_not_worse"
ERRORS: Final = "canary_has_no_more_errors"
LATENCY: Final = "canary_is_not_slower"
DEGRADED: Final = "canary_answers_are_not_degraded"
RATIO: Final = "canary_traffic_matches_its_weight"
COUNTED: Final = "exposures_are_counted"
STABLE: Final = "stable_is_healthy"
# Those that speak against the canary itself; the others speak about the routing, the logs or stable.
GUARDRAILS: Final = (QUALITY, ERRORS, LATENCY, DEGRADED)
ALL_CHECKS: Final = (*GUARDRAILS, RATIO, COUNTED, STABLE)

# Below this many visitors nothing asymptotic is said.
BURN_IN: Final = 50
# Stable that answered within so many seconds stalls, and is not known to be gone. What may be over at once is no reason
# to call a person.
STALL_SECONDS: Final = 10.0
LAST_ANSWER: Final = "seconds_since_stable_answered"
# A source whose newest row is older than this, or than the lease where that is longer, is stale.
STALE_SECONDS: Final = 30.0

Source = Literal["gateway", "exposures", "feedback"]


def unreadable(logs: Logs, scope: Scope, *needed: Source) -> str:
    """Why these sources cannot carry a verdict, or an empty string. The gateway is always needed."""
    if scope.start is None:
        return "no user has been sent to the canary yet"
    for name in ("gateway", *needed):
        frame: pl.DataFrame | None = getattr(logs, name)
        if frame is None:
            return f"the {name} log cannot be read"
        if frame.is_empty():
            return f"the {name} log is empty"
    assert logs.gateway is not None
    limit = max(scope.plan.lease_seconds, STALE_SECONDS)
    arms = ("canary",) if scope.baking else ("canary", "stable")
    latest = logs.gateway.select(pl.col("served_at").filter(pl.col("variant") == arm).max().alias(arm) for arm in arms)
    for arm, newest in latest.row(0, named=True).items():
        if not isinstance(newest, datetime):
            return f"the gateway has no {arm} request"
        if (age := (scope.now - max(newest, scope.weights[-1].since)).total_seconds()) > limit:
            return f"the gateway's newest {arm} request is {age:.0f} s old"
    return ""


def answered_lately(verdicts: Sequence[Verdict]) -> bool:
    """Whether stable is known to have answered within STALL_SECONDS, though it is not ready or fails just now."""
    numbers = [m for v in verdicts if v.check == STABLE for m in v.measurements if m.name == LAST_ANSWER]
    return any(number.value is not None and number.value <= STALL_SECONDS for number in numbers)


def milder(scope: Scope) -> Scope:
    """The same scope at the square root of alpha: half of the evidence, on the log scale.

    Asked of what is left of a failure that was shown at alpha once an episode is left out (episodes.py). The weight is
    taken at the first look that shows the failure, so whatever is left then shows it less than that.
    """
    return replace(scope, plan=scope.plan.model_copy(update={"alpha": math.sqrt(scope.plan.alpha)}))


def verdict(check: str, scope: Scope, outcome: Outcome, reason: str, *numbers: Measurement) -> Verdict:
    """A verdict on the canary of this scope."""
    return Verdict(check=check, model_version=scope.model_version, outcome=outcome, reason=reason, measurements=numbers)
