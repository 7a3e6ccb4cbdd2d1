"""What a person may do to a release: approve it, roll it back now, let a rolled-back digest be tried again.

Here: who may say what when, and the rows that keep it. Not here: arguments (cli.py, jobs.py), or what a tick does.
"""

from __future__ import annotations

from recsys_assets.records import Decision, Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import move, read_state
from recsys_assets.rollout.denials import OVERRIDE
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.route import RouteState, planned_split
from recsys_assets.rollout.settle import settle


def rollback_now(desk: Desk, release_id: str, *, who: str, why: str) -> Decision:
    """A person takes the weight away, whatever the verdicts say. Raises ReleaseRefused when it has ended already."""
    state = _current(desk, release_id)
    if state.phase.is_end:
        raise ReleaseRefused(f"{release_id} has ended already: {state.phase.value}")
    seen = state.phase in {Phase.CANARY, Phase.BAKING}
    phase = Phase.ROLLED_BACK if seen else Phase.REJECTED
    decision = Decision(
        release_id=release_id,
        action="roll_back" if seen else "reject",
        phase=phase,
        step=state.step,
        split=planned_split(state.release, phase, state.step),
        reason=f"{who}: {why}",
    )
    settle(desk, move(desk.platform, desk.ledger, state, decision, actor=who, now=desk.clock()))
    return decision


def approve(desk: Desk, release_id: str, *, who: str, why: str = "") -> bool:
    """A person lets the release go to everybody once its verdicts pass; False when that was said before."""
    state = _current(desk, release_id)
    if state.phase.is_end:
        raise ReleaseRefused(f"{release_id} has ended already: {state.phase.value}")
    return desk.ledger.append(
        rows.APPROVED,
        release_id=release_id,
        actor=who,
        at=desk.clock(),
        key=f"{release_id}/{rows.APPROVED}",
        body={"reason": why},
    )


def override(desk: Desk, digest: str, *, who: str, why: str) -> str:
    """A person lets a rolled-back digest be tried once more; returns the full digest. A reason is required."""
    if not why.strip():
        raise ReleaseRefused("an override needs a reason")
    matches = [(full, release) for full, release in desk.ledger.denied(desk.clock()).items() if full.startswith(digest)]
    if len(matches) != 1:
        raise ReleaseRefused(f"{len(matches)} rolled-back digests start with {digest!r}; exactly one must")
    full, release_id = matches[0]
    now = desk.clock()
    desk.ledger.append(
        OVERRIDE,
        release_id=release_id,
        actor=who,
        at=now,
        key=f"{OVERRIDE}/{full}/{release_id}",
        body={"digest": full, "reason": why},
    )
    return full


def _current(desk: Desk, release_id: str) -> RouteState:
    state = read_state(desk.platform, desk.model_name)
    if state is None or state.release.release_id != release_id:
        standing = "no release" if state is None else state.release.release_id
        raise ReleaseRefused(f"{release_id} is not the release on the route, which holds {standing}")
    return state
