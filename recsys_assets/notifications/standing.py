"""How the notifications stand, for people: what was taken, what waits, and why.

Here: lines for `recsys-assets status`. Not here: any sending.
"""

from __future__ import annotations

from collections.abc import Iterator

from recsys_assets.notifications.outbox import Outbox, Standing
from recsys_assets.notifications.receivers import receivers
from recsys_assets.rollout.ledger import open_ledger
from recsys_assets.settings import Settings


def standing_lines(settings: Settings) -> Iterator[str]:
    """One line for each webhook; none where nobody is to be told."""
    outbox, last = Outbox(settings.path("notifications.db")), open_ledger(settings).last_seq()
    for receiver in receivers(settings):
        yield f"notifications to {receiver.name}: {told(outbox.standing(receiver.id), last)}"


def told(standing: Standing | None, last: int) -> str:
    """One webhook's words. `last` is the ledger's latest row."""
    if standing is None:
        return "never looked after yet; does the notifier run? (`recsys-assets up`)"
    words = [f"{standing.delivered} taken"]
    if standing.waiting:
        tried = f"tried {standing.attempts} times" if standing.attempts else "not tried yet"
        error = f", last: {standing.error}" if standing.error else ""
        again = f", again at {standing.next_at.isoformat(timespec='seconds')}" if standing.next_at else ""
        words.append(f"{standing.waiting} WAITING ({tried}{error}{again})")
    if standing.position < last:
        words.append(f"{last - standing.position} ledger rows not looked at; does the notifier run?")
    return ", ".join(words)
