"""How many of the users a release may have: no more than its last compared share until every verdict has passed.

Here: the bound, held against a decision before it is written and against a route as it is found. Not here: which splits
there are (route.py), or what follows where the bound is broken (phases.py, guard.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from recsys_assets.records import Decision, Outcome, Phase, Release, TrafficSplit, Verdict
from recsys_assets.rollout.evidence import ALL_CHECKS
from recsys_assets.rollout.outcomes import ALL_BP

# Where nobody is compared yet, the new model has no user at all.
_UNSEEN = frozenset({Phase.CANDIDATE, Phase.GATED, Phase.SHADOW})


def share_of_new(release: Release, split: TrafficSplit) -> int:
    """The basis points of users that this split gives to the release's model, under whichever role."""
    new = release.model.service_name
    canary = split.canary_weight_bp if split.canary == new else 0
    return canary + (ALL_BP - split.canary_weight_bp if split.stable == new else 0)


def allowed_share(release: Release, phase: Phase) -> int:
    """The largest share that the new model may be found with in this phase."""
    if release.champion is None or phase in {Phase.BAKING, Phase.CHAMPION}:
        return ALL_BP
    return 0 if phase in _UNSEEN or phase.is_end else release.plan.last_share_bp


def unproven(verdicts: Iterable[Verdict], version: str) -> list[str]:
    """The checks without exactly one verdict on this version, or whose verdict is no PASS."""
    found = [v for v in verdicts if v.model_version == version]
    passed = {check: [v.outcome for v in found if v.check == check] for check in ALL_CHECKS}
    return [check for check, outcomes in passed.items() if outcomes != [Outcome.PASS]]


def beyond_comparison(release: Release, decision: Decision) -> str:
    """Why this decision may not be written: it gives the new model more than was compared, without every verdict.

    Empty where it may. A first release has nobody to compare with: the offline gate alone lets it through.
    """
    share = share_of_new(release, decision.split)
    if release.champion is None or share <= release.plan.last_share_bp:
        return ""
    if not (missing := unproven(decision.verdicts, release.model.version)):
        return ""
    limit = release.plan.last_share_bp
    return f"{share} bp for version {release.model.version} need a pass of {', '.join(missing)}; without it {limit} bp"


def overexposed(release: Release, phase: Phase, split: TrafficSplit) -> str:
    """How the route as it is found gives the new model more users than its phase allows; empty where it does not."""
    share, allowed = share_of_new(release, split), allowed_share(release, phase)
    if phase.is_end or share <= allowed:
        return ""
    return (
        f"version {release.model.version} has {share} bp of the users in the phase {phase.value}, where it may have "
        f"{allowed}: nobody has compared it at that share"
    )
