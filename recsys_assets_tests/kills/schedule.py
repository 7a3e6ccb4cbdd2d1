"""Who has a turn when, in each scenario.

Here: flat lists of turns. Not here: what a turn does (acts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_assets_tests.kills.acts import ROUND_SECONDS

# Past the last turn of a scenario, for what a kill has delayed.
MORE_ROUNDS = 5
USUAL = ("server", "collector", "sensor", "run", "guard", "platform")
# The control plane without Dagster's daemon: only the guard can act.
WITHOUT_DAEMON = ("server", "collector", "guard", "platform")


@dataclass(frozen=True)
class Turn:
    """One process does its work once, at this second of the harness's clock."""

    at: float
    process: str
    argument: str = ""


@dataclass(frozen=True)
class Scenario:
    """Turns of a home that stands as `before` left it. `after` is played where a stopped process wakes up late."""

    name: str
    before: tuple[Turn, ...]
    turns: tuple[Turn, ...]
    after: tuple[Turn, ...]


def rounds(
    first: int,
    count: int,
    *,
    fault: str = "",
    who: Sequence[str] = USUAL,
    words: Mapping[int, Sequence[str]] | None = None,
) -> tuple[Turn, ...]:
    """`count` rounds from the `first`; `words` come before everybody else's turn of that round, as `what:argument`."""
    turns = []
    for number in range(first, first + count):
        said = [*(words or {}).get(number, ())]
        parts = [*(w.partition(":")[::2] for w in said), *((p, fault) for p in who)]
        step = ROUND_SECONDS / (len(parts) + 1)
        turns += [Turn(number * ROUND_SECONDS + i * step, p, a) for i, (p, a) in enumerate(parts)]
    return tuple(turns)


FIRST = rounds(0, 4, words={0: ("deploy:1", "platform", "platform", "open:1")})


def _deployed(version: str, opening: str = "open") -> tuple[str, ...]:
    return (f"deploy:{version}", "platform", "platform", f"{opening}:{version}")


def _whole(name: str, *, fault: str = "", count: int = 14, next_version: str = "3", **at: Sequence[str]) -> Scenario:
    """Version 2 is released while version 1 is the champion; afterwards another one is released with success."""
    words = {10: _deployed("2"), **{int(k[1:]): v for k, v in at.items()}}
    turns = rounds(10, count, fault=fault, words=words)
    return Scenario(name, FIRST, turns, _next(10 + count, next_version))


def _next(first: int, version: str) -> tuple[Turn, ...]:
    """A further release, decided as fast as can be, for a late writer to do harm to."""
    again = (f"override:{version}",) if version == "2" else ()
    first += MORE_ROUNDS
    return rounds(first, 8, words={first: (*again, *_deployed(version, "open_quick"))})


def scenarios() -> dict[str, Scenario]:
    """All of them, by name."""
    approval = {10: _deployed("2", "open_asking"), 18: ("approve",)}
    paused = {10: _deployed("2"), 13: ("pause",), 15: ("resume",)}
    dead = rounds(10, 4, fault="errors", words={10: _deployed("2")})
    dead += rounds(14, 4, fault="errors", who=WITHOUT_DAEMON) + rounds(18, 3, fault="errors")
    lease = rounds(10, 5, words={10: _deployed("2")}) + rounds(15, 5, who=WITHOUT_DAEMON) + rounds(20, 3)
    unsettled = (*rounds(10, 5, words={10: _deployed("2")}), Turn(74.9, "roll_back_and_die"))
    made = [
        _whole("promotion"),
        _whole("roll_back_for_quality", fault="quality", count=12, next_version="2"),
        _whole("roll_back_for_errors", fault="errors", count=10, next_version="2"),
        Scenario("guard_with_a_dead_ticker", FIRST, dead, _next(22, "2")),
        Scenario("lease_runs_out", FIRST, lease, _next(23, "3")),
        _whole("rejected_in_the_shadow", fault="empty", count=9),
        Scenario("first_release", (), FIRST + rounds(4, 3), _next(10, "2")),
        Scenario("first_release_rejected", (), rounds(0, 5, fault="gate", words={0: _deployed("1")}), _next(10, "2")),
        _whole("person_rolls_back", count=9, next_version="3", r15=("roll_back",)),
        Scenario("approval", FIRST, rounds(10, 15, words=approval), _next(25, "3")),
        Scenario("pause_and_resume", FIRST, rounds(10, 16, words=paused), _next(26, "3")),
        Scenario("opened_while_unsettled", FIRST + unsettled, _reopened(), _next(32, "3")),
    ]
    return {scenario.name: scenario for scenario in made}


def _reopened() -> tuple[Turn, ...]:
    """The same version is tried once more while the last release's follow-ups are still open."""
    return rounds(15, 15, words={15: ("override:2", *_deployed("2"))})
