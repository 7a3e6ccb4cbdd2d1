"""Each question passes, fails, and has no data; no data is never a pass.

Here: verdicts.py on hand-made observations. Not here: observing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.platform.interface import ServiceStatus
from recsys_assets.records import Outcome, Verdict
from recsys_assets.serving import verdicts
from recsys_assets.serving.verdicts import Ranked

PASS, FAIL, NO_DATA = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def status(ready: bool, observed: int) -> ServiceStatus:
    return ServiceStatus(ready, 2, observed, "http://127.0.0.1:1", "crash loop")


WANT = Ranked(["a", "b"], [2.0, 1.0])


@pytest.mark.parametrize(
    ("ask", "outcome"),
    [
        (lambda: verdicts.ready("7", status(True, 2), generation=2), PASS),
        (lambda: verdicts.ready("7", status(False, 2), generation=2), FAIL),
        (lambda: verdicts.ready("7", status(True, 1), generation=2), NO_DATA),
        (lambda: verdicts.ready("7", None, generation=2), NO_DATA),
        (lambda: verdicts.echoed("7", ["7", "7"]), PASS),
        (lambda: verdicts.echoed("7", ["7", "6"]), FAIL),
        (lambda: verdicts.echoed("7", []), NO_DATA),
        (lambda: verdicts.echoed("7", None), NO_DATA),
        (lambda: verdicts.golden("7", [WANT], [WANT]), PASS),
        (lambda: verdicts.golden("7", [WANT], [Ranked(["a", "b"], [2.0, 1.0 + 1e-9])]), PASS),
        (lambda: verdicts.golden("7", [WANT], [Ranked(["b", "a"], [2.0, 1.0])]), FAIL),
        (lambda: verdicts.golden("7", [WANT], [Ranked(["a", "b"], [2.0, 1.001])]), FAIL),
        (lambda: verdicts.golden("7", [WANT], [Ranked(["a", "b"], [math.nan, 1.0])]), FAIL),
        (lambda: verdicts.golden("7", [WANT], [Ranked(["a", "b"], [2.0])]), FAIL),
        (lambda: verdicts.golden("7", [WANT], [None]), FAIL),
        (lambda: verdicts.golden("7", [WANT, WANT], [WANT]), NO_DATA),
        (lambda: verdicts.golden("7", [WANT], None), NO_DATA),
        (lambda: verdicts.golden("7", [], []), NO_DATA),
        (lambda: verdicts.latency("7", [1.0] * 100, budget_ms=2), PASS),
        # One of a hundred may be slow, two may not.
        (lambda: verdicts.latency("7", [1.0] * 99 + [9.0], budget_ms=2), PASS),
        (lambda: verdicts.latency("7", [1.0] * 98 + [9.0] * 2, budget_ms=2), FAIL),
        (lambda: verdicts.latency("7", [1.0] * 49, budget_ms=2), NO_DATA),
        (lambda: verdicts.latency("7", None, budget_ms=2), NO_DATA),
        (lambda: verdicts.signature("7", None, checked=True), PASS),
        (lambda: verdicts.signature("7", "changed", checked=True), FAIL),
        (lambda: verdicts.signature("7", "no key", checked=False), NO_DATA),
        (lambda: verdicts.signature("7", None, checked=False), NO_DATA),
    ],
)
def test_each_question_passes_fails_and_has_no_data(ask: Callable[[], Verdict], outcome: Outcome) -> None:
    said = ask()
    assert said.outcome is outcome, said.reason
    assert said.check in verdicts.CHECKS
    assert said.model_version == "7"
    assert said.reason


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    found = verdicts.quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)
