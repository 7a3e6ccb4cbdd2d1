"""One given input with what must come of it, and the count of those that came out otherwise.

Here: cases, their judgement, and values by hypothesis. Not here: any kind of input.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

HANG_SECONDS = 60
_T = TypeVar("_T")


@dataclass(frozen=True)
class Refused:
    """How an input was refused: the error's class, or a status, and what it said. Both must name the place."""

    error: str
    said: str = ""


@dataclass(frozen=True)
class Case:
    """`give` hands the input over: it returns Refused for the typed refusal, None for acceptance, or it raises.

    `place` are texts that the refusal must all contain: the file, the row, the field, the rule.
    """

    rule: str
    give: Callable[[], Refused | None]
    error: str
    place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Good:
    """`give` returns what is wrong with how a valid input was taken, or nothing."""

    rule: str
    give: Callable[[], str]


@dataclass
class Count:
    """What became of one kind of input. `told` are examples of what went wrong, for a person."""

    mutated: int = 0
    let_through: int = 0
    wrong_error: int = 0
    valid: int = 0
    valid_refused: int = 0
    rules: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def judge(self, case: Case) -> None:
        self.mutated += 1
        self.rules.add(case.rule)
        got = _outcome(case.give)
        if got is None:
            self._tell(case.rule, "was accepted")
        elif got.error != case.error or not all(text in got.said for text in case.place):
            self.wrong_error += 1
            self._tell(case.rule, f"got {got.error}: {got.said[:300]!r}; expected {case.error} with {case.place}")

    def welcome(self, good: Good) -> None:
        self.valid += 1
        got = _outcome(lambda: ((said := good.give()) and Refused("changed", said)) or None)
        if got is not None:
            self.valid_refused += 1
            self.told.append(f"valid, {good.rule}: {got.error}: {got.said[:300]}")

    def _tell(self, rule: str, what: str) -> None:
        self.let_through += 1
        self.told.append(f"{rule}: {what}")


class Hang(Exception):  # noqa: N818
    """The input was neither taken nor refused in time."""


def sample(strategy: SearchStrategy[_T], count: int, *, start: int) -> list[_T]:
    """`count` values of a hypothesis strategy, the same ones for the same start."""
    found: list[_T] = []

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: _T) -> None:
        found.append(value)

    collect()
    return found[:count]


def take(cases: Iterable[_T], count: int) -> Iterator[_T]:
    """The first `count`; an error where there are fewer, so that a kind cannot quietly run out."""
    given_out = 0
    for case in cases:
        if given_out == count:
            return
        given_out += 1
        yield case
    if given_out < count:
        raise RuntimeError(f"{given_out} cases where {count} were asked for")


def _outcome(give: Callable[[], Refused | None]) -> Refused | None:
    try:
        with _in_time():
            return give()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as untyped:  # noqa: BLE001 - whatever is not the typed refusal is just what is counted here
        return Refused(f"untyped {type(untyped).__name__}", str(untyped))


@contextmanager
def _in_time() -> Iterator[None]:
    def ring(_: int, __: FrameType | None) -> Any:
        raise Hang(f"{HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
