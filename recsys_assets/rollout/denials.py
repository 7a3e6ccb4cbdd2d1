"""Which digests may not be released: rolled back, and no person's override in force.

Here: the rule over the ledger's rows, pure. Not here: who may override (people.py), where it is asked (tick.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from recsys_assets.records import Phase

if TYPE_CHECKING:
    from recsys_assets.rollout.ledger import Event

OVERRIDE: Final = "override"
DEFAULT_EXPIRES: Final = "24h"
DEFAULT_EXPIRY: Final = timedelta(hours=24)
MAX_EXPIRY: Final = timedelta(days=30)


def denied_at(events: Iterable[Event], now: datetime) -> dict[str, str]:
    """Digests by the latest release that rolled each back, without those that an override in force at `now` allows.

    An override counts for the roll-backs before it only, and until it expires. Rows come in order.
    """
    found, allowed = _read(events)
    return {digest: release for digest, release in found.items() if not (digest in allowed and now < allowed[digest])}


def override_in_force(events: Iterable[Event], start: str, now: datetime) -> tuple[str, datetime] | None:
    """The overridden digest that starts like this, and until when; None where there is none, or no longer."""
    _, allowed = _read(events)
    return next(((digest, end) for digest, end in allowed.items() if digest.startswith(start) and now < end), None)


def _read(events: Iterable[Event]) -> tuple[dict[str, str], dict[str, datetime]]:
    """Who rolled each digest back last, and the ends of the overrides since."""
    found: dict[str, str] = {}
    allowed: dict[str, datetime] = {}
    for event in events:
        digest = str(event.body.get("digest", ""))
        if event.kind == Phase.ROLLED_BACK.value:
            found[digest] = event.release_id
            allowed.pop(digest, None)
        elif event.kind == OVERRIDE:
            allowed[digest] = expiry_of(event)
    return found, allowed


def expiry_of(override: Event) -> datetime:
    """Rows that were written before overrides expired name no end: they get the usual one."""
    named = override.body.get("expires_at")
    return override.at + DEFAULT_EXPIRY if named is None else datetime.fromisoformat(named)
