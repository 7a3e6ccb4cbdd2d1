"""What is asked of a service before any user meets it: one verdict for each question, from plain observations.

Here: pure judgement; no data is never a pass. Not here: observing (probe.py) or deploying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recsys_assets.platform.interface import ServiceStatus
from recsys_assets.records import Measurement, Outcome, Verdict

READY: Final = "service_is_ready_on_this_generation"
ECHOED: Final = "version_is_echoed"
GOLDEN: Final = "golden_requests_equal_offline_scores"
LATENCY: Final = "latency_is_within_budget"
SIGNATURE: Final = "signature_is_valid"
CHECKS: Final = {
    READY: "The platform says ready about the generation that was just applied, not about an older one.",
    ECHOED: "Every answer names exactly this version.",
    GOLDEN: "The deployed server ranks the golden requests as training did, score by score.",
    LATENCY: "99 of 100 answers come within the budget.",
    SIGNATURE: "The deployed files are the signed ones and this version's, and every gate's word is bound to them.",
}
SCORE_TOLERANCE: Final = 1e-6
MIN_TIMED: Final = 50


@dataclass(frozen=True)
class Ranked:
    """Items best first with their scores, as answered by one golden request or as expected of it."""

    items: Sequence[str]
    scores: Sequence[float]


def ready(version: str, status: ServiceStatus | None, *, generation: int) -> Verdict:
    """Whether the service got ready in the generation that was applied."""
    if status is None:
        return _say(READY, version, Outcome.INCONCLUSIVE, "the platform gave no status")
    if status.observed_generation != generation:
        seen = f"the platform observed generation {status.observed_generation}, applied was {generation}"
        return _say(READY, version, Outcome.INCONCLUSIVE, seen)
    if not status.ready:
        return _say(READY, version, Outcome.FAIL, f"not ready by the deadline: {status.reason}")
    return _say(READY, version, Outcome.PASS, f"ready on generation {generation} at {status.url}")


def echoed(version: str, said: Sequence[str] | None) -> Verdict:
    """Whether all answers named this version. `said` None: the server was not reached."""
    if not said:
        return _say(ECHOED, version, Outcome.INCONCLUSIVE, "no answer named a version")
    others = sorted(set(said) - {version})
    if others:
        return _say(ECHOED, version, Outcome.FAIL, f"{len(said)} answers, some by version {', '.join(others)}")
    return _say(ECHOED, version, Outcome.PASS, f"{len(said)} answers, all by version {version}")


def golden(version: str, expected: Sequence[Ranked], answered: Sequence[Ranked | None] | None) -> Verdict:
    """Whether the server repeats training's answers. An entry None is a request that got no ranking."""
    if not answered or len(expected) != len(answered):
        return _say(GOLDEN, version, Outcome.INCONCLUSIVE, "the golden requests were not all asked")
    apart: list[float] = []
    for number, (want, got) in enumerate(zip(expected, answered, strict=True)):
        if got is None:
            return _say(GOLDEN, version, Outcome.FAIL, f"golden request {number} got no ranking")
        if list(got.items) != list(want.items) or len(got.scores) != len(want.scores):
            shown = list(got.items)[:5]
            return _say(GOLDEN, version, Outcome.FAIL, f"golden request {number} got other items: {shown}")
        apart += [abs(a - b) for a, b in zip(want.scores, got.scores, strict=True)]
    worst = Measurement(name="largest_score_difference", value=max(apart, default=0.0), n=len(expected))
    if not all(difference <= SCORE_TOLERANCE for difference in apart):  # said so that NaN is not equal to anything
        return _say(GOLDEN, version, Outcome.FAIL, f"scores differ by up to {worst.value:.3g}", worst)
    return _say(GOLDEN, version, Outcome.PASS, f"{len(expected)} requests, every score equal", worst)


def latency(version: str, timed_ms: Sequence[float] | None, *, budget_ms: float) -> Verdict:
    """Whether the 99th percentile lies within the budget."""
    if not timed_ms or len(timed_ms) < MIN_TIMED:
        seen = f"{len(timed_ms or ())} answers were timed, {MIN_TIMED} are needed"
        return _say(LATENCY, version, Outcome.INCONCLUSIVE, seen)
    p50, p99 = quantile(timed_ms, 0.5), quantile(timed_ms, 0.99)
    numbers = [
        Measurement(name=name, value=value, n=len(timed_ms), unit="ms")
        for name, value in (("latency_p50", p50), ("latency_p99", p99))
    ]
    outcome = Outcome.PASS if p99 <= budget_ms else Outcome.FAIL
    return _say(LATENCY, version, outcome, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, budget {budget_ms:g} ms", *numbers)


def signature(version: str, refusal: str | None, *, checked: bool) -> Verdict:
    """Whether the deployed folder verified. `checked` False: it could not be looked at, which proves nothing."""
    if not checked:
        return _say(SIGNATURE, version, Outcome.INCONCLUSIVE, refusal or "the bundle was not looked at")
    if refusal is not None:
        return _say(SIGNATURE, version, Outcome.FAIL, refusal)
    return _say(SIGNATURE, version, Outcome.PASS, "signature, digests, version and every gate's word belong together")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    place = -(-len(ordered) * share // 1)
    return ordered[max(0, int(place) - 1)]


def _say(check: str, version: str, outcome: Outcome, reason: str, *numbers: Measurement) -> Verdict:
    return Verdict(check=check, model_version=version, outcome=outcome, reason=reason, measurements=numbers)
