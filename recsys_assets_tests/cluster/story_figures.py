"""What the story measured: seconds of each phase, requests lost by what was going on, the split beside its weights.

Here: arithmetic over the record. Not here: any claim (test_story.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.kills import clients, judge
from recsys_assets_tests.cluster.story import Played, Span

K = clients.K
Figures = dict[str, float | int | str]


def of_span(answers: Sequence[judge.Answer], span: Span) -> list[judge.Answer]:
    return [answer for answer in answers if span.began <= answer.scheduled < span.ended]


def split_of(played: Played, answers: Sequence[judge.Answer]) -> list[tuple[int, int, int]]:
    """Weight in basis points, visitors that came in its time, and how many of them the canary answered.

    One row for each stretch with two models, without its first second and last.
    """
    rows = []
    for route, following in pairwise(played.watch.in_force):
        if not 0 < route.canary_bp < 10_000:
            continue
        mine = [a for a in answers if route.at + 1 <= a.sent and a.done <= following.at - 1 and a.status == "200"]
        visitors = {a.visitor for a in mine}
        canary = {a.visitor for a in mine if a.version == route.canary}
        if visitors:
            rows.append((route.canary_bp, len(visitors), len(canary)))
    return rows


def figures(played: Played) -> Figures:
    """Flat, with stable keys that end in their unit."""
    answers = judge.read_answers(played.answers)
    found: Figures = {"requests": len(answers), "requests_lost": len(judge.lost(answers, K))}
    for span in played.spans:
        mine, key = of_span(answers, span), span.name.replace(" ", "_")
        found[f"{key}_seconds"] = round(span.ended - span.began, 1)
        if mine:
            found |= {f"{key}_requests": len(mine), f"{key}_requests_lost": len(judge.lost(mine, K))}
            found |= {f"{key}_{name}": value for name, value in _latency(mine).items()}
    found |= {
        "requests_misrouted": len(judge.misrouted(answers, played.watch.in_force, slack_seconds=1.0)),
        "visitors_flipped": len(
            {a.visitor for a, _ in judge.flipped(answers, played.watch.in_force, slack_seconds=1.0)}
        ),
        "visitors": len({a.visitor for a in answers}),
    }
    for what in sorted({what for what, _ in played.kills}):
        found[f"kills_{what.replace(' ', '_')}"] = sum(each == what for each, _ in played.kills)
    return found | _phases(played) | _splits(played, answers) | _rollback(played, answers)


def _latency(answers: Sequence[judge.Answer]) -> dict[str, float]:
    ordered = sorted(answer.ms for answer in answers)
    return {
        f"latency_p{share}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1)
        for share in (50, 99)
    }


def _phases(played: Played) -> Figures:
    """How long each release stayed in each of its phases."""
    found: Figures = {}
    for now, following in pairwise(played.watch.seen):
        if now.release_id == following.release_id:
            key = f"v{now.version}_{now.phase.value}_{now.weight_bp}_bp_seconds"
            found[key] = round(following.at - now.at, 1)
    return found


def _splits(played: Played, answers: Sequence[judge.Answer]) -> Figures:
    return {
        f"split_{number}_{weight}_bp_canary_share": round(canary / visitors, 4)
        for number, (weight, visitors, canary) in enumerate(split_of(played, answers))
    }


def _rollback(played: Played, answers: Sequence[judge.Answer]) -> Figures:
    """From switching the fault on to the last user who met it."""
    met = [a.done for a in answers if (a.version == "3" or a.status == "500") and a.done > played.switched_on]
    return {"failing_model_gone_after_seconds": round(max(met) - played.switched_on, 2)} if met else {}


def written(found: Mapping[str, float | int | str], path: str | None) -> None:
    """Print the figures, and keep them where a path is named."""
    for key, value in found.items():
        print(f"  {key:<55} {value}")  # noqa: T201
    if path:
        Path(path).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
