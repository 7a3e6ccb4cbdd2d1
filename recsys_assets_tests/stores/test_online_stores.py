"""The online store in a file and on a real Valkey, held to one contract; the registry in a real Postgres.

Here: the fixtures that the contract asks for, and what only a server can do. Not here: the contract.
"""

from __future__ import annotations

import gc
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
import redis

from recsys_assets.features.online import KEYS, PROJECT, OnlineStoreUnavailable, entity_key, open_reader
from recsys_assets.features.online_redis import names_key
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.settings import ConfigError, Settings
from recsys_assets.store_settings import StoreSettings
from recsys_assets_tests.stores.online_contract import WINDOWS, OnlineContract, rows
from recsys_assets_tests.stores.servers import HOST, Valkey, valkey
from recsys_assets_tests.waiting import HANG_SECONDS

Outage = Callable[[], AbstractContextManager[None]]
PASSWORD = '12"3 =45'  # reads as something else where it is not quoted


class TestSqlite(OnlineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> FeatureStoreResource:
        home = tmp_path_factory.mktemp("home")
        return FeatureStoreResource(home=str(home), windows_days=WINDOWS, recent_items=4)

    @pytest.fixture
    def hangs(self, store: FeatureStoreResource) -> Outage:
        @contextmanager
        def lock() -> Iterator[None]:
            gc.collect()  # Feast leaves its connections open, and this lock is for who is alone
            with closing(sqlite3.connect(store.online_path, isolation_level=None)) as holder:
                holder.execute("PRAGMA locking_mode=EXCLUSIVE")
                holder.execute("BEGIN EXCLUSIVE")
                yield

        return lock

    @pytest.fixture
    def away(self, store: FeatureStoreResource) -> Outage:
        @contextmanager
        def aside() -> Iterator[None]:
            gone = store.folder.rename(store.folder.with_name("gone"))
            yield
            gone.rename(store.folder)

        return aside

    @pytest.fixture
    def broken(self, store: FeatureStoreResource) -> Callable[[bytes], None]:
        def spoil(value: bytes) -> None:
            with closing(sqlite3.connect(store.online_path)) as db, db:
                key = entity_key("user_id", "zoë")
                db.execute(f"UPDATE {PROJECT}_user_features SET value = ? WHERE entity_key = ?", (value, key))

        return spoil


class TestValkey(OnlineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
        """With a password, and one that the tests may stop."""
        with (
            valkey(tmp_path_factory.mktemp("valkey"), password=PASSWORD) as started,
            pytest.MonkeyPatch.context() as env,
        ):
            env.setenv("RECSYS_ONLINE_PASSWORD", PASSWORD)
            yield started

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> FeatureStoreResource:
        return FeatureStoreResource(
            home=str(tmp_path_factory.mktemp("home")),
            windows_days=WINDOWS,
            recent_items=4,
            online=server.address(3),
            online_password_env="RECSYS_ONLINE_PASSWORD",
        )

    @pytest.fixture
    def hangs(self, server: Valkey) -> Outage:
        @contextmanager
        def stopped() -> Iterator[None]:
            server.server.pause()
            yield
            server.server.resume()

        return stopped

    @pytest.fixture
    def away(self, server: Valkey) -> Outage:
        """Nobody reaches it, and connections that were kept are dead; what it holds it holds."""

        @contextmanager
        def cut() -> Iterator[None]:
            with client(server) as ours:
                ours.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                ours.execute_command("CONFIG", "SET", "requirepass", "another")
                yield
                ours.execute_command("CONFIG", "SET", "requirepass", PASSWORD)

        return cut

    @pytest.fixture
    def broken(self, server: Valkey) -> Callable[[bytes], None]:
        def spoil(value: bytes) -> None:
            with client(server) as ours:
                key = entity_key("user_id", "zoë") + PROJECT.encode()
                field = next(name for name in ours.hkeys(key) if not name.startswith(b"_ts:"))
                ours.hset(key, field, value)

        return spoil

    def test_a_store_that_was_emptied_is_unavailable_and_knows_nobody(self, written, server):
        with client(server) as ours:
            ours.flushdb()
        with pytest.raises(OnlineStoreUnavailable, match="nobody wrote user_features"):
            written.reader().read_user("007", 5_000)
        written.apply()
        written.write_online("user_features", rows()["user_features"])
        assert written.reader().read_user("007", 5_000)

    def test_a_killed_server_is_unavailable_and_found_again_by_the_same_reader(self, written, server):
        reader = written.reader()
        assert reader.read_user("007", 5_000)
        server.server.kill()
        with pytest.raises(OnlineStoreUnavailable, match="refused"):
            reader.read_user("007", 500)
        server.server.start()
        with pytest.raises(OnlineStoreUnavailable, match="nobody wrote"):
            reader.read_user("007", 500)
        written.apply()
        for view, frame in rows().items():
            written.write_online(view, frame)
        assert reader.read_user("007", 5_000)

    def test_fields_of_windows_that_nobody_writes_any_more_are_not_read(self, written, server, frames):
        """Feast leaves the old fields in the hash, beside the new time."""
        narrower = written.model_copy(update={"windows_days": [1]})
        narrower.apply()
        row = written.reader().read_user("007", 5_000)
        assert "events_1d" in row
        assert "events_7d" not in row
        written.apply()
        assert "events_7d" in written.reader().read_user("007", 5_000)

    def test_a_row_without_its_time_and_a_wrong_password_are_unavailable(self, written, server):
        with client(server) as ours:
            ours.hdel(entity_key("user_id", "007") + PROJECT.encode(), "_ts:user_features")
        with pytest.raises(OnlineStoreUnavailable, match="KeyError"):
            written.reader().read_user("007", 5_000)
        with pytest.raises(OnlineStoreUnavailable, match=r"WRONGPASS|invalid username-password"):
            open_reader(written.online, password="wrong").read_user("007", 5_000)

    def test_many_threads_read_with_one_reader(self, written):
        written.write_online("user_features", rows()["user_features"])
        reader, found = written.reader(), []

        def ask() -> None:
            found.extend(reader.read_user(user, 5_000) is not None for user in ["007", "zoë", "nobody"] * 20)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (found.count(True), found.count(False)) == (160, 80)


@contextmanager
def client(server: Valkey) -> Iterator[redis.Redis]:
    with closing(redis.Redis(host=HOST, port=server.server.port, db=3, password=PASSWORD)) as ours:
        ours.ping()
        yield ours


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff garbage", b"$-5\r\n", b"", b"*2\r\n$3\r\n{x"]
)
def test_whoever_answers_in_another_protocol_is_unavailable(said: bytes) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1_000)
                    connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        reader = open_reader(f"redis://{HOST}:{listener.getsockname()[1]}/0")
        with pytest.raises(OnlineStoreUnavailable):
            reader.read_user("007", 300)
        listener.shutdown(socket.SHUT_RDWR)


def test_the_reader_of_redis_needs_neither_feast_nor_polars() -> None:
    code = (
        "import sys; from recsys_assets.features.online import open_reader;"
        "r = open_reader('redis://127.0.0.1:1/0'); r._client(5);"
        "print({'feast', 'polars', 'pandas', 'dagster'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_SECONDS
    )
    assert done.stdout.strip() == "set()"


def test_the_settings_say_which_online_store_it_is(settings: Settings, tmp_path: Path) -> None:
    assert FeatureStoreResource.of(settings).online == ""
    stores = StoreSettings(
        online="redis://cache:6379/1", online_password_env="RECSYS_PW", feast_registry_url_env="RECSYS_FEAST"
    )
    found = FeatureStoreResource.of(settings.model_copy(update={"stores": stores}))
    assert (found.online, found.online_password_env, found.registry_url_env) == (
        "redis://cache:6379/1",
        "RECSYS_PW",
        "RECSYS_FEAST",
    )
    with pytest.raises(ConfigError, match="RECSYS_PW is not set"):
        found.reader()


def test_writers_of_the_registry_side_by_side_all_succeed(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is empty: they also make its tables side by side. Each has connections of its own."""
    monkeypatch.setenv("RECSYS_FEAST", database)

    def feature_store(number: int, windows: list[int]) -> FeatureStoreResource:
        folder = str(tmp_path / str(number))
        return FeatureStoreResource(home=folder, windows_days=windows, recent_items=4, registry_url_env="RECSYS_FEAST")

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(feature_store(n, [n, 30]).apply) for n in (2, 3, 4)]
        assert all("user_features" in each.result() for each in writing)
    mine = feature_store(0, WINDOWS)
    mine.apply()
    assert sorted(view.name for view in mine._store().list_feature_views()) == sorted(KEYS)
    mine.write_online("user_features", rows()["user_features"])
    assert mine.read_online("user_features", ["007"])["events_7d"].to_list() != [None]
    assert not (mine.folder / "registry.db").exists()


def test_the_names_of_a_view_stand_beside_feasts_keys() -> None:
    assert names_key("user_features") == "recsys_assets/user_features/names"
