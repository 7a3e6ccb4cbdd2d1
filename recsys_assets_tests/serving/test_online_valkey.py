"""The online store on a real Valkey: empty, well, hanging, full of garbage, killed. Each time the server answers.

Here: one real server, and what is done to the Valkey beside it. Not here: the reader's parity with Feast (stores/).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import mmh3
import pytest
import redis

from recsys_assets.features.online import PROJECT, entity_key
from recsys_assets.features.online_redis import names_key, names_value
from recsys_assets_tests.serving.processes import Running, running
from recsys_assets_tests.serving.test_online_store import SEEN, settled
from recsys_assets_tests.stores.servers import HOST, Valkey, valkey

VIEW = "user_features"
KEY = entity_key("user_id", "newcomer") + PROJECT.encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey"), password="hunter2") as started:
        yield started


@pytest.fixture(scope="module")
def server(home: Path, store: Valkey) -> Iterator[Running]:
    words = ("--bundle", home / "bundles" / "3", "--home", home, "--online-store", store.address(1))
    words += ("--online-password-env", "VALKEY_PASSWORD", "--online-timeout-ms", "400", "--deadline-ms", "5000")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VALKEY_PASSWORD", "hunter2")
        with running("server", *words) as started:
            yield started


def write_store(store: Valkey) -> None:
    """One user's row under the keys, in the fields and the encoding of Feast's Redis store."""
    from feast.protos.feast.types.Value_pb2 import DoubleList, StringList, Value
    from google.protobuf.timestamp_pb2 import Timestamp

    values = {
        "recent_items": Value(string_list_val=StringList(val=["i00", "i02"])),
        "recent_times": Value(double_list_val=DoubleList(val=[SEEN] * 2)),
        "events_7d": Value(int64_val=2),
    }
    fields = {mmh3.hash(f"{VIEW}:{name}", signed=False).to_bytes(4, "little"): name for name in values}
    known_until = Timestamp()
    known_until.FromDatetime(datetime(2024, 1, 31, tzinfo=UTC))
    with client(store) as ours:
        ours.set(names_key(VIEW), names_value(fields))
        row = {field: values[name].SerializeToString() for field, name in fields.items()}
        ours.hset(KEY, mapping=row | {f"_ts:{VIEW}".encode(): known_until.SerializeToString()})


@contextmanager
def client(store: Valkey) -> Iterator[redis.Redis]:
    with closing(redis.Redis(host=HOST, port=store.server.port, db=1, password="hunter2")) as ours:
        yield ours


def test_a_store_that_nobody_filled_then_one_that_is_well_then_garbage_then_well(
    server: Running, store: Valkey
) -> None:
    assert settled(server, "u03", "no_online_store")["flags"] == ["online_store_unavailable"]
    write_store(store)
    assert settled(server, "newcomer", "full")["flags"] == []
    assert settled(server, "u03", "no_online_store")["flags"] == ["no_online_row"]
    with client(store) as ours:
        ours.hset(KEY, f"_ts:{VIEW}", b"\xff\xff")
    assert settled(server, "newcomer", "no_online_store")["flags"] == ["online_store_unavailable", "last_known"]
    write_store(store)
    assert settled(server, "newcomer", "full")["flags"] == []


def test_a_store_that_hangs_costs_no_second_request_anything(server: Running, store: Valkey) -> None:
    write_store(store)
    assert settled(server, "newcomer", "full")
    store.server.pause()
    try:
        server.predict({"user_id": "u03", "k": 3})
        answers = [server.predict({"user_id": "u03", "k": 3}).json()["predictions"][0] for _ in range(10)]
        assert {answer["rung"] for answer in answers} == {"no_online_store"}
        assert not [answer for answer in answers if "online_store_slow" in answer["flags"]]  # nobody waited
    finally:
        store.server.resume()
    assert settled(server, "newcomer", "full")["flags"] == []


def test_a_store_that_was_killed_is_found_again(server: Running, store: Valkey) -> None:
    store.server.kill()
    assert settled(server, "u03", "no_online_store")["flags"] == ["online_store_unavailable"]
    store.server.start()
    write_store(store)
    assert settled(server, "newcomer", "full")["flags"] == []
