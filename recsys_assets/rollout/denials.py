"""Which digests may not be released: rolled back, or ended by too many episodes, and no person's override in force.

Here: the rule over the ledger's rows, pure. Not here: who may override (people.py), where it is asked (tick.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from recsys_assets.records import Episode, Phase

if TYPE_CHECKING:
    from recsys_assets.rollout.ledger import Event

OPENED: Final = "opened"
OVERRIDE: Final = "override"
DEFAULT_EXPIRES: Final = "24h"
DEFAULT_EXPIRY: Final = timedelta(hours=24)
MAX_EXPIRY: Final = timedelta(days=30)
_ENDS: Final = frozenset({Phase.ROLLED_BACK.value, Phase.CHAMPION.value, Phase.HELD.value})


def denied_at(events: Iterable[Event], now: datetime, *, for_release: str = "") -> dict[str, str]:
    """Digests by the latest release that rolled each back, without those that an override in force at `now` allows.

    A release whose weight was taken for one episode rolls nothing back; the third such release of a digest does.

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


def episodes_of(events: Iterable[Event], digest: str) -> list[Episode]:
    """Those for which the weight of this digest was taken, since it was last promoted or overridden."""
    return _read(events).episodes.get(digest, [])


def override_in_force(events: Iterable[Event], start: str, now: datetime) -> tuple[str, datetime] | None:
    """The overridden digest that starts like this, and until when; None where there is none, or no longer."""
    allowed = _read(events).allowed
    return next(((digest, end) for digest, end in allowed.items() if digest.startswith(start) and now < end), None)


@dataclass
class _Rows:
    """Who rolled each digest back last, the ends of the unspent overrides since, and the release that spent one; and
    the episodes for which each digest lost its weight since the latest override or promotion."""

    denied: dict[str, str] = field(default_factory=dict)
    allowed: dict[str, datetime] = field(default_factory=dict)
    trials: dict[str, str] = field(default_factory=dict)
    episodes: dict[str, list[Episode]] = field(default_factory=dict)


def _read(events: Iterable[Event]) -> _Rows:
    rows = _Rows()
    for event in events:
        digest = str(event.body.get("digest", ""))
        if event.kind == OVERRIDE:
            rows.allowed[digest] = expiry_of(event)
            rows.episodes.pop(digest, None)
        elif event.kind == OPENED and digest in rows.allowed and event.at < rows.allowed[digest]:
            rows.trials[digest] = event.release_id
            del rows.allowed[digest]
        elif event.kind in _ENDS and not _was_a_drill(event):
            _ended(rows, digest, event)
    return rows


def _too_many(episodes: list[Episode]) -> bool:
    # Imported here: it brings Polars, and every command line reads this module.
    from recsys_assets.rollout.episodes import EPISODES_THAT_DENY, apart

    return len(apart(episodes)) >= EPISODES_THAT_DENY


def _ended(rows: _Rows, digest: str, event: Event) -> None:
    if (episode := _episode_of(event)) is not None:
        rows.episodes.setdefault(digest, []).append(episode)
    promoted = event.kind == Phase.CHAMPION.value
    too_many = episode is not None and _too_many(rows.episodes[digest])
    if not (promoted or too_many or event.kind == Phase.ROLLED_BACK.value):
        return
    rows.allowed.pop(digest, None)
    rows.trials.pop(digest, None)
    rows.denied.pop(digest, None)
    if promoted:
        rows.episodes.pop(digest, None)
    else:
        rows.denied[digest] = event.release_id


def _episode_of(event: Event) -> Episode | None:
    """The one for which users were taken from the model. One of the shadow met no user, and does not count."""
    told = event.body.get("episode")
    return Episode.model_validate(told) if told and event.body.get("action") == "roll_back" else None


def _was_a_drill(event: Event) -> bool:
    """What a drill's server did on purpose says nothing of its files."""
    return bool((event.body.get("model") or {}).get("drill"))


def expiry_of(override: Event) -> datetime:
    """Rows that were written before overrides expired name no end: they get the usual one."""
    named = override.body.get("expires_at")
    return override.at + DEFAULT_EXPIRY if named is None else datetime.fromisoformat(named)
