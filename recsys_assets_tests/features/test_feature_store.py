"""Feast itself, on files below tmp_path: its answers are the oracle for the join and for the server's reader."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import typeguard

from recsys_assets.columns import INTERACTIONS, UTC_TIME
from recsys_assets.features import online
from recsys_assets.features.as_of_join import FEATURE_TIME, newest
from recsys_assets.features.online import OnlineReader, OnlineStoreUnavailable
from recsys_assets.features.views import FEATURE_SERVICE, KEYS, feature_names, import_feast
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets_tests.features.rows import user_feature_rows
from recsys_assets_tests.waiting import HANG_SECONDS

START = datetime(2024, 1, 1, 6, tzinfo=UTC)
# Three users and films on twelve days; names that are long, not ASCII, or numbers.
USERS, ITEMS = ("007", "zoë", "u" * 90), ("A", "Ö", "9")


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    rows = [
        {
            "user_id": USERS[n % 3],
            "item_id": ITEMS[n // 2 % 3],
            "event_time": START + timedelta(hours=9 * n),
            "value": float(n) if n % 4 else None,
        }
        for n in range(32)
    ]
    events = pl.DataFrame(rows, schema_overrides={"event_time": UTC_TIME})
    events = events.with_columns(day=pl.col("event_time").dt.date(), event_type=pl.lit("view"))
    events = events.select(INTERACTIONS.names())
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(13)]
    settings = FeatureStoreResource(home="", windows_days=[1, 7], recent_items=4).features
    return {
        "user_features": user_feature_rows(events, days, settings),
        "item_features": item_feature_rows(events, days, settings),
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, frames: dict[str, pl.DataFrame]) -> FeatureStoreResource:
    home = tmp_path_factory.mktemp("home")
    resource = FeatureStoreResource(home=str(home), windows_days=[1, 7], recent_items=4)
    assert FEATURE_SERVICE in resource.apply()
    for view, key in KEYS.items():
        resource.export(view, frames[view])
        last = newest(frames[view], key=key, at=START + timedelta(days=99)).drop(FEATURE_TIME)
        assert resource.write_online(view, last) == 3
    return resource


@pytest.mark.parametrize(("view", "names"), [("user_features", USERS), ("item_features", ITEMS)])
def test_training_reads_at_each_moment_what_feasts_point_in_time_join_gives(store, frames, view, names):
    """Training reads the rows of all keys at one moment; Feast is asked for every key at that moment."""
    key, wanted = KEYS[view], feature_names(view, store.features)
    moments = [START + timedelta(hours=7 * n - 30) for n in range(40)]
    rows = [{key: name, "event_timestamp": at} for at in moments for name in (*names, "nobody")]
    asked = pl.DataFrame(rows, schema_overrides={"event_timestamp": UTC_TIME}).to_pandas()
    job = store._store().get_historical_features(asked, [f"{view}:{name}" for name in wanted])
    theirs = pl.DataFrame(job.to_arrow()).drop_nulls("events_7d")
    ours = pl.concat(
        newest(frames[view], key=key, at=at).with_columns(event_timestamp=pl.lit(at, UTC_TIME)) for at in moments
    ).select(key, "event_timestamp", *wanted)
    assert ours.height > 80
    assert (
        theirs.select(ours.columns)
        .cast(ours.schema)
        .sort(key, "event_timestamp")
        .equals(ours.sort(key, "event_timestamp"))
    )


@pytest.mark.parametrize(("view", "names"), [("user_features", USERS), ("item_features", ITEMS)])
def test_the_servers_reader_answers_what_feasts_sdk_answers(store, view, names):
    reader = OnlineReader(store.online_path, view=view)
    for name, theirs in zip(names, store.read_online(view, names).to_dicts(), strict=True):
        found = reader.read(name, 5_000)
        assert found is not None
        found.pop("event_time")
        assert {KEYS[view]: name, **found} == theirs


def test_a_row_says_up_to_when_it_knows(store, frames):
    row = OnlineReader(store.online_path).read_user("007", 5_000)
    last = frames["user_features"].filter(pl.col("user_id") == "007")["event_time"].max()
    assert row is not None
    assert row["event_time"] == last


def test_an_unknown_user_has_no_row(store):
    assert OnlineReader(store.online_path).read_user("nobody", 5_000) is None
    assert store.read_online("user_features", ["nobody"])["events_7d"].to_list() == [None]


def test_writing_again_replaces_the_row(store, frames):
    mine = frames["item_features"].filter(pl.col("item_id") == "A").tail(1).with_columns(events_1d=pl.lit(77))
    store.write_online("item_features", mine)
    assert store.read_online("item_features", ["A"])["events_1d"].to_list() == [77]


def test_the_reader_needs_neither_feast_nor_polars():
    code = "import sys, recsys_assets.features.online; print({'feast', 'polars', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_SECONDS
    )
    assert done.stdout.strip() == "set()"


def test_the_readers_names_are_those_of_the_views_and_of_feasts_configuration(store):
    assert (store._store().project, KEYS) == (online.PROJECT, online.KEYS)


@pytest.fixture
def copied(store, tmp_path) -> Path:
    copy = tmp_path / "online.db"
    with closing(sqlite3.connect(store.online_path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
    return copy


def test_a_missing_store_is_unavailable_and_is_not_made(tmp_path):
    with pytest.raises(OnlineStoreUnavailable):
        OnlineReader(tmp_path / "online.db").read_user("007", 50)
    assert not (tmp_path / "online.db").exists()


def test_a_locked_store_is_unavailable_and_answers_again_afterwards(copied):
    with closing(sqlite3.connect(copied, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OnlineStoreUnavailable, match="locked"):
            OnlineReader(copied).read_user("007", 50)
        writer.execute("ROLLBACK")
    assert OnlineReader(copied).read_user("007", 5_000) is not None


def test_an_answer_after_the_deadline_is_no_answer(copied):
    with pytest.raises(OnlineStoreUnavailable, match="longer than 0 ms"):
        OnlineReader(copied).read_user("007", 0)


def test_a_query_that_does_not_end_is_broken_off_at_the_deadline(copied):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    endless = f"{numbers} SELECT CAST(i AS BLOB) entity_key, i feature_name,"
    with closing(sqlite3.connect(copied)) as writer:
        writer.execute("DROP TABLE recsys_assets_user_features")
        writer.execute(f"CREATE VIEW recsys_assets_user_features AS {endless} i value, i event_ts FROM n")
    with pytest.raises(OnlineStoreUnavailable, match="interrupted"):
        OnlineReader(copied).read_user("007", 100)


def test_a_store_of_garbage_is_unavailable(copied):
    copied.write_bytes(b"garbage" * 4_000)
    with pytest.raises(OnlineStoreUnavailable):
        OnlineReader(copied).read_user("007", 5_000)


@pytest.mark.parametrize("value", [b"\xff\xff\xff", "text", None])
def test_a_value_that_is_not_feasts_is_unavailable_and_never_a_number(copied, value):
    with closing(sqlite3.connect(copied)) as writer, writer:
        writer.execute("UPDATE recsys_assets_user_features SET value = ?", (value,))
    with pytest.raises(OnlineStoreUnavailable):
        OnlineReader(copied).read_user("007", 5_000)


def test_readers_go_on_while_a_write_is_under_way(store):
    with closing(sqlite3.connect(store.online_path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE recsys_assets_user_features SET event_ts = event_ts")
        assert OnlineReader(store.online_path).read_user("007", 5_000) is not None
        writer.execute("ROLLBACK")


@pytest.mark.slow
def test_the_feast_command_works_on_the_packaged_repo(tmp_path):
    environment = {**os.environ, "RECSYS_HOME": str(tmp_path)}
    environment.pop("RECSYS_CONFIG", None)
    repo = Path(online.__file__).parent.parent / "feature_repo"
    feast = Path(sys.executable).parent / "feast"

    def run(*words: str) -> str:
        command = [str(feast), "-c", str(repo), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=HANG_SECONDS
        ).stdout

    run("apply")
    listed = run("feature-views", "list")
    assert "user_features" in listed
    assert "item_features" in listed
    assert (tmp_path / "feast" / "registry.db").exists()


def test_importing_feast_leaves_the_checks_that_others_ask_typeguard_for() -> None:
    import_feast()

    @typeguard.typechecked
    def double(number: int) -> int:
        return 2 * number

    with pytest.raises(typeguard.TypeCheckError):
        double("2")  # type: ignore[arg-type]
