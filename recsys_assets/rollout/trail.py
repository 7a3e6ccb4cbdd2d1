"""The moves that a release made before its latest one, as the route object keeps them.

Here: the record and its JSON. Not here: moving (route.py), or the rows that are written from it (act.py).
With them no row is ever lost, however many writers die between route and ledger, and nobody who takes weight away has
to wait for a ledger first.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from recsys_assets.records import Episode, Phase


class Move(BaseModel):
    """One change of phase or step; the first of a release is its opening."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transition: int
    phase: Phase
    step: int
    weight_bp: int
    at: AwareDatetime
    action: str
    actor: str
    reason: str
    # What an end rests on, where that is one episode.
    episode: Episode | None = None


_MOVES: TypeAdapter[tuple[Move, ...]] = TypeAdapter(tuple[Move, ...])


def written_moves(moves: Sequence[Move]) -> str:
    """JSON for an annotation."""
    return _MOVES.dump_json(tuple(moves)).decode()


def read_moves(text: str) -> tuple[Move, ...]:
    """Back from JSON; ValueError where it cannot be read."""
    return _MOVES.validate_json(text)
