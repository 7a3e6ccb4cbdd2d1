"""The offline gate: every check by name, judged for one exact model version, and the verdict over all of them.

Here: which checks there are and how they add up. Not here: the rules themselves, metrics, Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recsys_assets.evaluation.accuracy import (
    Judgement,
    no_slice_lost,
    not_below_champion,
    not_below_recent_popularity,
    verdict,
)
from recsys_assets.evaluation.breadth import catalogue_coverage_kept, popularity_not_collapsed
from recsys_assets.evaluation.check_names import EVALUATION_REPORT, check_names
from recsys_assets.evaluation.evaluate import Evaluation
from recsys_assets.records import Outcome, Verdict
from recsys_assets.settings import GateSettings

Rule = Callable[[Evaluation, GateSettings], Judgement]


def evaluation_has_enough_users(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """Too few test users prove nothing, however good the numbers look."""
    said = f"{evaluation.users} test users in [{evaluation.cut:%Y-%m-%d}, {evaluation.as_of:%Y-%m-%d})"
    if evaluation.users < gate.min_test_users:
        short = gate.min_test_users - evaluation.users
        return Judgement(Outcome.INCONCLUSIVE, f"{said}, {gate.min_test_users} are needed: {short} too few")
    return Judgement(Outcome.PASS, said)


def rules(metric: str) -> dict[str, Rule]:
    """The rule behind each check's name. A name without a rule, or a rule without a name, is an error at once."""
    return dict(
        zip(
            check_names(metric),
            (
                not_below_champion,
                not_below_recent_popularity,
                no_slice_lost,
                catalogue_coverage_kept,
                popularity_not_collapsed,
                evaluation_has_enough_users,
            ),
            strict=True,
        )
    )


def judge(evaluation: Evaluation, gate: GateSettings) -> tuple[Verdict, ...]:
    """All checks' verdicts, in the order of `check_names`."""
    return tuple(verdict(name, evaluation, rule(evaluation, gate)) for name, rule in rules(gate.metric).items())


def overall(model_version: str, verdicts: Sequence[Verdict]) -> Verdict:
    """PASS only when there are verdicts and all passed for this version; a FAIL outweighs an INCONCLUSIVE."""
    strangers = [v.check for v in verdicts if v.model_version != model_version]
    bad = [v for v in verdicts if not v.passed]
    if strangers or not verdicts:
        outcome, reason = (
            Outcome.INCONCLUSIVE,
            f"no verdict on version {model_version}: {', '.join(strangers) or 'none at all'}",
        )
    elif bad:
        failed = any(v.outcome is Outcome.FAIL for v in bad)
        outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE
        reason = "; ".join(f"{v.check}: {v.outcome.value}: {v.reason}" for v in bad)
    else:
        outcome, reason = Outcome.PASS, f"all {len(verdicts)} checks passed"
    return Verdict(
        check=EVALUATION_REPORT,
        model_version=model_version,
        outcome=outcome,
        reason=reason,
        measurements=tuple(m for v in verdicts for m in v.measurements),
    )
