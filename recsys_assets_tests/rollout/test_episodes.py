"""Does a failure that was shown rest on one stretch of time, or on one visitor?

Here: literal rows whose answer a person can work out, and the laws. Not here: what follows (test_taking.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.records import Episode, Outcome, Verdict
from recsys_assets.rollout.analysis import judge
from recsys_assets.rollout.episodes import apart, heaviest_window, rests_on, with_stalls
from recsys_assets.rollout.evidence import DEGRADED, ERRORS, GUARDRAILS, LATENCY, QUALITY, STABLE
from recsys_assets.stalls import Stall
from recsys_assets_tests.rollout.build import T0, Rows, later, scope


def of(found: tuple[Verdict, ...], check: str) -> Verdict:
    return next(v for v in found if v.check == check)


def steady(seconds: float = 300, rate: int = 20, **canary: Any) -> Rows:
    """One request of a new visitor each 1/rate s, to the canary and stable by turns; `canary` by the time it comes."""
    rows = Rows()
    for i in range(int(seconds * rate)):
        at = 3 + i / rate
        arm = "canary" if i % 2 else "stable"
        told = {name: value(at) for name, value in canary.items()} if arm == "canary" else {}
        rows.ask(f"v{i}", arm, at, clicks=told.pop("clicks", ["a"]), **told)
    return rows


def stalled(at: float, *, begins: float = 200, seconds: float = 5) -> int:
    return 504 if begins <= at < begins + seconds else 200


def test_the_window_with_the_most_is_found_wherever_it_begins() -> None:
    at = np.array([0.0, 5.0, 9.0, 20.0, 21.0, 22.0, 50.0])
    hits = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert heaviest_window(at, hits, 10) == slice(3, 6)
    assert heaviest_window(at, hits, 12.5) == slice(2, 5) or heaviest_window(at, hits, 13) == slice(2, 6)
    assert heaviest_window(at, hits, 100) == slice(0, 7)


def test_where_nothing_speaks_against_the_arm_there_is_no_window() -> None:
    assert heaviest_window(np.array([1.0, 2.0]), np.array([0.0, -1.0]), 10) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(-3, 3)), min_size=1, max_size=30),
    st.integers(0, 60),
)
def test_no_window_of_the_same_length_holds_more(rows: list[tuple[int, int]], seconds: int) -> None:
    rows = sorted(rows)
    at, weight = np.array([float(a) for a, _ in rows]), np.array([float(w) for _, w in rows])
    found = heaviest_window(at, weight, float(seconds))
    best = 0.0 if found is None else float(weight[found].sum())
    for begin in at:
        assert weight[(at >= begin) & (at <= begin + seconds)].sum() <= max(best, 0.0)


def test_sixty_one_timeouts_within_five_seconds_are_one_episode() -> None:
    # Ten canary requests a second; from 22:11:07 on it stands still for 5 s, and answers 1 of them after all.
    rows = steady(status=stalled)
    found = of(judge(rows.logs(), scope(304)), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert found.episode is not None
    assert (found.episode.what, found.episode.count) == ("timeouts", 50)
    assert found.episode.began == later(200.05)
    assert found.episode.told() == "50 timeouts within 5 s at 00:03:20 UTC"


def test_the_same_failures_spread_over_the_time_rest_on_no_episode() -> None:
    # Fifty of 1,500 again, one each six seconds: no half minute holds more than six of them.
    rows = steady(status=lambda at: 503 if int(at * 10) % 60 == 0 else 200)
    found = of(judge(rows.logs(), scope(304)), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert found.episode is None


def test_a_third_of_all_requests_failing_for_two_minutes_rests_on_no_episode() -> None:
    rows = steady(status=lambda at: 500 if at > 180 and int(at * 10) % 3 == 0 else 200)
    assert of(judge(rows.logs(), scope(304)), ERRORS).episode is None


def test_a_third_of_all_requests_failing_for_three_seconds_is_one_episode() -> None:
    # One of three servers that stood still would look just so.
    rows = steady(status=lambda at: 500 if at > 300 and int(at * 10) % 3 == 0 else 200)
    found = of(judge(rows.logs(), scope(304)), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert found.episode is not None
    assert found.episode.what == "errors"


def test_two_stalls_in_one_release_are_two_episodes_and_three_are_evidence() -> None:
    def standing(*begins: int) -> Verdict:
        rows = steady(status=lambda at: 504 if any(b <= at < b + 5 for b in begins) else 200)
        return of(judge(rows.logs(), scope(304)), ERRORS)

    two = standing(100, 200)
    assert two.episode is not None
    assert two.episode.told() == ("50 timeouts within 5 s at 00:01:40 UTC and 50 timeouts within 5 s at 00:03:20 UTC")
    assert two.episode.counted() == "two episodes"
    assert standing(100).episode is not None
    assert standing(50, 150, 250).outcome is Outcome.FAIL
    assert standing(50, 150, 250).episode is None


def test_pauses_of_a_second_each_minute_are_evidence_and_no_episode() -> None:
    rows = steady(seconds=600, status=lambda at: 504 if at % 60 < 1 else 200)
    found = of(judge(rows.logs(), scope(604)), ERRORS)
    assert found.outcome is Outcome.FAIL
    assert found.episode is None


def test_a_stall_at_the_border_of_two_half_minutes_is_one_episode_all_the_same() -> None:
    for begins in np.arange(175, 215, 5):
        rows = steady(status=lambda at, begins=begins: stalled(at, begins=begins))
        assert of(judge(rows.logs(), scope(304)), ERRORS).episode is not None, begins


def test_a_visitor_may_be_all_that_shows_a_failure() -> None:
    # 30 of 300 requests failed, 25 of them the same visitor's, a minute apart: without them five of 275 did.
    number = range(300)
    rows = pl.DataFrame(
        {
            "served_at": [T0 + timedelta(minutes=i) for i in number],
            "variant": ["canary"] * 300,
            "visitor_id": ["unlucky" if i % 10 == 0 and i < 250 else f"v{i}" for i in number],
            "failed": [i % 10 == 0 for i in number],
        }
    )
    found = rests_on(rows, "failed", lambda left: int(left["failed"].sum()) > 20, lambda _: "errors")
    assert found is not None
    assert (found.what, found.count, found.seconds) == ("errors of one visitor", 25, 240 * 60)
    assert rests_on(rows, "failed", lambda left: int(left["failed"].sum()) >= 5, lambda _: "errors") is None


@pytest.mark.parametrize(
    ("check", "bad", "what"),
    [
        (LATENCY, {"ms": lambda at: 2_000.0 if 200 <= at < 210 else 5.0}, "slow answers"),
        (DEGRADED, {"rung": lambda at: "no_online_store" if 200 <= at < 220 else "full"}, "degraded answers"),
        (
            QUALITY,
            {"clicks": lambda at: [] if 200 <= at < 225 else ["a"]},
            "visitors with a loss of engagement who came",
        ),
    ],
)
def test_each_other_guardrail_knows_one_episode_from_many(check: str, bad: dict[str, Any], what: str) -> None:
    strict = scope(304, margin=0.05, max_degraded_rate_increase=0.03)
    found = of(judge(steady(**bad).logs(), strict), check)
    assert found.outcome is Outcome.FAIL, found.reason
    assert found.episode is not None
    assert found.episode.what == what
    assert later(195) <= found.episode.began <= later(205)


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (LATENCY, {"ms": lambda at: 2_000.0 if at >= 200 else 5.0}),
        (DEGRADED, {"rung": lambda at: "no_online_store" if at >= 200 else "full"}),
        (QUALITY, {"clicks": lambda at: [] if at >= 200 else ["a"]}),
    ],
)
def test_what_goes_on_for_minutes_rests_on_no_episode(check: str, bad: dict[str, Any]) -> None:
    found = of(judge(steady(**bad).logs(), scope(304)), check)
    assert (found.outcome, found.episode) == (Outcome.FAIL, None), found.reason


def test_a_stall_of_the_whole_machine_speaks_against_nobody() -> None:
    rows = steady()
    for row in rows.gateway:
        if later(200) <= row["served_at"] < later(205):
            row |= {"status": 504, "model_version": None, "rung": None}
    found = judge(rows.logs(), scope(304))
    assert not [v for v in found if v.outcome is Outcome.FAIL and v.check in GUARDRAILS]


def test_a_stall_of_stable_is_an_episode_and_an_outage_is_not() -> None:
    def failing(begins: float) -> Verdict:
        rows = steady()
        for row in rows.gateway:
            if row["variant"] == "stable" and later(begins) <= row["served_at"] < later(303):
                row |= {"status": 504, "model_version": None, "rung": None}
        return of(judge(rows.logs(), scope(304)), STABLE)

    stall, outage = failing(297), failing(280)
    assert (stall.outcome, outage.outcome) == (Outcome.FAIL, Outcome.FAIL)
    assert stall.episode is not None
    assert outage.episode is None


def test_no_rows_are_no_episode() -> None:
    empty = Rows().logs()
    assert not [v for v in judge(empty, scope()) if v.episode is not None]


def test_an_episode_says_which_process_noted_that_it_stood_still_then() -> None:
    episode = Episode(what="timeouts", count=61, began=later(67), seconds=5.2)
    own = Stall("recommender-v2", later(66), 5.4)
    long_ago = Stall("guard", later(5), 2.0)
    told = with_stalls(episode, [long_ago, own])
    assert told is not None
    assert told.told() == ("61 timeouts within 5 s at 00:01:07 UTC; recommender-v2 stalled 5.4 s at 00:01:06 UTC")
    assert with_stalls(episode, [long_ago]) == episode
    assert with_stalls(None, [own]) is None


@pytest.mark.parametrize(("gap", "count"), [(59.9, 1), (60.0, 2)])
def test_episodes_are_apart_from_a_minute_on(gap: float, count: int) -> None:
    first = Episode(what="timeouts", count=5, began=later(0), seconds=4)
    second = Episode(what="timeouts", count=5, began=later(4 + gap), seconds=4)
    assert len(apart([second, first])) == count
