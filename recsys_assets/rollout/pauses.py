"""A person's pauses of a release: as the route object keeps them, and as the ledger tells them.

Here: the record, its JSON, its rows. Not here: who may pause when (people.py), or what a pause holds back (phases.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from recsys_assets.rollout.ledger import PAUSED, RESUMED, Ledger


class Pause(BaseModel):
    """From `since` to `until`, which is None as long as nobody has resumed the release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: str
    why: str
    since: AwareDatetime
    until: AwareDatetime | None = None
    resumed_by: str = ""
    resumed_why: str = ""

    def told(self) -> str:
        return f"paused by {self.who} since {self.since.isoformat(timespec='seconds')}: {self.why}"


_PAUSES: TypeAdapter[tuple[Pause, ...]] = TypeAdapter(tuple[Pause, ...])


def written(pauses: Sequence[Pause]) -> str:
    """JSON for an annotation."""
    return _PAUSES.dump_json(tuple(pauses)).decode()


def read_pauses(text: str) -> tuple[Pause, ...]:
    """Back from JSON; ValueError where it cannot be read."""
    return _PAUSES.validate_json(text)


def record_pauses(ledger: Ledger, release_id: str, pauses: Sequence[Pause], *, weight_bp: int) -> None:
    """Write the row of each pause and of its end, unless it stands there: a crash may have come before it."""

    def write(kind: str, number: int, at: datetime, actor: str, why: str) -> None:
        key = f"{release_id}/{kind}/{number}"
        if not ledger.has(key):
            body = {"reason": why, "weight_bp": weight_bp}
            ledger.append(kind, release_id=release_id, actor=actor, at=at, key=key, body=body)

    for number, pause in enumerate(pauses, start=1):
        write(PAUSED, number, pause.since, pause.who, pause.why)
        if pause.until is not None:
            write(RESUMED, number, pause.until, pause.resumed_by, pause.resumed_why)
