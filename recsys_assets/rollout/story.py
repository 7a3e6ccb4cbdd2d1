"""One release as its rows tell it: what was promised, what happened in which order, what the verdicts were.

Here: pure, rows into words. Not here: printing (cli.py), the plan's words (promises.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsys_assets.rollout.ledger import OPENED, Event
from recsys_assets.rollout.promises import promises


def opening(events: Sequence[Event]) -> tuple[list[str], list[tuple[str, ...]]]:
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
    return facts, list(promises(body["plan"]))


def history(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """When, what, by whom, the canary's weight then, and why."""
    return [
        (
            event.at.isoformat(timespec="seconds"),
            event.kind,
            event.actor,
            f"{event.body.get('weight_bp', 0) / 100:g} %",
            _why(event.body),
        )
        for event in events
    ]


def latest_verdicts(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """Each check's latest verdict."""
    found: dict[str, tuple[str, ...]] = {}
    for event in events:
        for verdict in event.body.get("verdicts", []):
            found[verdict["check"]] = (verdict["outcome"], verdict["check"], verdict["reason"])
    return list(found.values())


def _why(body: Any) -> str:
    until = f" (until {body['expires_at'][:19]})" if "expires_at" in body else ""
    return f"{body.get('reason', '')}{until}"
