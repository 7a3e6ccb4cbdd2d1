"""Bad input of every kind gets its own error, and good input gets through: the short form of the benchmark.

Here: a few hundred cases and the counting itself. Not here: the cases (benchmarks/malformed).
"""

from __future__ import annotations

import pytest

from benchmarks.malformed.cases import Case, Count, Good, Refused, take
from benchmarks.malformed_input import KINDS, run

SIZES = {"files": (110, 12), "configs": (140, 4), "requests": (100, 10), "feedback": (30, 3), "manifests": (70, 9)}
SIZES |= {"routes": (70, 5)}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_rule_is_kept_and_nothing_valid_is_refused(name: str) -> None:
    mutated, valid = SIZES[name]
    count = run(KINDS[name], mutated=mutated, valid=valid, seed=11)
    assert count.told == []
    assert (count.mutated, count.let_through, count.valid, count.valid_refused) == (mutated, 0, valid, 0)


def _broken() -> Refused | None:
    raise ValueError("row 7")


@pytest.mark.parametrize(
    ("give", "wrong"),
    [
        (lambda: None, 0),
        (lambda: Refused("Invalid", "about something else"), 1),
        (lambda: Refused("Other", "row 7"), 1),
        (_broken, 1),
    ],
)
def test_acceptance_another_place_another_error_and_an_untyped_one_all_count_as_let_through(give, wrong) -> None:  # type: ignore[no-untyped-def]
    count = Count()
    count.judge(Case("a rule", give, "Invalid", ("row 7",)))
    assert (count.mutated, count.let_through, count.wrong_error) == (1, 1, wrong)


def test_the_right_error_at_the_right_place_is_no_finding() -> None:
    count = Count()
    count.judge(Case("a rule", lambda: Refused("Invalid", "row 7, column x"), "Invalid", ("row 7", "x")))
    count.welcome(Good("good", lambda: ""))
    assert (count.let_through, count.valid_refused, count.told) == (0, 0, [])


def test_a_valid_input_that_comes_out_changed_counts_as_refused() -> None:
    count = Count()
    count.welcome(Good("good", lambda: "007 became 7"))
    assert count.valid_refused == 1


def test_a_kind_that_runs_out_of_cases_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="2 cases where 3"):
        list(take([1, 2], 3))
