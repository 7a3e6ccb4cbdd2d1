"""What a release under way wants from people, by its rows: an approval, an end of its pause, a look at a frozen one.

Here: pure, in words. Not here: printing (cli.py), or sending (notifications).
"""

from __future__ import annotations

from collections.abc import Sequence

from recsys_assets.records import Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.ledger import Event
from recsys_assets.rollout.words import APPROVE_JOB, how_to_approve, launchpad

_ENDS = frozenset(phase.value for phase in Phase if phase.is_end)


def notices(events: Sequence[Event], *, ui_url: str) -> list[str]:
    """Of the latest release, nothing once it has ended. `events` are all rows, in order."""
    opened = [e.release_id for e in events if e.kind == rows.OPENED]
    mine = [e for e in events if opened and e.release_id == opened[-1]]
    kinds = {e.kind for e in mine}
    if not mine or kinds & _ENDS:
        return []
    release_id = opened[-1]
    return [*_approval(release_id, kinds, ui_url), *_pause(release_id, mine), *_frozen(release_id, mine)]


def _approval(release_id: str, kinds: set[str], ui_url: str) -> list[str]:
    if rows.APPROVAL_ASKED not in kinds or rows.APPROVED in kinds:
        return []
    command, link = how_to_approve(release_id)["command"], launchpad(ui_url, APPROVE_JOB, release_id)
    return [f"{release_id} waits for a person's approval:", f"  {command}", f"  or in Dagster: {link}"]


def _pause(release_id: str, mine: Sequence[Event]) -> list[str]:
    said = [e for e in mine if e.kind in {rows.PAUSED, rows.RESUMED}]
    if not said or said[-1].kind == rows.RESUMED:
        return []
    at, why = said[-1].at.isoformat(timespec="seconds"), said[-1].body.get("reason", "")
    return [
        f"{release_id} is paused by {said[-1].actor} since {at}: {why}",
        f"  recsys-assets resume {release_id} --why '...'",
    ]


def _frozen(release_id: str, mine: Sequence[Event]) -> list[str]:
    """Frozen rows before the latest move say nothing any more."""
    moves = [place for place, e in enumerate(mine) if e.kind in rows.PHASES]
    frozen = [e for e in mine[moves[-1] if moves else 0 :] if e.kind == rows.FROZEN]
    if not frozen:
        return []
    told = (
        f"{release_id} was frozen at {frozen[-1].at.isoformat(timespec='seconds')}: {frozen[-1].body.get('reason', '')}"
    )
    return [told, f"  recsys-assets rollback {release_id} --why '...'"]
