"""The judge of the kill benchmark finds what it is to find: a judge that never objects proves nothing.

Here: its pure rules on small literal histories. Not here: the benchmark (`benchmarks/control_plane_kills.py`).
"""

from __future__ import annotations

import pytest

from benchmarks.kills.judge import Answer, InForce, flipped, lost, misrouted
from recsys_assets_tests.platform.bucket_twin import bucket

SALT = "release-2"
# One user below 10 % by the hash, and one far above.
FEW = next(f"v{n}" for n in range(1_000) if bucket(f"v{n}", SALT) < 1_000)
MANY = next(f"v{n}" for n in range(1_000) if bucket(f"v{n}", SALT) > 5_000)
BEFORE = InForce(0.0, SALT, "", 0, "1")
TENTH = InForce(100.0, SALT, "2", 1_000, "1")
BACK = InForce(200.0, SALT, "", 0, "1")
ROUTES = [BEFORE, TENTH, BACK]


def answer(at: float, user: str, version: str, variant: str, *, status: str = "200", items: int = 5) -> Answer:
    return Answer(at, at, at + 0.01, user, status, items, version, variant)


@pytest.mark.parametrize("bad", [{"status": "503"}, {"status": "ClientError"}, {"items": 4}, {"items": 0}])
def test_anything_but_a_whole_answer_is_lost(bad: dict[str, object]) -> None:
    given = [answer(1, FEW, "1", "stable"), answer(2, FEW, "1", "stable", **bad)]  # type: ignore[arg-type]
    assert lost(given, 5) == given[1:]


def test_each_user_may_get_the_arm_of_a_route_that_was_in_force() -> None:
    right = [
        answer(50, FEW, "1", "stable"),
        answer(150, FEW, "2", "canary"),
        answer(150, MANY, "1", "stable"),
        answer(250, FEW, "1", "stable"),
    ]
    assert misrouted(right, ROUTES) == []


@pytest.mark.parametrize(
    "wrong",
    [
        answer(50, FEW, "2", "canary"),
        answer(150, FEW, "1", "stable"),
        answer(150, MANY, "2", "canary"),
        answer(250, FEW, "2", "canary"),
        answer(150, MANY, "2", "stable"),
    ],
    ids=["too early", "kept back", "not among the few", "too late", "wrong label"],
)
def test_an_answer_of_another_arm_is_misrouted(wrong: Answer) -> None:
    assert misrouted([wrong], ROUTES) == [wrong]


def test_while_a_route_changes_both_arms_are_allowed() -> None:
    during = Answer(99.9, 99.9, 100.3, FEW, "200", 5, "2", "canary")
    assert misrouted([during], ROUTES) == []


def test_stable_may_answer_for_a_dead_canary_only_where_that_is_said() -> None:
    instead = answer(150, FEW, "1", "canary")
    assert misrouted([instead], ROUTES) == [instead]
    assert misrouted([instead], ROUTES, fallback=True) == []


def test_a_user_goes_to_the_canary_when_it_grows_and_back_when_it_is_rolled_back() -> None:
    seen = [answer(50, FEW, "1", "stable"), answer(150, FEW, "2", "canary"), answer(250, FEW, "1", "stable")]
    assert flipped(seen, ROUTES) == []


def test_a_change_that_no_weight_explains_is_a_flip() -> None:
    first, second, third = (
        answer(110, FEW, "2", "canary"),
        answer(120, FEW, "1", "stable"),
        answer(130, FEW, "2", "canary"),
    )
    assert flipped([first, second, third], ROUTES) == [(first, second), (second, third)]
