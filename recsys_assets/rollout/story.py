"""One release as its rows tell it: what was promised, what happened in which order, what the verdicts were.

Here: pure, rows into words. Not here: printing (cli.py), the plan's words (promises.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from recsys_assets.records import Verdict
from recsys_assets.rollout.episodes import EPISODES_THAT_DENY, apart
from recsys_assets.rollout.ledger import OPENED, Event, Ledger
from recsys_assets.rollout.promises import promises
from recsys_assets.rollout.shown.layout import Row


def opening(events: Sequence[Event]) -> tuple[list[str], list[Row]]:
    """Who follows whom, and the plan as it was promised before the first user saw anything."""
    first = next((e for e in events if e.kind == OPENED), events[0])
    body = first.body
    facts = [
        f"{first.release_id}: version {body.get('version', '?')} asks to follow {body.get('champion') or 'nobody'}",
        f"  digest {body.get('digest', '?')}",
        f"  opened at {first.at.isoformat(timespec='seconds')} by {first.actor}",
    ]
    if "plan" not in body:
        return [*facts, "  its plan was not recorded"], []
    return facts, [Row((name, value), (meaning,)) for name, value, meaning in promises(body["plan"])]


def digest_told(ledger: Ledger, digest: str, now: datetime) -> tuple[str, str]:
    """Whether this digest may be released again, and what counts against it; and the command that lets it be tried."""
    if (by := ledger.denied(now).get(digest)) is not None:
        return f"the digest is denied by {by}", f"  recsys-assets override {digest[:16]} --why '...'"
    count = len(apart(ledger.episodes(digest)))
    against = f"; {count} of the {EPISODES_THAT_DENY} releases ended by an episode that deny it" if count else ""
    return f"the digest is not denied{against}", ""


def history(events: Sequence[Event]) -> list[Row]:
    """When, what, the canary's weight then, by whom, and why."""
    return [
        Row(
            (
                event.at.isoformat(timespec="seconds"),
                event.kind,
                f"{event.body.get('weight_bp', 0) / 100:g} %",
                event.actor,
            ),
            (_why(event.body),),
        )
        for event in events
    ]


def verdict_rows(verdicts: Iterable[Verdict]) -> list[Row]:
    """A row for each check."""
    return [Row((v.outcome.value, v.check), (v.reason,)) for v in verdicts]


def _why(body: Any) -> str:
    if "variants" in body:
        return ", ".join(f"{each['variant']}: {each['visitors']:,} visitors" for each in body["variants"])
    until = f" (until {body['expires_at'][:19]})" if "expires_at" in body else ""
    return f"{body.get('reason', '')}{until}"
