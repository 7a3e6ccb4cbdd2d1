"""The four kinds of drill. Here: names, what each plants, who ought to find it. Not here: the faults themselves."""

from __future__ import annotations

from typing import Final, Literal, get_args

Kind = Literal["slow", "failing", "worse", "stale_features"]
DRILL_REPORT: Final = "drill_report"
DRILL_JOB: Final = "drill"
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TELLS: Final[dict[Kind, str]] = {
    "slow": "each answer takes a second more; the shadow ought to show it before any user waits",
    "failing": "three of ten answers to users are errors, copies are not; the guardrail on errors ought to find it",
    "worse": "four of five users get the list of another user; the verdict on engagement ought to find it",
    "stale_features": "its online store stopped moving two weeks ago; the degraded answers ought to show it",
}
