"""One evaluation over rankers that answer from a table: who is asked with what, and planted failures end to end.

Here: evaluate.py and the gate over it. Not here: files, Dagster, fitting.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from recsys_assets.evaluation.evaluate import CHALLENGER, CHAMPION, Evaluation, Reference, evaluate
from recsys_assets.evaluation.gate import judge
from recsys_assets.evaluation.splits import WARM_USERS, Holdout, split
from recsys_assets.recommender.baselines import recent_popularity
from recsys_assets.recommender.profiles import UserProfile
from recsys_assets.recommender.recommender import Ranking
from recsys_assets.records import Outcome
from recsys_assets_tests.evaluation.worlds import GATE

CUT, AS_OF = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 29, tzinfo=UTC)


class Table:
    """Ranks by a function of the profile, and remembers with which profiles it was asked."""

    def __init__(self, answer: dict[str, list[str]], *, as_of: datetime = CUT, known: Sequence[str] = ()) -> None:
        self.answer, self.as_of, self.known = answer, as_of, set(known)
        self.asked: list[UserProfile] = []

    def profile(self, user_id: str) -> UserProfile | None:
        return UserProfile(user_id, {"age": 1.0}, ("old",), (0.0,)) if user_id in self.known else None

    def recommend_many(
        self, profiles: Sequence[UserProfile], *, k: int = 10, at: datetime | None = None
    ) -> list[Ranking]:
        assert at == CUT
        self.asked += profiles
        return [Ranking(self.answer.get(p.user_id, [])[:k], []) for p in profiles]


def world() -> Holdout:
    """40 warm users (w) had `old` before the cut and take `good` after it; 40 new users (n) take `hot`, `rare`."""
    past = [(f"w{n:02}", "old", CUT - timedelta(days=3)) for n in range(40)]
    past += [("x1", "hot", CUT - timedelta(days=2)), ("x2", "hot", CUT - timedelta(days=2))]
    past += [(f"x{n}", f"filler{n}", CUT - timedelta(days=2)) for n in range(8)]
    after = [(f"w{n:02}", "good", CUT + timedelta(days=1)) for n in range(40)]
    after += [(f"n{n:02}", item, CUT + timedelta(days=1)) for n in range(40) for item in ("hot", "rare")]
    schema = {"user_id": pl.String, "item_id": pl.String, "event_time": pl.Datetime("us", "UTC")}
    return split(pl.DataFrame([*past, *after], schema=schema, orient="row"), cut=CUT, as_of=AS_OF, max_users=1000)


WARM, NEW = [f"w{n:02}" for n in range(40)], [f"n{n:02}" for n in range(40)]


def ran(challenger: Table, champion: Table | None, reference: Reference | None = None) -> Evaluation:
    return evaluate(
        world(),
        model_version="7",
        challenger=challenger,
        champion=champion,
        reference=reference or Reference("3" if champion else None),
        baselines={"recent_popularity": recent_popularity()},
        catalogue=10,
    )


def lists(warm: list[str], new: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(WARM, warm) | dict.fromkeys(NEW, new)


def test_both_models_are_asked_with_the_challengers_profiles_and_strangers_get_an_empty_one() -> None:
    challenger, champion = Table(lists(["good"], ["hot"]), known=WARM), Table(lists(["good"], ["hot"]), known=[])
    ran(challenger, champion)
    assert champion.asked == challenger.asked
    by_user = {p.user_id: p for p in challenger.asked}
    assert by_user["w00"].recent_items == ("old",)
    assert by_user["n00"] == UserProfile("n00", {}, (), ())


def test_warm_users_are_those_with_events_before_the_cut() -> None:
    found = ran(Table(lists(["good"], ["hot"])), None)
    assert found.models[CHALLENGER].slices[WARM_USERS]["user_id"].to_list() == WARM
    assert found.users == 80


def test_a_model_that_wins_on_average_and_forgets_the_warm_users_is_blocked() -> None:
    champion = Table(lists(["x", "y", "z", "good"], ["x", "hot"]))
    challenger = Table(lists(["x", "y"], ["hot", "rare"]))
    found = {v.check: v for v in judge(ran(challenger, champion), GATE)}
    assert found["ndcg_at_10_not_below_champion"].outcome is Outcome.PASS
    assert found["no_slice_lost"].outcome is Outcome.FAIL
    assert WARM_USERS in found["no_slice_lost"].reason


def test_a_model_that_shows_nothing_fails() -> None:
    outcomes = {v.check: v.outcome for v in judge(ran(Table({}), None), GATE)}
    assert outcomes["ndcg_at_10_not_below_recent_popularity"] is Outcome.FAIL
    assert outcomes["catalogue_coverage_kept"] is Outcome.FAIL


def test_a_champion_that_knows_the_test_days_is_not_compared_with() -> None:
    newer = Table(lists(["good"], ["hot"]), as_of=CUT + timedelta(days=1))
    found = ran(Table(lists(["good"], ["hot"])), newer)
    assert CHAMPION not in found.models
    verdicts = {v.check: v for v in judge(found, GATE)}
    assert verdicts["ndcg_at_10_not_below_champion"].outcome is Outcome.INCONCLUSIVE
    assert "after the cut" in verdicts["ndcg_at_10_not_below_champion"].reason


def test_a_challenger_that_knows_the_test_days_passes_nothing() -> None:
    leaking = Table(lists(["good"], ["hot", "rare"]), as_of=AS_OF)
    assert all(v.outcome is not Outcome.PASS for v in judge(ran(leaking, None), GATE))


def test_a_list_with_a_repeated_item_stops_the_evaluation() -> None:
    with pytest.raises(ValueError, match="more than once"):
        ran(Table(lists(["good", "good"], ["hot"])), None)
