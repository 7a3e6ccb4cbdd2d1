"""A run that just started the guard gives it a moment to look; it goes on without one, and the tick then holds."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.waiting import await_guard


def desk(*looks: bool) -> Desk:
    """Whether the guard is seen at the first question, the second ...; the last answer stays."""
    answers: Iterator[bool] = iter(looks)
    return cast(Desk, SimpleNamespace(guarded=lambda: next(answers, looks[-1])))


def waited(desk: Desk, seconds: float = 1.0) -> tuple[bool, int]:
    pauses: list[Any] = []
    return await_guard(desk, seconds=seconds, sleep=pauses.append), len(pauses)


def test_a_guard_that_already_looks_is_not_waited_for() -> None:
    assert waited(desk(True)) == (True, 0)


def test_a_guard_that_starts_is_waited_for_until_its_first_look() -> None:
    assert waited(desk(False, False, True)) == (True, 2)


def test_without_any_guard_the_wait_ends_and_says_so() -> None:
    assert waited(desk(False)) == (False, 20)
