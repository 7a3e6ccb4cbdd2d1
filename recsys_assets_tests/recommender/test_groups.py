"""What groups of users prefer. Not here: the ranking features that read it."""

import json
from dataclasses import asdict
from math import log

import numpy as np
import polars as pl
import pytest

from recsys_assets.recommender.events import Events, encode
from recsys_assets.recommender.groups import PRIOR_EVENTS, Group, Groups, fit_groups, groups_of
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets_tests.recommender.world import AS_OF, SETTINGS, events, interactions, items, users


def four_events() -> Events:
    table = events(("n1", "a", 1), ("n2", "a", 2), ("s1", "b", 3), ("s1", "a", 4))
    return encode(table, None, as_of=AS_OF, lookback_days=365)


def fitted(people: pl.DataFrame) -> Groups:
    return fit_groups(people, four_events(), np.ones(4, dtype=np.float32), at=AS_OF)


PEOPLE = pl.DataFrame({"user_id": ["n1", "n2", "s1"], "region": ["north", "north", "south"]})


def test_a_group_lifts_what_it_takes_more_of_than_everybody() -> None:
    # Everybody: a 3/4, b 1/4. The north took a twice: (2 + 20 * 3/4) / (2 + 20) over 3/4.
    lift = fitted(PEOPLE).lift({"region_is_north": 1.0}, np.array([0, 1], dtype=np.int32))
    assert lift[0] == pytest.approx(log((2 + PRIOR_EVENTS * 0.75) / (2 + PRIOR_EVENTS) / 0.75), abs=1e-5)
    assert lift[1] < 0 < lift[0]


def test_a_profile_in_no_group_lifts_nothing() -> None:
    assert fitted(PEOPLE).lift({"region_is_west": 1.0}, np.array([0, 1], dtype=np.int32)).tolist() == [0.0, 0.0]


def test_without_users_there_is_no_group() -> None:
    found = fit_groups(None, four_events(), np.ones(4, dtype=np.float32), at=AS_OF)
    assert found.members == ()
    assert found.lifts.shape == (0, 2)


def test_every_number_belongs_to_exactly_one_fifth() -> None:
    found = groups_of(pl.DataFrame({"user_id": [f"u{n}" for n in range(10)], "age": [float(n) for n in range(10)]}))
    assert len(found) == 5
    assert all(sum(group.holds({"age": value}) for group in found) == 1 for value in (-5.0, 0.0, 1.8, 7.2, 99.0))


def test_a_user_without_the_number_belongs_to_no_fifth() -> None:
    assert not Group("age", None, None).holds({})
    assert Group("age", None, None).among(pl.DataFrame({"age": [None, 3.0]})).tolist() == [False, True]


def test_groups_are_the_same_after_a_round_trip_through_json() -> None:
    found = fitted(PEOPLE).members
    assert tuple(Group(**entry) for entry in json.loads(json.dumps([asdict(group) for group in found]))) == found


def test_no_event_at_or_after_the_moment_moves_a_lift() -> None:
    later = pl.concat([interactions(), events(("u01", "i00", 31), ("u03", "i00", 40))])
    before, after = (
        CandidateIndex.build(table, items(), as_of=AS_OF, settings=SETTINGS, users=users())
        for table in (interactions(), later)
    )
    assert np.array_equal(before.groups.lifts, after.groups.lifts)
