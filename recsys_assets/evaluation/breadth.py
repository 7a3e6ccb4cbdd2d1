"""Verdicts on breadth: how much of the catalogue is shown, and whether everybody gets the same popular list.

Here: pure rules. Not here: accuracy. The reference is the champion, or recent popularity before there is one.
"""

from __future__ import annotations

from recsys_assets.evaluation.accuracy import Judgement, reference_name
from recsys_assets.evaluation.evaluate import CHALLENGER, Evaluation, Scored
from recsys_assets.records import Measurement, Outcome
from recsys_assets.settings import GateSettings

POPULARITY_SHARE = "popularity_share_at_10"


def catalogue_coverage_kept(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """The challenger shows at least the given fraction of what the reference shows of the catalogue."""
    pair = _pair(evaluation)
    if isinstance(pair, Judgement):
        return pair
    ours, theirs = pair
    least = gate.min_catalogue_coverage_ratio * theirs.coverage
    said = f"{ours.coverage:.2%} of the catalogue against {theirs.coverage:.2%} of {theirs.name}; at least {least:.2%}"
    numbers = (
        _number("catalogue_coverage", ours, ours.coverage),
        _number("catalogue_coverage", theirs, theirs.coverage),
    )
    if ours.coverage <= 0 or ours.coverage < least:
        return Judgement(Outcome.FAIL, f"{said}: short by {least - ours.coverage:.2%}", numbers)
    return Judgement(Outcome.PASS, said, numbers)


def popularity_not_collapsed(evaluation: Evaluation, gate: GateSettings) -> Judgement:
    """Recommended items did not become much more popular, and not everybody gets the same ten.

    Two numbers, one ratio: the mean popularity of what is shown must not exceed the ratio times the reference's, and
    the places outside the ten most shown items must not shrink below the reference's divided by the ratio. The second
    sees a collapse where the reference is itself so popular that the first could never fail.
    """
    pair = _pair(evaluation)
    if isinstance(pair, Judgement):
        return pair
    ours, theirs = pair
    most = gate.max_popularity_share_ratio * _share(theirs)
    least = theirs.slots_outside_top / gate.max_popularity_share_ratio
    numbers = tuple(
        number
        for model in pair
        for number in (
            _number(POPULARITY_SHARE, model, _share(model)),
            _number("slots_outside_top_10", model, model.slots_outside_top),
        )
    )
    broken = []
    if _share(ours) > most:
        broken.append(f"mean popularity {_share(ours):.3%}, at most {most:.3%}: over by {_share(ours) - most:.3%}")
    if ours.slots_outside_top < least:
        short = least - ours.slots_outside_top
        broken.append(f"places outside the ten most shown items {ours.slots_outside_top:.2%}: short by {short:.2%}")
    said = f"held against {theirs.name}: " + ("; ".join(broken) or f"mean popularity {_share(ours):.3%} of {most:.3%}")
    return Judgement(Outcome.FAIL if broken else Outcome.PASS, said, numbers)


def _pair(evaluation: Evaluation) -> tuple[Scored, Scored] | Judgement:
    if evaluation.reference.problem is not None:
        return Judgement(Outcome.INCONCLUSIVE, evaluation.reference.problem)
    ours, theirs = evaluation.models.get(CHALLENGER), evaluation.models.get(reference_name(evaluation))
    if ours is None or theirs is None or ours.rows.is_empty() or theirs.rows.is_empty():
        return Judgement(Outcome.INCONCLUSIVE, f"there are no lists to compare with {reference_name(evaluation)}")
    return ours, theirs


def _share(model: Scored) -> float:
    return float(model.rows[POPULARITY_SHARE].sum()) / model.rows.height


def _number(name: str, model: Scored, value: float) -> Measurement:
    return Measurement(name=f"{name} of {model.name}", value=value, n=model.rows.height)
