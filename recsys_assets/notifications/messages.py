"""What people are told: rows of the ledger as CloudEvents 1.0, in JSON.

Here: pure: which rows are told, and in which words. Not here: whom they are sent to, or how (delivery.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from recsys_assets.records import Phase
from recsys_assets.rollout import ledger as rows
from recsys_assets.rollout.ledger import Event
from recsys_assets.rollout.words import APPROVE_JOB, RESUME_JOB, launchpad
from recsys_assets.settings import NotifiedEvent

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
TOLD: Final[Mapping[str, NotifiedEvent]] = {
    Phase.REJECTED.value: "rejected",
    Phase.HELD.value: "held",
    Phase.ROLLED_BACK.value: "rolled_back",
    Phase.CHAMPION.value: "promoted",
    rows.APPROVAL_ASKED: "approval_asked",
    rows.PAUSED: "paused",
    rows.RESUMED: "resumed",
    rows.FROZEN: "frozen",
}
_WORDS: Final[Mapping[NotifiedEvent, str]] = {
    "rejected": "was rejected before any user saw it",
    "held": "is held: nothing was decided about it, so it may be tried again",
    "rolled_back": "was rolled back",
    "promoted": "was promoted: all users get it",
    "approval_asked": "waits for a person's approval",
    "paused": "was paused",
    "resumed": "goes on after a pause",
    "frozen": "is frozen: a person must look now",
}
# These wait for somebody to act.
_CALLS: Final = frozenset({"approval_asked", "frozen"})


def cloud_event(row: Event, opening: Mapping[str, Any], *, model_name: str, ui_url: str) -> bytes | None:
    """The message of a row, or None where it is not told. `opening` is the body of the release's first row.

    `source` and `id` together name the event for ever: whoever got it twice sees that by them.
    """
    event = TOLD.get(row.kind)
    if event is None:
        return None
    message = {
        "specversion": "1.0",
        "id": row.key,
        "source": f"/recsys-assets/{model_name}",
        "type": f"recsys_assets.release.{event}",
        "subject": row.release_id,
        "time": row.at.isoformat(),
        "datacontenttype": "application/json",
        "data": _data(row, event, opening, ui_url),
    }
    return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()


def _data(row: Event, event: NotifiedEvent, opening: Mapping[str, Any], ui_url: str) -> dict[str, Any]:
    version = row.body.get("version", opening.get("version"))
    why = str(row.body.get("reason", ""))
    return {
        "event": event,
        "summary": f"{row.release_id}: version {version} {_summary(event, row.actor, why)}",
        "needs_a_person": event in _CALLS,
        "release": row.release_id,
        "version": version,
        "digest": row.body.get("digest", opening.get("digest")),
        "champion": row.body.get("champion", opening.get("champion")),
        "by": row.actor,
        "why": why,
        "digest_denied": event == "rolled_back" and not (row.body.get("model") or {}).get("drill"),
        "episode": row.body.get("episode"),
        "canary_weight_bp": row.body.get("weight_bp", 0),
        "verdicts": [
            {"check": v["check"], "outcome": v["outcome"], "reason": v["reason"]} for v in row.body.get("verdicts", [])
        ],
        "links": _links(row.release_id, event, ui_url),
        "commands": _commands(row.release_id, event),
    }


def _summary(event: NotifiedEvent, by: str, why: str) -> str:
    """One line that says it all, for a chat. A person's name stands before the reason of a roll back already."""
    told = _WORDS[event]
    if why in told:
        return f"{told} ({by})"
    return f"{told}. {why}" if why.startswith(f"{by}: ") else f"{told}. {by}: {why}"


def _links(release_id: str, event: NotifiedEvent, ui_url: str) -> dict[str, str]:
    job = {"approval_asked": APPROVE_JOB, "paused": RESUME_JOB}.get(event)
    acting = {"launchpad": launchpad(ui_url, job, release_id)} if job else {}
    return {"canary": f"{ui_url}/assets/canary", **acting}


def _commands(release_id: str, event: NotifiedEvent) -> list[str]:
    """What a person may type next."""
    word = {"approval_asked": ["approve"], "paused": ["resume", "rollback"], "frozen": ["rollback"]}.get(event, [])
    return [f"recsys-assets show {release_id}", *(f"recsys-assets {w} {release_id} --why '...'" for w in word)]
