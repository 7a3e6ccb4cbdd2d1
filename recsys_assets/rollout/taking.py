"""What a shown failure means once the weight is to be taken: for the release, and for its digest.

Here: two decisions apart, pure and the same for tick and guard. Not here: whether a failure is shown (analysis.py,
breaches.py), or which digests are denied (denials.py).

The weight is taken at once, whatever a failure rests on. The digest is denied only where the evidence does not rest on
one episode, or two: it is shown without the two worst stretches of time and without the worst visitor, or the weight of
this digest was taken for episodes before, in releases of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsys_assets.records import Episode, ModelVersion, Phase, Verdict
from recsys_assets.rollout.episodes import EPISODES_THAT_DENY, apart


@dataclass(frozen=True)
class Taken:
    """How the release ends, why, and the one episode that it rests on, if it does."""

    phase: Phase
    reason: str
    episode: Episode | None


def weight_taken(model: ModelVersion, against: Sequence[Verdict], *, earlier: Sequence[Episode]) -> Taken:
    """`against` are the guardrails that failed; `earlier` the episodes that ended earlier releases of this digest."""
    why = "; ".join(f"{v.check} FAIL: {v.reason}" for v in against)
    episodes = [v.episode for v in against if v.episode is not None]
    if len(episodes) < len(against):
        return Taken(Phase.ROLLED_BACK, why, None)
    episode = episodes[0]
    if model.drill:
        said = f"{episode.told()} ({episode.counted()}): weight taken away; the digest of a drill is never denied"
        return Taken(Phase.ROLLED_BACK, f"{said}; {why}", episode)
    count = len(apart([*earlier, episode]))
    if count >= EPISODES_THAT_DENY:
        said = f"{episode.told()} (episode {count} of this digest, each in a release of its own)"
        return Taken(Phase.ROLLED_BACK, f"{said}: weight taken away; digest denied; {why}", episode)
    left = f"{count} of the {EPISODES_THAT_DENY} releases that deny it"
    said = f"{episode.told()} ({episode.counted()}): weight taken away; digest not denied ({left})"
    return Taken(Phase.HELD, f"{said}; {why}", episode)
