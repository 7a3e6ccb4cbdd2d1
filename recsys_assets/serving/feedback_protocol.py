"""What a client may report: events about answers, each with an id that makes it count once.

Here: strict parsing of a batch and the line that is kept. Not here: durability, HTTP.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import orjson
from pydantic import Field

from recsys_assets.serving.protocol import Identifier, Printable, Strict, parse_body

MAX_EVENTS = 1_000


class Event(Strict):
    """One event: what a user did (`click`, `play`, ...) with one item of the answer `request_id`."""

    # A client may build the id out of the request's and the item's.
    event_id: Annotated[Printable, Field(max_length=600)]
    request_id: Identifier
    item_id: Identifier
    event_type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class _Batch(Strict):
    events: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


def parse(raw: bytes) -> list[Event]:
    """All events of the batch; one that is malformed refuses the batch, naming its index, field and rule."""
    return parse_body(raw, _Batch).events


def feedback_line(event: Event, received_at: datetime, *, client: str | None = None) -> bytes:
    """One row of columns.FEEDBACK as a line of JSON, and beside it whose token it came with."""
    row = {**event.model_dump(), "received_at": received_at.isoformat(timespec="microseconds")}
    row |= {"client": client} if client else {}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
