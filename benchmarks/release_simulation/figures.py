"""From ended releases to figures: shares with exact bounds, samples against the fixed one.

Here: arithmetic on results. Not here: running anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from benchmarks.release_simulation.peers import Judged
from benchmarks.release_simulation.release import Ended
from recsys_assets.rollout.evidence import ERRORS

Flat = dict[str, float | int]
ENDINGS = ("champion", "harm", "episode", "futile", "undecided")
# The weight was taken for a failure that was shown; the digest is denied for harm only.
TAKEN = ("harm", "episode")


@dataclass(frozen=True)
class Result:
    """One release: by the product, the fixed sample under its own ramp (visitors; those who had come), and by peers."""

    ended: Ended
    fixed: int
    fixed_arrived: int
    arrived: int
    peers: dict[str, Judged]


def exact(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson: both sides together err with probability <= 1 - level."""
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1 - tail, count + 1, n - count))
    return low, high


def share(name: str, count: int, n: int) -> Flat:
    low, high = exact(count, n)
    figures: Flat = {name: round(count / n, 5) if n else 0.0}
    return figures | {f"{name}_low_95": round(low, 5), f"{name}_high_95": round(high, 5)}


def scenario(name: str, results: Sequence[Result]) -> Flat:
    """How they ended, and what it took."""
    n, ends = len(results), Counter(r.ended.ending for r in results)
    figures: Flat = {f"releases_{name}": n}
    for ending in ENDINGS:
        figures |= share(f"{ending}_share_{name}", ends[ending], n)
    exposed = [r.ended.exposed for r in results]
    figures |= {
        f"exposed_visitors_{name}_median": round(float(np.median(exposed))),
        f"exposed_visitors_{name}_p95": round(float(np.quantile(exposed, 0.95))),
        f"decision_{name}_median_seconds": float(np.median([r.ended.seconds for r in results])),
        f"requests_{name}_mean": round(float(np.mean([r.ended.requests for r in results]))),
        f"ticks_{name}_mean": round(float(np.mean([r.ended.ticks for r in results])), 1),
        f"expected_sample_over_fixed_{name}": _ratio([r.ended.visitors for r in results], [r.fixed for r in results]),
    }
    return figures


def headline(results: dict[str, Sequence[Result]]) -> Flat:
    """The figures that goals R1 and R2 ask for."""
    margin, aa, errors = results["at_margin"], results["aa"], results["3x_errors"]
    promoted = sum(r.ended.ending == "champion" for r in margin)
    rolled_back = sum(r.ended.ending in TAKEN for r in aa)
    caught = sum(r.ended.ending in TAKEN and ERRORS in r.ended.checks for r in errors)
    passed = sum(r.ended.ending == "champion" for r in aa)
    figures: Flat = {"releases_at_margin": len(margin), "promoted_at_margin": promoted}
    figures |= share("promoted_share_at_margin", promoted, len(margin))
    figures |= share("false_rollback_share_aa", rolled_back, len(aa))
    figures |= share("false_denial_share_aa", sum(r.ended.ending == "harm" for r in aa), len(aa))
    figures |= share("caught_share_3x_errors", caught, len(errors))
    figures |= share("let_through_share_3x_errors", sum(r.ended.ending == "champion" for r in errors), len(errors))
    figures["expected_sample_over_fixed"] = _ratio([r.ended.visitors for r in aa], [r.fixed for r in aa])
    figures |= _ratio_bounds([r.ended.visitors for r in aa], [r.fixed for r in aa])
    figures["expected_arrivals_over_fixed"] = _ratio([r.arrived for r in aa], [r.fixed_arrived for r in aa])
    figures |= share("power_no_difference", passed, len(aa))
    figures["fixed_sample_visitors"] = round(float(np.mean([r.fixed for r in aa])))
    for name in ("with_history", "without_history"):
        rule = f"every_visitor_{name}"
        taken = [r.peers[rule] for r in aa]
        figures[f"expected_sample_over_fixed_{rule}"] = _ratio(
            [j.visitors for j in taken], [r.peers["fixed_horizon"].visitors for r in aa]
        )
        figures[f"power_{rule}"] = round(sum(j.end == "promoted" for j in taken) / len(aa), 4)
        at_margin = sum(r.peers[rule].end == "promoted" for r in margin)
        figures[f"promoted_share_at_margin_{rule}"] = round(at_margin / len(margin), 5)
    return figures


def peers(results: dict[str, Sequence[Result]]) -> dict[str, Flat]:
    """What each other rule did with the same people."""
    found: dict[str, Flat] = {}
    for rule in ("flagger_like", "kayenta_like", "fixed_horizon", "naive_peeking"):
        figures: Flat = {}
        for name, of in results.items():
            ends = Counter(r.peers[rule].end for r in of)
            for end in ("promoted", "rolled_back", "undecided"):
                figures[f"{end}_share_{name}"] = round(ends[end] / len(of), 5)
        if all(r.peers[rule].visitors for r in results["aa"]):
            aa = results["aa"]
            figures["expected_sample_over_fixed"] = _ratio(
                [r.peers[rule].visitors for r in aa], [r.peers["fixed_horizon"].visitors for r in aa]
            )
        found[rule] = figures
    return found


def _ratio(taken: Sequence[float], fixed: Sequence[float]) -> float:
    return round(float(np.mean(taken) / np.mean(fixed)), 4)


def _ratio_bounds(taken: Sequence[float], fixed: Sequence[float]) -> Flat:
    """Of the ratio of means, by the delta method."""
    x, y = np.array(taken, dtype=float), np.array(fixed, dtype=float)
    ratio = x.mean() / y.mean()
    error = 1.96 * float(np.std(x - ratio * y)) / np.sqrt(len(x)) / y.mean()
    return {
        "expected_sample_over_fixed_low_95": round(float(ratio - error), 4),
        "expected_sample_over_fixed_high_95": round(float(ratio + error), 4),
    }
