"""Bugs put into the product on purpose: an oracle that cannot fail proves nothing.

Here: what each bug replaces, in the process that calls it. Not here: the oracle.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recsys_assets.rollout import act, agree, people, settle, tick
from recsys_assets.rollout.route import moved, read_route, virtual_service


def ledger_before_route() -> None:
    """The row is written first: a kill in between leaves a decision that the route never took."""

    def move(platform: Any, ledger: Any, state: Any, decision: Any, *, actor: str, now: Any, clock: Any = None) -> Any:
        planned = moved(state, decision, actor=actor, now=now, clock=clock)
        act.record(ledger, planned)
        return read_route(platform.apply(virtual_service(planned), expected=state.resource_version))

    for module in (tick, people):
        module.move = move  # type: ignore[attr-defined]


def settling_without_fences() -> None:
    """Follow-ups are done by whoever began with them, however late, and nobody brings the aliases to the route."""

    def agree_champion(desk: Any, state: Any) -> None:
        desk.registry.set_alias("champion", agree.champion_of(state) or state.version)

    settle.is_ours = lambda *_: True
    settle.agree_champion = agree_champion  # type: ignore[attr-defined]
    tick.agree = agree.agree = lambda *_: None  # type: ignore[attr-defined]


def no_row_afterwards() -> None:
    """Nobody writes the row of a move whose writer died: each writes that of its own move only."""
    record = act.record

    def own(ledger: Any, state: Any, *, verdicts: Any = None) -> bool:
        return record(ledger, replace(state, trail=()), verdicts=verdicts)

    act.record = own
    tick.record = lambda *_, **__: False  # type: ignore[attr-defined]
