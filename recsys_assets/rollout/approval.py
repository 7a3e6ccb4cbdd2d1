"""Asking a person for an approval: once, in Dagster and in the ledger.

Here: the one row. Not here: giving it (people.py), when it is due (phases.py), or how it is said (words.py).
"""

from __future__ import annotations

from datetime import datetime

from recsys_assets.records import Decision
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import APPROVAL_ASKED
from recsys_assets.rollout.route import RouteState
from recsys_assets.rollout.words import how_to_approve


def asked_key(release_id: str) -> str:
    """The key of the row that says that an approval was asked for: once for each release."""
    return f"{release_id}/{APPROVAL_ASKED}"


def ask(desk: Desk, state: RouteState, decision: Decision, *, actor: str, now: datetime) -> bool:
    """Ask once: first where Dagster shows it, then in the ledger, which the notifications are sent from.

    A crash in between asks twice in Dagster; nothing is ever lost.
    """
    release_id = state.release.release_id
    if not decision.asks_approval or desk.ledger.has(asked_key(release_id)):
        return False
    desk.show_question(state, decision)
    body = {
        "reason": decision.reason,
        "weight_bp": state.split.canary_weight_bp,
        "phase": state.phase.value,
        "version": state.version,
        "verdicts": [v.model_dump(mode="json") for v in decision.verdicts],
        **how_to_approve(release_id),
    }
    return desk.ledger.append(
        APPROVAL_ASKED, release_id=release_id, actor=actor, at=now, key=asked_key(release_id), body=body
    )
