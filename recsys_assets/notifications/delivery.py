"""From the ledger to one receiver: at least once, in order, with ever longer waits; nothing is ever given up.

Here: what is tried when. Not here: the process (notifier.py), the connection (sender.py), the words (messages.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from recsys_assets.notifications.messages import CONTENT_TYPE, TOLD, cloud_event
from recsys_assets.notifications.outbox import Message, Outbox
from recsys_assets.notifications.receivers import Receiver, SecretUnusable
from recsys_assets.notifications.sender import Unreachable, post
from recsys_assets.notifications.signature import sign
from recsys_assets.rollout.ledger import OPENED, Event, Ledger

# A webhook that is new hears what happened since it may have been meant to, not the history of years.
FIRST_LOOK_BACK: Final = timedelta(hours=1)
LONGEST_WAIT: Final = timedelta(minutes=5)
log = logging.getLogger("recsys_assets.notifier")


@dataclass(frozen=True)
class Route:
    """Everything that one receiver's messages need on their way."""

    receiver: Receiver
    ledger: Ledger
    outbox: Outbox
    model_name: str
    ui_url: str
    clock: Callable[[], datetime]


def wait_after(attempts: int) -> timedelta:
    """1 s, 2 s, 4 s, ... up to five minutes, for ever."""
    return min(timedelta(seconds=2.0 ** min(attempts - 1, 30)), LONGEST_WAIT)


def collect(route: Route) -> None:
    """Write the messages of new ledger rows into the outbox; a crash repeats it, and that changes nothing."""
    receiver, last = route.receiver, route.ledger.last_seq()
    position = route.outbox.position(receiver.id)
    if position is None:
        since = route.clock() - FIRST_LOOK_BACK
        position = max((e.seq for e in route.ledger.events() if e.at < since), default=0)
        route.outbox.put(receiver.id, [], position=position)
    if position > last:
        log.warning("%s: the ledger is a new one; it is read from its beginning", receiver.name)
        position = 0
    if position == last:
        return
    new = route.ledger.after(position)
    messages = [m for row in new if (m := _message(route, row)) is not None]
    route.outbox.put(receiver.id, messages, position=new[-1].seq)


def _message(route: Route, row: Event) -> Message | None:
    if TOLD.get(row.kind) not in route.receiver.events:
        return None
    opening = next((e.body for e in route.ledger.events(row.release_id) if e.kind == OPENED), {})
    body = cloud_event(row, opening, model_name=route.model_name, ui_url=route.ui_url)
    return None if body is None else Message(row.key, row.seq, body)


def deliver(route: Route) -> None:
    """Try what is due. A message that is not taken waits by itself; where nobody answers, all of them wait."""
    receiver, outbox = route.receiver, route.outbox
    for message in outbox.due(receiver.id, route.clock(), longest_wait=LONGEST_WAIT):
        try:
            status = _send(receiver, message, route.clock())
            error = "" if 200 <= status < 300 else f"HTTP {status}"
        except SecretUnusable as unusable:
            error = str(unusable)
        except Unreachable as nobody:
            until = route.clock() + wait_after(message.attempts + 1)
            outbox.put_off(receiver.id, message.key, until=until, error=str(nobody))
            outbox.put_off_all(receiver.id, until=until)
            log.warning("%s: %s was not taken: %s", receiver.name, message.key, nobody)
            return
        if error:
            until = route.clock() + wait_after(message.attempts + 1)
            outbox.put_off(receiver.id, message.key, until=until, error=error)
            log.warning("%s: %s was not taken: %s", receiver.name, message.key, error)
        else:
            outbox.delivered(receiver.id, message.key, at=route.clock())
            log.info("%s: %s was taken", receiver.name, message.key)


def _send(receiver: Receiver, message: Message, now: datetime) -> int:
    timestamp = int(now.timestamp())
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "recsys-assets",
        "webhook-id": message.key,
        "webhook-timestamp": str(timestamp),
    }
    if (secret := receiver.secret()) is not None:
        headers["webhook-signature"] = sign(secret, message_id=message.key, timestamp=timestamp, body=message.body)
    return post(receiver.url, message.body, headers, timeout_seconds=receiver.timeout_seconds)
