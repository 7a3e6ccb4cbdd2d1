"""Which digests may not be released: rolled back, and no person's override in force.

Here: the rule over the ledger's rows, pure. Not here: who may override (people.py), where it is asked (tick.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from recsys_assets.records import Phase

if TYPE_CHECKING:
    from recsys_assets.rollout.ledger import Event

OPENED: Final = "opened"
OVERRIDE: Final = "override"
DEFAULT_EXPIRES: Final = "24h"
DEFAULT_EXPIRY: Final = timedelta(hours=24)
MAX_EXPIRY: Final = timedelta(days=30)
_ENDS: Final = frozenset({Phase.ROLLED_BACK.value, Phase.CHAMPION.value})


def denied_at(events: Iterable[Event], now: datetime, *, for_release: str = "") -> dict[str, str]:
    """Digests by the latest release that rolled each back, without those that an override in force at `now` allows.

    An override counts for the roll-backs before it only, until it expires, and once: the release that it let open
    spends it. That release itself (`for_release`) goes on. Promotion, after another trial, ends a denial. Rows come in
    order.
    """
    read = _read(events)
    return {
        digest: release
        for digest, release in read.denied.items()
        if not (digest in read.allowed and now < read.allowed[digest]) and read.trials.get(digest) != for_release
    }


def override_in_force(events: Iterable[Event], start: str, now: datetime) -> tuple[str, datetime] | None:
    """The overridden digest that starts like this, and until when; None where there is none, or no longer."""
    allowed = _read(events).allowed
    return next(((digest, end) for digest, end in allowed.items() if digest.startswith(start) and now < end), None)


@dataclass
class _Rows:
    """Who rolled each digest back last, the ends of the unspent overrides since, and the release that spent one."""

    denied: dict[str, str] = field(default_factory=dict)
    allowed: dict[str, datetime] = field(default_factory=dict)
    trials: dict[str, str] = field(default_factory=dict)


def _read(events: Iterable[Event]) -> _Rows:
    rows = _Rows()
    for event in events:
        digest = str(event.body.get("digest", ""))
        if event.kind == OVERRIDE:
            rows.allowed[digest] = expiry_of(event)
        elif event.kind == OPENED and digest in rows.allowed and event.at < rows.allowed[digest]:
            rows.trials[digest] = event.release_id
            del rows.allowed[digest]
        elif event.kind in _ENDS and not _was_a_drill(event):
            rows.allowed.pop(digest, None)
            rows.trials.pop(digest, None)
            rows.denied.pop(digest, None)
            if event.kind == Phase.ROLLED_BACK.value:
                rows.denied[digest] = event.release_id
    return rows


def _was_a_drill(event: Event) -> bool:
    """What a drill's server did on purpose says nothing of its files."""
    return bool((event.body.get("model") or {}).get("drill"))


def expiry_of(override: Event) -> datetime:
    """Rows that were written before overrides expired name no end: they get the usual one."""
    named = override.body.get("expires_at")
    return override.at + DEFAULT_EXPIRY if named is None else datetime.fromisoformat(named)
