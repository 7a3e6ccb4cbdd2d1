"""What the model server's reader must do over any online store that Feast writes: one suite over SQLite and Valkey.

Here: the claims and the rows. Not here: a store (test_online_stores.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from recsys_assets.columns import INTERACTIONS, UTC_TIME
from recsys_assets.features.as_of_join import FEATURE_TIME, newest
from recsys_assets.features.online import OnlineStoreUnavailable
from recsys_assets.features.views import KEYS
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets_tests.features.rows import user_feature_rows

START = datetime(2024, 1, 1, 6, tzinfo=UTC)
# Names that are long, not ASCII, or numbers; the last is one that holds Feast's own separator and our project's name.
USERS, ITEMS = ("007", "zoë", "u" * 90, "a:b/recsys_assets"), ("A", "Ö", "9", "x y")
WINDOWS = [1, 7]


def rows() -> dict[str, pl.DataFrame]:
    """Every entity's newest row of both views: with nulls, with lists of differing lengths."""
    told = [
        {
            "user_id": USERS[n % 4],
            "item_id": ITEMS[n // 2 % 4],
            "event_time": START + timedelta(hours=9 * n),
            "value": float(n) if n % 4 else None,
        }
        for n in range(40)
    ]
    events = pl.DataFrame(told, schema_overrides={"event_time": UTC_TIME})
    events = events.with_columns(day=pl.col("event_time").dt.date(), event_type=pl.lit("view"))
    events = events.select(INTERACTIONS.names())
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(16)]
    settings = FeatureStoreResource(home="", windows_days=WINDOWS, recent_items=4).features
    made = {
        "user_features": user_feature_rows(events, days, settings),
        "item_features": item_feature_rows(events, days, settings),
    }
    at = START + timedelta(days=99)
    return {
        view: newest(made[view], key=key, at=at).drop(FEATURE_TIME).drop("day", strict=False)
        for view, key in KEYS.items()
    }


class OnlineContract:
    """Subclasses give `store`, a resource over an empty store, and `outage`, which takes the store away or hangs it."""

    @pytest.fixture(scope="class")
    @classmethod
    def frames(cls) -> dict[str, pl.DataFrame]:
        return rows()

    @pytest.fixture(scope="class")
    @classmethod
    def written(cls, store: FeatureStoreResource, frames: dict[str, pl.DataFrame]) -> FeatureStoreResource:
        store.apply()
        for view, frame in frames.items():
            assert store.write_online(view, frame) == 4
        return store

    @pytest.mark.parametrize("view", ["user_features", "item_features"])
    def test_every_value_is_the_one_of_the_table_and_the_one_of_feasts_sdk(self, written, frames, view):
        key = KEYS[view]
        reader = written.reader(view)
        offline = frames[view].sort(key).to_dicts()
        through_feast = written.read_online(view, [row[key] for row in offline]).to_dicts()
        for wanted, theirs in zip(offline, through_feast, strict=True):
            found = reader.read(wanted[key], 5_000)
            assert found is not None
            assert {key: wanted[key], **found} == wanted
            wanted.pop("event_time")
            assert theirs == wanted

    def test_an_unknown_user_has_no_row(self, written):
        assert written.reader().read_user("nobody", 5_000) is None
        assert written.reader().read_user("", 5_000) is None

    def test_writing_the_same_day_again_replaces_the_row(self, written, frames):
        """A day that was repaired has rows of the same time."""
        mine = frames["item_features"].filter(pl.col("item_id") == "A")
        written.write_online("item_features", mine.with_columns(events_1d=pl.lit(77)))
        assert written.reader("item_features").read("A", 5_000)["events_1d"] == 77
        written.write_online("item_features", mine)

    def test_an_answer_after_the_deadline_is_no_answer(self, written):
        with pytest.raises(OnlineStoreUnavailable):
            written.reader().read_user("007", 0)

    def test_a_store_that_hangs_is_given_up_at_the_deadline_and_answers_again_afterwards(self, written, hangs):
        reader = written.reader()
        assert reader.read_user("007", 5_000)
        with hangs():
            for _ in range(3):
                with pytest.raises(OnlineStoreUnavailable):
                    reader.read_user("007", 60)  # raises while the store still hangs: it was given up
        assert reader.read_user("007", 5_000)

    def test_a_store_that_is_away_is_unavailable_and_not_empty(self, written, away):
        reader = written.reader()
        assert reader.read_user("007", 5_000)
        with away():
            with pytest.raises(OnlineStoreUnavailable):
                reader.read_user("007", 200)
            with pytest.raises(OnlineStoreUnavailable):
                written.reader().read_user("nobody", 200)
        assert reader.read_user("007", 5_000)

    @pytest.mark.parametrize("value", [b"\xff\xff\xff", b"text", b"\x7a\x03abc"])
    def test_a_value_that_is_not_feasts_is_unavailable_and_never_a_number(
        self, written, broken: Callable[[bytes], None], value
    ):
        broken(value)
        with pytest.raises(OnlineStoreUnavailable):
            written.reader().read_user("zoë", 5_000)
        written.write_online("user_features", rows()["user_features"])
        assert written.reader().read_user("zoë", 5_000)
