"""Which rung answers: hand-made recommenders and what the online store said.

Here: ladder.py. Not here: waiting for the store (test_online_store.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.recommender.profiles import UserProfile
from recsys_assets.recommender.recommender import Ranking
from recsys_assets.serving.ladder import Answer, Ladder, Lookup, merge

AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NOON = datetime(2024, 1, 30, 12, tzinfo=UTC).timestamp()
DOWN, NOBODY = Lookup(failure="online_store_unavailable"), Lookup()


class Ranker:
    """Ranks the user's newest item first, so that one sees which profile was ranked; fails when told to."""

    as_of = AS_OF

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.score = 1.0
        self.asked = 0

    def recommend(self, profile: UserProfile, *, k: int = 10, at: datetime | None = None) -> Ranking:
        self.asked += 1
        if self.failure:
            raise self.failure
        items = [f"after-{profile.recent_items[-1] if profile.recent_items else 'nothing'}", "b", "c"][:k]
        return Ranking(items, [self.score] * len(items))

    def popular(self, k: int = 10, exclude: Collection[str] = ()) -> Ranking:
        items = [item for item in ("p1", "p2", "p3") if item not in exclude][:k]
        return Ranking(items, [1.0] * len(items))

    def profile(self, user_id: str) -> UserProfile | None:
        if user_id == "newborn":
            return UserProfile(user_id, {"age": 30.0}, [], [])
        return UserProfile(user_id, {"events_7d": 2.0}, ["old"], [NOON]) if user_id == "known" else None


def row(item: str = "new", time: float = NOON + 60, **more: Any) -> Lookup:
    return Lookup(row={"event_time": AS_OF, "recent_items": [item], "recent_times": [time], **more})


def told(answer: Answer) -> tuple[str, str, tuple[str, ...]]:
    return answer.rung, answer.items[0], answer.flags


def test_with_the_online_row_the_full_model_answers() -> None:
    assert told(Ladder(Ranker()).answer("known", 2, row())) == ("full", "after-new", ())


def test_without_the_store_the_snapshot_is_ranked() -> None:
    down = Ladder(Ranker()).answer("known", 2, DOWN)
    assert told(down) == ("no_online_store", "after-old", ("online_store_unavailable",))


def test_a_row_older_than_the_snapshot_is_not_used() -> None:
    stale = Ladder(Ranker()).answer("known", 2, row(time=NOON - 60))
    assert told(stale) == ("no_online_store", "after-old", ("online_row_stale",))


@pytest.mark.parametrize(
    "broken",
    [
        {"event_time": "monday"},
        {"event_time": None},
        {"recent_items": 5},
        {"recent_times": ["noon"]},
        {"recent_times": [math.nan]},
        {"recent_items": ["one", "too", "many"]},
        {"events_7d": math.inf},
    ],
)
def test_a_row_that_makes_no_sense_is_not_used(broken: dict[str, Any]) -> None:
    lookup = Lookup(row={**(row().row or {}), **broken})
    assert told(Ladder(Ranker()).answer("known", 2, lookup)) == (
        "no_online_store",
        "after-old",
        ("online_row_broken",),
    )


def test_a_known_user_whom_the_store_does_not_know_is_ranked_by_the_snapshot() -> None:
    assert told(Ladder(Ranker()).answer("known", 2, NOBODY)) == ("no_online_store", "after-old", ("no_online_row",))


def test_a_known_user_without_a_past_has_no_row_and_misses_nothing() -> None:
    assert told(Ladder(Ranker()).answer("newborn", 2, NOBODY)) == ("full", "after-nothing", ("no_online_row",))


def test_a_user_newer_than_the_model_is_ranked_by_the_online_row_alone() -> None:
    assert told(Ladder(Ranker()).answer("newcomer", 2, row())) == ("full", "after-new", ())


def test_an_unknown_user_gets_popular_items_and_is_called_so() -> None:
    assert told(Ladder(Ranker()).answer("nobody", 2, NOBODY)) == ("popular", "p1", ("unknown_user",))


def test_with_the_store_down_nobody_is_excused_as_unknown() -> None:
    answer = Ladder(Ranker()).answer("nobody", 2, DOWN)
    assert told(answer) == ("popular", "p1", ("online_store_unavailable", "not_in_snapshot"))


@pytest.mark.parametrize("failure", [ValueError("shape"), FloatingPointError(), MemoryError(), KeyError("x")])
def test_a_ranker_that_fails_is_replaced_by_its_last_answer_then_by_popular_items(failure: Exception) -> None:
    ranker = Ranker()
    ladder = Ladder(ranker)
    ladder.answer("known", 2, row())
    ranker.failure = failure
    assert told(ladder.answer("known", 2, row("newer"))) == ("cached", "after-new", ("ranker_failed",))
    assert told(ladder.answer("known", 3, row("newer")))[0] == "popular"
    assert told(ladder.answer("newcomer", 2, row("p1"))) == ("popular", "p2", ("ranker_failed",))


def test_a_score_that_is_no_number_is_a_failure_of_the_ranker() -> None:
    ranker = Ranker()
    ranker.score = math.nan
    assert told(Ladder(ranker).answer("known", 2, row())) == ("popular", "p1", ("ranker_failed",))


def test_a_late_request_does_not_wait_for_the_ranker() -> None:
    ladder = Ladder(Ranker())
    assert told(ladder.answer("known", 2, row(), late=True))[0] == "popular"
    ladder.answer("known", 2, row())
    assert told(ladder.answer("known", 2, row("newer"), late=True)) == ("cached", "after-new", ("late",))
    assert told(ladder.answer("known", 2, row(), late=True)) == ("full", "after-new", ())


def test_a_user_of_whom_nothing_new_is_known_is_not_ranked_again() -> None:
    ranker = Ranker()
    ladder = Ladder(ranker)
    first = ladder.answer("known", 3, row())
    assert ladder.answer("known", 3, row()) == first
    assert list(ladder.answer("known", 2, row()).items) == list(first.items)[:2]
    assert ranker.asked == 1
    for changed in (row("newer"), row(time=NOON + 61), row(events_7d=5), Lookup(), DOWN):
        before = ranker.asked
        ladder.answer("known", 3, changed)
        assert ranker.asked == before + (changed is not DOWN)  # the snapshot was ranked just before it


def test_without_the_store_what_it_said_last_is_more_than_what_the_bundle_knows() -> None:
    ranker = Ranker()
    ladder = Ladder(ranker)
    ladder.answer("known", 2, row("newest"))
    asked = ranker.asked
    down = ladder.answer("known", 2, DOWN)
    assert told(down) == ("no_online_store", "after-newest", ("online_store_unavailable", "last_known"))
    assert ranker.asked == asked


def test_the_cache_forgets_who_was_not_seen_for_longest() -> None:
    ladder = Ladder(Ranker(), cached_users=2)
    for user in ("a", "b", "a", "c"):
        ladder.answer(user, 2, row())
    assert [ladder.answer(user, 2, row("newer"), late=True).rung for user in "abc"] == ["cached", "popular", "cached"]


def test_windows_of_a_row_written_long_ago_have_expired_as_in_training() -> None:
    written = datetime(2024, 1, 20, tzinfo=UTC)
    values = {"event_time": written, "events_7d": 3, "events_30d": 5, "recent_items": ["i"], "recent_times": [1.0]}
    merged = merge("u", None, values, at=AS_OF)
    assert merged is not None
    assert merged.features["events_7d"] == 0.0
    assert merged.features["events_30d"] == 5.0
    assert merged.features["days_since_last"] == pytest.approx(11.0)


@given(
    user=st.sampled_from(["known", "nobody"]),
    k=st.integers(1, 100),
    lookup=st.sampled_from([DOWN, NOBODY, row(), row(time=0.0), Lookup(row={})]),
    late=st.booleans(),
    fails=st.booleans(),
)
def test_there_is_always_an_answer(user: str, k: int, lookup: Lookup, late: bool, fails: bool) -> None:
    ranker = Ranker()
    ranker.failure = ValueError() if fails else None
    answer = Ladder(ranker).answer(user, k, lookup, late=late)
    assert 0 < len(answer.items) == len(answer.scores) <= k
    assert answer.rung == "full" or answer.flags
