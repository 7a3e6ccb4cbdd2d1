"""What a release under way wants from people: an approval, an end of its pause, a look at a frozen one.

Here: pure, in words, from the same view that everything else shows. Not here: printing (cli.py), or sending
(notifications).
"""

from __future__ import annotations

from collections.abc import Sequence

from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.ledger import Event
from recsys_assets.rollout.shown.view import ReleaseView
from recsys_assets.rollout.words import APPROVE_JOB, how_to_approve, launchpad


def notices(view: ReleaseView, events: Sequence[Event], *, ui_url: str) -> list[str]:
    """Nothing once it has ended. `events` are the release's rows, in order."""
    if view.phase.is_end or view.state is None:
        return []
    return [*_approval(view.release_id, {e.kind for e in events}, ui_url), *_pause(view), *_frozen(view, events)]


def _approval(release_id: str, kinds: set[str], ui_url: str) -> list[str]:
    if rows.APPROVAL_ASKED not in kinds or rows.APPROVED in kinds:
        return []
    command, link = how_to_approve(release_id)["command"], launchpad(ui_url, APPROVE_JOB, release_id)
    return [f"{release_id} waits for a person's approval:", f"  {command}", f"  or in Dagster: {link}"]


def _pause(view: ReleaseView) -> list[str]:
    if view.state is None or view.state.paused is None:
        return []
    told = f"{view.release_id} is {view.state.paused.told()}"
    return [told, f"  recsys-assets resume {view.release_id} --why '...'"]


def _frozen(view: ReleaseView, events: Sequence[Event]) -> list[str]:
    """Frozen now, by the same look that says why it waits; since when is in the rows after the latest move."""
    if view.action != "pause":
        return []
    since = [e.at for e in events if e.kind == rows.FROZEN and e.at >= view.changed_at]
    at = f" since {since[0].isoformat(timespec='seconds')}" if since else ""
    return [f"{view.release_id} is frozen{at}:", f"  recsys-assets rollback {view.release_id} --why '...'"]
