"""Verdicts on accuracy: against the champion, against the floor, and segment by segment.

Here: pure rules over paired comparisons. Not here: resampling, breadth, Dagster. Every reason says by how much.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsys_assets.evaluation.comparison import Comparison, compare
from recsys_assets.evaluation.evaluate import CHALLENGER, CHAMPION, RECENT_POPULARITY, Evaluation
from recsys_assets.evaluation.splits import SLICES
from recsys_assets.records import Measurement, Outcome, Verdict
from recsys_assets.settings import GateSettings

# With fewer losing users a bootstrap cannot tell a loss from chance: six without a winner have p = 1/64, which is below
# 0.05 for each of three slices.
LEAST_LOSING_USERS = 6
FIRST_RELEASE = "first release: no champion to compare with"


@dataclass(frozen=True)
class Judgement:
    """What one rule says about one number, before it becomes a Verdict."""

    outcome: Outcome
    reason: str
    measurements: tuple[Measurement, ...] = ()


def verdict(check: str, evaluation: Evaluation, judgement: Judgement) -> Verdict:
    """Attach the version. A holdout that saw the test turns a PASS into INCONCLUSIVE, whatever the numbers say."""
    outcome, reason = judgement.outcome, judgement.reason
    if evaluation.leak is not None and outcome is Outcome.PASS:
        outcome, reason = Outcome.INCONCLUSIVE, evaluation.leak
    return Verdict(
        check=check,
        model_version=evaluation.model_version,
        outcome=outcome,
        reason=reason,
        measurements=judgement.measurements,
    )


def not_below_champion(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """Non-inferior: the lower bound of the relative difference lies above minus the margin.

    Without any champion this passes, because the floors must carry a first release; with one that cannot be compared
    with, nothing is known.
    """
    if evaluation.reference.problem is not None:
        return Judgement(Outcome.INCONCLUSIVE, evaluation.reference.problem)
    if evaluation.reference.version is None:
        return Judgement(Outcome.PASS, FIRST_RELEASE)
    found = _compared(evaluation, CHAMPION, gate)
    return non_inferior(found, gate.non_inferiority_margin, f"champion {evaluation.reference.version}")


def not_below_recent_popularity(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """At least as good as the list of recently popular items, which needs no model.

    The mean must reach the floor itself. Its lower bound must only exclude a loss beyond the non-inferiority margin:
    strangers get nearly the same list from both, so demanding a proven win would reject a good model wherever most test
    users are new, while the bare mean would let chance through on a thin test.
    """
    found = _compared(evaluation, RECENT_POPULARITY, gate)
    if found is None:
        return _nothing(RECENT_POPULARITY)
    short = -gate.floor_margin - found.relative
    if short > 0:
        reason = f"{_against(found, RECENT_POPULARITY)}: below the floor by {short:.1%}"
        return Judgement(Outcome.FAIL, reason, (found.measurement(f"{gate.metric} over {RECENT_POPULARITY}"),))
    return non_inferior(found, gate.non_inferiority_margin, RECENT_POPULARITY)


def non_inferior(found: Comparison | None, margin: float, name: str) -> Judgement:
    """PASS when a loss beyond the margin is excluded, FAIL when the mean itself lost more, else INCONCLUSIVE."""
    if found is None:
        return _nothing(name)
    said = _against(found, name)
    numbers = (found.measurement(f"{found.metric} over {name}"),)
    if found.low > -margin:
        return Judgement(Outcome.PASS, f"{said}; a loss of {margin:.1%} is excluded", numbers)
    if found.relative <= -margin:
        reason = f"{said}: beyond the margin of {margin:.1%} by {-margin - found.relative:.1%}"
        return Judgement(Outcome.FAIL, reason, numbers)
    reason = f"{said}: the bound misses the margin of {margin:.1%} by {-margin - found.low:.1%}; more users would tell"
    return Judgement(Outcome.INCONCLUSIVE, reason, numbers)


def no_slice_lost(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """New users, warm users and the long tail each keep their accuracy, whatever the average does.

    Lost means: the mean fell by more than the slice margin, and neither its upper bound nor a handful of users leaves
    it to chance. (Asking every small segment to prove non-inferiority would reject most sound models.) A segment with
    too few users cannot be judged. The reference is the champion, or recent popularity before there is one.
    """
    if evaluation.reference.problem is not None:
        return Judgement(Outcome.INCONCLUSIVE, evaluation.reference.problem)
    name = reference_name(evaluation)
    judged = [_slice(evaluation, part, name, gate) for part in SLICES]
    numbers = tuple(number for judgement in judged for number in judgement.measurements)
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if bad := [judgement.reason for judgement in judged if judgement.outcome is outcome]:
            return Judgement(outcome, "; ".join(bad), numbers)
    return Judgement(Outcome.PASS, "; ".join(judgement.reason for judgement in judged), numbers)


def reference_name(evaluation: Evaluation) -> str:
    """What breadth and slices are held against: the champion, or recent popularity before there is one."""
    return RECENT_POPULARITY if evaluation.reference.version is None else CHAMPION


def _slice(evaluation: Evaluation, part: str, name: str, gate: GateSettings) -> Judgement:
    ours, theirs = evaluation.models[CHALLENGER].slices[part], evaluation.models[name].slices[part]
    found = compare(ours, theirs, gate.metric, alpha=gate.alpha, samples=gate.bootstrap_samples)
    users = 0 if found is None else found.n
    if found is None or users < gate.min_slice_users:
        return Judgement(Outcome.INCONCLUSIVE, f"{part}: {users} users, {gate.min_slice_users} are needed to judge it")
    said = f"{part}: {_against(found, name)}"
    numbers = (found.measurement(f"{gate.metric} of {part} over {name}"),)
    beyond = -gate.slice_margin - found.relative
    if beyond > 0 and found.high < 0 and found.worse >= LEAST_LOSING_USERS:
        return Judgement(Outcome.FAIL, f"{said}: beyond the margin of {gate.slice_margin:.1%} by {beyond:.1%}", numbers)
    return Judgement(Outcome.PASS, said, numbers)


def _compared(evaluation: Evaluation, name: str, gate: GateSettings) -> Comparison | None:
    if not {CHALLENGER, name} <= evaluation.models.keys():
        return None
    ours, theirs = evaluation.models[CHALLENGER].rows, evaluation.models[name].rows
    return compare(ours, theirs, gate.metric, alpha=gate.alpha, samples=gate.bootstrap_samples)


def _nothing(name: str) -> Judgement:
    return Judgement(Outcome.INCONCLUSIVE, f"there are no users on whom to compare with {name}")


def _against(found: Comparison, name: str) -> str:
    return (
        f"{found.metric} {found.challenger:.4f} against {found.reference:.4f} of {name}: "
        f"{found.relative:+.1%} ({found.low:+.1%} to {found.high:+.1%}, {found.n} users)"
    )
