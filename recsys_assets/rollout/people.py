"""What a person may do: approve, pause, resume or roll back a release, and let a rolled-back digest be tried again.

Here: who may say what when, and the rows that keep it. Not here: arguments (cli.py, jobs.py), or what a tick does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from recsys_assets.platform.interface import Conflict
from recsys_assets.records import Decision, Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import move, read_state, record, rewrite
from recsys_assets.rollout.approval import asked_key
from recsys_assets.rollout.denials import DEFAULT_EXPIRY, MAX_EXPIRY, OVERRIDE, override_in_force
from recsys_assets.rollout.desk import Desk, ReleaseRefused
from recsys_assets.rollout.pauses import Pause
from recsys_assets.rollout.route import RouteState, planned_split

# A tick or the guard may write between our reading and our writing; they do so rarely, and then the world is read anew.
ATTEMPTS: Final = 5
LONGEST_NAME, LONGEST_REASON = 100, 1_000
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_T = TypeVar("_T")


def approve(desk: Desk, release_id: str, *, who: str, why: str = "") -> None:
    """A person lets the release go to everybody once its verdicts pass."""
    who, why = _named(who), _reason(why) if why.strip() else ""
    state = _under_way(desk, release_id)
    if not state.release.plan.needs_approval:
        raise ReleaseRefused(f"{release_id} needs no approval by its plan; it goes on by itself")
    asked = desk.ledger.has(asked_key(release_id))
    new = desk.ledger.append(
        rows.APPROVED,
        release_id=release_id,
        actor=who,
        at=desk.clock(),
        key=f"{release_id}/{rows.APPROVED}",
        body={"reason": why, "weight_bp": state.split.canary_weight_bp, "asked": asked},
    )
    if not new:
        by = next(e for e in desk.ledger.events(release_id) if e.kind == rows.APPROVED)
        raise ReleaseRefused(f"{release_id} was approved already, by {by.actor} at {_when(by.at)}")


def pause(desk: Desk, release_id: str, *, who: str, why: str) -> RouteState:
    """A person stops the release where it stands. Harm still rolls it back; its deadline waits."""
    who, why = _named(who), _reason(why)

    def change() -> RouteState:
        state = _under_way(desk, release_id)
        if state.paused is not None:
            raise ReleaseRefused(f"{release_id} is {state.paused.told()}")
        return _rewritten(desk, state, (*state.pauses, Pause(who=who, why=why, since=desk.clock())), state.deadline)

    return _tried(release_id, change)


def resume(desk: Desk, release_id: str, *, who: str, why: str) -> RouteState:
    """A person lets a paused release go on; the deadline moves by as long as it was paused."""
    who, why = _named(who), _reason(why)

    def change() -> RouteState:
        state, now = _under_way(desk, release_id), desk.clock()
        if state.paused is None:
            raise ReleaseRefused(f"{release_id} is not paused")
        over = state.paused.model_copy(update={"until": now, "resumed_by": who, "resumed_why": why})
        waited = max(now - over.since, timedelta(0))
        return _rewritten(desk, state, (*state.pauses[:-1], over), state.deadline + waited)

    return _tried(release_id, change)


def rollback_now(desk: Desk, release_id: str, *, who: str, why: str) -> Decision:
    """A person takes the weight away, whatever the verdicts say. Like the guard, this needs the route and nothing
    else; what follows the end (aliases, services, marks) is done by the next tick."""
    who, why = _named(who), _reason(why)

    def change() -> Decision:
        state = _under_way(desk, release_id)
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
        move(desk.platform, desk.ledger, state, decision, actor=who, now=desk.clock(), clock=desk.mark())
        return decision

    return _tried(release_id, change)


def override(
    desk: Desk, digest: str, *, who: str, why: str, expires: timedelta = DEFAULT_EXPIRY
) -> tuple[str, datetime]:
    """A person lets a rolled-back digest be released again; returns the full digest, and until when."""
    who, why = _named(who), _reason(why)
    if not timedelta(0) < expires <= MAX_EXPIRY:
        raise ReleaseRefused(f"an override expires after some time, {MAX_EXPIRY.days} days at the most")
    now = desk.clock()
    if allowed := override_in_force(desk.ledger.events(), digest, now):
        raise ReleaseRefused(f"{allowed[0]} is overridden already, until {_when(allowed[1])}")
    matches = [(full, release) for full, release in desk.ledger.denied(now).items() if full.startswith(digest)]
    if not digest or len(matches) != 1:
        raise ReleaseRefused(f"{len(matches)} rolled-back digests start with {digest!r}; exactly one must")
    full, release_id = matches[0]
    desk.ledger.append(
        OVERRIDE,
        release_id=release_id,
        actor=who,
        at=now,
        key=f"{OVERRIDE}/{full}/{release_id}/{now.isoformat()}",
        body={"digest": full, "reason": why, "expires_at": (now + expires).isoformat()},
    )
    return full, now + expires


def read_expiry(text: str) -> timedelta:
    """How long an override lasts: `90m`, `24h`, `3d`."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text.strip())
    if found is None:
        raise ReleaseRefused(f"{text!r} is no length of time such as 90m, 24h or 3d")
    return int(found[1]) * _UNITS[found[2]]


def _under_way(desk: Desk, release_id: str) -> RouteState:
    state = read_state(desk.platform, desk.model_name)
    if state is None or state.release.release_id != release_id:
        ended = next((r for r in desk.ledger.releases() if r.release_id == release_id), None)
        if ended is not None:
            raise ReleaseRefused(f"{release_id} has ended already: {ended.phase.value}")
        standing = "no release" if state is None else state.release.release_id
        raise ReleaseRefused(f"{release_id} is not the release on the route, which holds {standing}")
    if state.phase.is_end:
        raise ReleaseRefused(f"{release_id} has ended already: {state.phase.value}")
    return state


def _rewritten(desk: Desk, state: RouteState, pauses: tuple[Pause, ...], deadline: datetime) -> RouteState:
    after = rewrite(desk.platform, state, pauses=pauses, deadline=deadline)
    record(desk.ledger, after)
    return after


def _tried(release_id: str, change: Callable[[], _T]) -> _T:
    """Read, decide and write, anew after each race that was lost."""
    for _ in range(ATTEMPTS):
        try:
            return change()
        except Conflict:
            continue
    raise ReleaseRefused(f"the route of {release_id} changed {ATTEMPTS} times while this was said; say it again")


def _named(who: str) -> str:
    name = who.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ReleaseRefused(f"who says so? A name is needed, of {LONGEST_NAME} characters at the most")
    return name


def _reason(why: str) -> str:
    reason = " ".join(why.split())
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise ReleaseRefused(f"a reason is needed, of {LONGEST_REASON:,} characters at the most")
    return reason


def _when(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
