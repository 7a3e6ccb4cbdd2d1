"""A release as every place shows it: from the route, the ledger and the analysis of this moment.

Here: the one function that builds the view; assets, sensor, `status` and `show` print nothing else. Not here: printing.
The route tells where a release is. The ledger tells of releases that the route does not hold any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from recsys_assets.records import Decision, ModelVersion, Phase, Verdict
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import Audience, Event, ReleaseRow
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.settle import audience
from recsys_assets.rollout.tick import decide_on

_NEXT: Final = {
    "advance": "goes on with the next tick",
    "promote": "is promoted with the next tick",
    "roll_back": "is rolled back with the next tick",
    "reject": "is rejected with the next tick",
}
_ENDS: Final = frozenset(phase.value for phase in Phase if phase.is_end)


@dataclass(frozen=True)
class ReleaseView:
    """One release at one moment.

    `why` is what it waits for now, or why it ended. `seen` counts visitors by variant; `everybody_from` and
    `everybody_until` bound the time in which all users got it. `state` is the route where it holds this release.
    """

    release_id: str
    model: ModelVersion
    follows: str | None
    phase: Phase
    weight_bp: int
    action: str
    why: str
    opened_at: datetime
    changed_at: datetime
    looked_at: datetime
    verdicts: tuple[Verdict, ...] = ()
    seen: tuple[Audience, ...] = ()
    everybody_from: datetime | None = None
    everybody_until: datetime | None = None
    state: RouteState | None = None

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def share(self) -> str:
        """Who gets it."""
        return "all users" if self.everybody_from and not self.everybody_until else f"{self.weight_bp / 100:g} %"

    @property
    def line(self) -> str:
        """All in one line, as the sensor's ticks tell it."""
        return f"{self.release_id}: version {self.version}, {self.phase.value}, {self.share}: {self.why}"

    @property
    def who_saw(self) -> str:
        """Who saw what, in words."""
        told = [f"{a.variant}: {a.visitors:,} visitors in {a.seconds:.0f} s" for a in self.seen]
        if self.everybody_from:
            until = f" until {_time(self.everybody_until)}" if self.everybody_until else ""
            told.append(f"all users since {_time(self.everybody_from)}{until}")
        return ", ".join(told) or "nobody saw it"


def current(desk: Desk, *, decision: Decision | None = None) -> ReleaseView | None:
    """The release on the route; where there is no route, the latest that the ledger knows; None before the first.

    `decision` is a tick's that held just now: it is not made twice.
    """
    state = read_state(desk.platform, desk.model_name)
    if state is not None:
        return _on_route(desk, state, decision)
    latest = next(iter(reversed(by_ledger(desk))), None)
    return None if latest is None else _with_verdicts(desk, latest)


def of_release(desk: Desk, release_id: str, *, decision: Decision | None = None) -> ReleaseView:
    """This release, on the route or not. LookupError where nobody knows it."""
    found = current(desk, decision=decision)
    if found is not None and found.release_id == release_id:
        return found
    past = [view for view in by_ledger(desk) if view.release_id == release_id]
    if not past:
        raise LookupError(f"no release {release_id}")
    return _with_verdicts(desk, past[0])


def every(desk: Desk) -> list[ReleaseView]:
    """All releases, oldest first."""
    state = read_state(desk.platform, desk.model_name)
    past = by_ledger(desk)
    if state is None:
        return past
    return [view for view in past if view.release_id != state.release.release_id] + [_on_route(desk, state, None)]


def _on_route(desk: Desk, state: RouteState, decision: Decision | None) -> ReleaseView:
    release, now = state.release, desk.clock()
    view = ReleaseView(
        release_id=release.release_id,
        model=release.model,
        follows=release.champion,
        phase=state.phase,
        weight_bp=state.split.canary_weight_bp,
        action=state.action,
        why=f"{state.reason}; {state.manual_edit}" if state.phase.is_end and state.manual_edit else state.reason,
        opened_at=release.opened_at,
        changed_at=state.entered_at,
        looked_at=now,
        seen=_seen(desk, state, now),
        everybody_from=state.entered_at if state.phase is Phase.CHAMPION else None,
        state=state,
    )
    if state.phase.is_end:
        return _with_verdicts(desk, view)
    found = decision if decision is not None and _is_about(decision, state) else decide_on(desk, state)
    ahead = f"{_NEXT[found.action]}: " if found.action in _NEXT else ""
    return replace(view, action=found.action, why=f"{ahead}{found.reason}", verdicts=found.verdicts)


def _is_about(decision: Decision, state: RouteState) -> bool:
    """A decision that moved is about the step before; what is waited for in the new step is another question."""
    same = (decision.release_id, decision.phase, decision.step) == (state.release.release_id, state.phase, state.step)
    return same and decision.action in {"hold", "pause"} and decision.split == state.split


def _seen(desk: Desk, state: RouteState, now: datetime) -> tuple[Audience, ...]:
    """Counted once for good when it ended; until then counted now."""
    counted = desk.ledger.audience(state.release.release_id)
    began = next((w.since for w in state.weights if w.weight_bp), None)
    if counted or began is None:
        return tuple(counted)
    return tuple(Audience(**row) for row in audience(desk.metrics.gateway_only(began), since=began, until=now))


def by_ledger(desk: Desk) -> list[ReleaseView]:
    """All releases as the rows tell them, oldest first. A champion had all users until the next one."""
    events, now = desk.ledger.events(), desk.clock()
    found = [_past(row, [e for e in events if e.release_id == row.release_id], now) for row in desk.ledger.releases()]
    promoted = [view for view in found if view.phase is Phase.CHAMPION]
    for number, view in enumerate(promoted):
        after = promoted[number + 1].changed_at if number + 1 < len(promoted) else None
        found[found.index(view)] = replace(view, everybody_from=view.changed_at, everybody_until=after)
    return found


def _past(row: ReleaseRow, mine: Sequence[Event], now: datetime) -> ReleaseView:
    opened = next(e for e in mine if e.kind == rows.OPENED)
    counted = [e.body["variants"] for e in mine if e.kind == rows.AUDIENCE]
    return ReleaseView(
        release_id=row.release_id,
        model=ModelVersion.model_validate(opened.body["model"]),
        follows=opened.body.get("champion"),
        phase=row.phase,
        weight_bp=row.weight_bp,
        action="end" if row.phase.is_end else "hold",
        why=row.why,
        opened_at=row.opened_at,
        changed_at=row.changed_at,
        looked_at=now,
        seen=tuple(Audience(**each) for each in counted[-1]) if counted else (),
    )


def _with_verdicts(desk: Desk, view: ReleaseView) -> ReleaseView:
    return replace(view, verdicts=latest_verdicts(desk.ledger.events(view.release_id)))


def latest_verdicts(events: Sequence[Event]) -> tuple[Verdict, ...]:
    """The latest verdict of each check; those of the row that ended the release count last, whoever wrote it."""
    ordered = sorted(events, key=lambda e: e.kind in _ENDS)
    found = [Verdict.model_validate(v) for e in ordered for v in e.body.get("verdicts", [])]
    return tuple({v.check: v for v in found}.values())


def _time(at: datetime | None) -> str:
    return "" if at is None else at.isoformat(timespec="seconds")
