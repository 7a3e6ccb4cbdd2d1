"""Who visits and what they click: literal tables whose answers a person can work out."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from recsys_assets.traffic.visitors import NoVisitorsError, Visitor, clicks, draw_visitors, wanted_by_user

FUTURE = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob", "cid"],
        "item_id": ["i1", "i2", "i3", "i1"],
        # ann's first event and cid's only one lie before the replayed moment or at it
        "event_time": [datetime(2026, 1, d, tzinfo=UTC) for d in (1, 3, 4, 2)],
    }
)
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_user_wants_only_later_items_that_are_new_to_them():
    wanted = wanted_by_user(FUTURE, after=MOMENT, seen={"bob": frozenset({"i3"})})
    assert wanted == {"ann": frozenset({"i2"}), "cid": frozenset({"i1"})}


def test_the_same_seed_draws_the_same_visitors():
    wanted = {"ann": frozenset({"i2"}), "cid": frozenset({"i1"})}
    draws = [
        list(draw_visitors(wanted, frozenset({"ann"}), count=50, new_share=0.5, seed=3, run="r")) for _ in range(2)
    ]
    assert draws[0] == draws[1]
    assert {v.user_id for v in draws[0]} == {"ann", "cid"}
    assert len({v.visitor_id for v in draws[0]}) == 50


def test_without_new_users_everybody_drawn_is_known():
    wanted = {"ann": frozenset({"i2"}), "cid": frozenset({"i1"})}
    drawn = draw_visitors(wanted, frozenset({"ann"}), count=50, new_share=0.0, seed=3, run="r")
    assert {v.user_id for v in drawn} == {"ann"}


def test_a_replay_with_nobody_to_draw_says_so():
    with pytest.raises(NoVisitorsError, match="newest complete day"):
        next(draw_visitors({}, frozenset(), count=1, new_share=0.1, seed=1, run="r"))


def test_the_first_position_is_always_looked_at_and_only_wanted_items_are_clicked():
    visitor = Visitor("ann.r.0", "ann", frozenset({"i2"}))
    assert clicks(visitor, ["i2", "i9"], seed=1) == ["i2"]
    assert clicks(visitor, ["i9", "i8"], seed=1) == []


def test_two_models_that_show_the_same_list_get_the_same_clicks():
    visitor = Visitor("ann.r.0", "ann", frozenset({f"i{n}" for n in range(10)}))
    shown = [f"i{n}" for n in range(10)]
    assert clicks(visitor, shown, seed=5) == clicks(visitor, shown, seed=5)
