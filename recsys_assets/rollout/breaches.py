"""What the guard looks for: verdicts since the canary began, and of the last half minute by itself.

Here: pure questions to the analysis, and what an answer means for the weight. Not here: reading, looking again
(guard.py), or any step forward (phases.py).

The verdicts since the canary began are the tick's own: the guard and the tick never disagree about them. But after
hours of good answers a breach of a minute drowns in them. So each EPOCH_SECONDS begins a test of its own, which looks
at its own rows for two epochs. Epoch k has alpha / 10 (k + 1)(k + 2) to err, all of them together a twentieth of alpha:
however long a release takes, looking at each moment afresh costs a good canary no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from recsys_assets.records import Decision, Episode, Outcome, Phase, Verdict
from recsys_assets.rollout.analysis import quality
from recsys_assets.rollout.evidence import GUARDRAILS, STABLE, answered_lately
from recsys_assets.rollout.guardrails import degraded, errors, guard_verdicts, stable_health
from recsys_assets.rollout.outcomes import ALL_BP, Logs, Scope, gateway_requests, visitor_outcomes
from recsys_assets.rollout.route import RouteState, lease_is_over, planned_split
from recsys_assets.rollout.taking import Taken, weight_taken

EPOCH_SECONDS: Final = 30.0
# A breach of a minute is no close call; what these tests may cost good canaries is a small part of what the others may.
EPOCHS_ALPHA_SHARE: Final = 0.1
# The bound of an epoch is asymptotic and its alpha small: it asks for more visitors than the burn-in of the whole.
EPOCH_VISITORS: Final = 100
Questions = Callable[[Logs, Scope, Scope], Iterable[Verdict]]


def gateway_verdicts(logs: Logs, scope: Scope) -> tuple[Verdict, ...]:
    """Errors and latency, lately and since the canary began, and whether stable is fit: all from the gateway's rows."""
    requests = gateway_requests(logs, scope)
    whole = (*guard_verdicts(logs, scope, requests), stable_health(logs, scope, requests))
    return whole + _lately(logs, scope, _recent_gateway)


def full_verdicts(logs: Logs, scope: Scope) -> tuple[Verdict, ...]:
    """Quality and degraded answers, which need what the servers and the collector wrote as well."""
    whole = (
        quality(logs, scope, visitor_outcomes(logs, scope)),
        degraded(logs, scope, gateway_requests(logs, scope)),
    )
    return whole + _lately(logs, scope, _recent_full)


def judge_breach(
    state: RouteState,
    verdicts: tuple[Verdict, ...],
    *,
    stable_ready: bool,
    stable_there: bool = True,
    now: datetime,
    earlier: Sequence[Episode] = (),
) -> Decision | None:
    """Take the weight at a breach, and at an expired lease, which is nobody's verdict on the model; else nothing.

    No data is no breach: the lease takes the weight when nobody can judge any more. A verdict on another version says
    nothing about this one. taking.py says what a breach means for the digest; `earlier` are the episodes that ended its
    earlier releases.
    """
    failed = [v for v in verdicts if v.outcome is Outcome.FAIL and v.model_version == state.version]
    against = [v for v in failed if v.check in GUARDRAILS]
    if not against and not lease_is_over(state, now):
        return None
    lease = f"nobody looked after it since the lease ran out at {state.lease.isoformat(timespec='seconds')}"
    taken = weight_taken(state.release.model, against, earlier=earlier) if against else Taken(Phase.HELD, lease, None)
    broken = [v for v in failed if v.check == STABLE]
    gone = not stable_ready and not (stable_there and answered_lately(verdicts))
    if gone or any(v.episode is None for v in broken):
        why = f"frozen, call a person: stable is broken too; {taken.reason}"
        return _decision(state, "pause", state.phase, why, verdicts)
    if broken or not stable_ready:
        return None  # stable stalls just now, and may not get all users; nobody is called for what may be over at once
    decision = _decision(state, "roll_back", taken.phase, taken.reason, verdicts)
    return decision.model_copy(update={"episode": taken.episode})


def epochs(scope: Scope) -> list[Scope]:
    """The epoch under way and the one before it, each as a scope of its own; none before the first is over."""
    if scope.start is None:
        return []
    under_way = int((scope.now - scope.start).total_seconds() // EPOCH_SECONDS)
    return [_epoch(scope, scope.start, number) for number in (under_way - 1, under_way) if number >= 1]


def _epoch(scope: Scope, start: datetime, number: int) -> Scope:
    begin = start + timedelta(seconds=number * EPOCH_SECONDS)
    in_force = [w for w in scope.weights if w.since <= begin][-1]
    weights = (replace(in_force, since=begin), *(w for w in scope.weights if w.since > begin))
    changes = {
        "alpha": scope.plan.alpha * EPOCHS_ALPHA_SHARE / ((number + 1) * (number + 2)),
        # What a visitor did before the epoch may be the canary's own doing: no history.
        "history_seconds": 0.0,
        # Tightest for the few visitors that an epoch has.
        "min_visitors_per_arm": min(scope.plan.min_visitors_per_arm, EPOCH_VISITORS),
    }
    return replace(scope, weights=weights, plan=scope.plan.model_copy(update=changes))


def _lately(logs: Logs, scope: Scope, questions: Questions) -> tuple[Verdict, ...]:
    """What failed in an epoch. That nothing is shown there is no news."""
    found = [(epoch, verdict) for epoch in epochs(scope) for verdict in questions(logs, scope, epoch)]
    return tuple(_since(epoch, verdict) for epoch, verdict in found if verdict.outcome is Outcome.FAIL)


def _since(epoch: Scope, verdict: Verdict) -> Verdict:
    began = f"since {epoch.weights[0].since.isoformat(timespec='seconds')}"
    return verdict.model_copy(update={"reason": f"{began}: {verdict.reason}"})


def _recent_gateway(logs: Logs, scope: Scope, epoch: Scope) -> Iterable[Verdict]:
    requests = gateway_requests(logs, epoch)
    if not epoch.baking:
        return guard_verdicts(logs, epoch, requests)
    # At full weight nobody is left to ask stable: its rows of before stand for it. Not for latency, which the machine's
    # load of the moment decides.
    before = gateway_requests(logs, scope).filter(pl.col("variant") == "stable")
    both = pl.concat([requests.filter(pl.col("variant") == "canary"), before])
    return [errors(logs, epoch, both.with_columns(weight_bp=pl.lit(ALL_BP, dtype=pl.Int64)))]


def _recent_full(logs: Logs, _scope: Scope, epoch: Scope) -> Iterable[Verdict]:
    found = [degraded(logs, epoch, gateway_requests(logs, epoch))]
    outcomes = visitor_outcomes(logs, epoch)
    canary = int(outcomes.visitors["is_canary"].sum())
    if min(canary, outcomes.visitors.height - canary) >= epoch.plan.min_visitors_per_arm:
        found.append(quality(logs, epoch, outcomes))
    return found


def _decision(state: RouteState, action: str, phase: Phase, reason: str, verdicts: tuple[Verdict, ...]) -> Decision:
    moves = phase is not state.phase
    return Decision(
        release_id=state.release.release_id,
        action="roll_back" if action == "roll_back" else "pause",
        phase=phase,
        step=state.step,
        split=planned_split(state.release, phase, state.step) if moves else state.split,
        reason=reason,
        verdicts=verdicts,
    )
