"""The online store dead, full of garbage, locked or well: each time the server answers, and says from which rung.

Here: one real server over a store file that the tests change. Not here: the reader's parity with Feast.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.features.online import entity_key
from recsys_assets.rollout.metrics import LogMetrics
from recsys_assets.rollout.outcomes import Scope, WeightSince, visitor_outcomes
from recsys_assets_tests.rollout.build import plan
from recsys_assets_tests.serving.processes import Running, running
from recsys_assets_tests.waiting import eventually

TABLE = "recsys_assets_user_features"
SEEN = datetime(2024, 1, 30, 23, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feast") / "online.db"


@pytest.fixture(scope="module")
def patient(home: Path, store: Path) -> Iterator[Running]:
    arguments = ("--bundle", home / "bundles" / "3", "--home", home, "--online-store", store)
    with running("server", *arguments, "--online-timeout-ms", "400", "--deadline-ms", "5000") as started:
        yield started


def write_store(path: Path, user: str, items: list[str]) -> None:
    """One user's row, in Feast's own table and encoding."""
    from feast.protos.feast.types.Value_pb2 import DoubleList, StringList, Value

    values = {
        "recent_items": Value(string_list_val=StringList(val=items)),
        "recent_times": Value(double_list_val=DoubleList(val=[SEEN] * len(items))),
        "events_7d": Value(int64_val=2),
    }
    stamp = datetime(2024, 1, 31, tzinfo=UTC).timestamp()
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE {TABLE} (entity_key BLOB, feature_name TEXT, value BLOB, event_ts INTEGER)")
        rows = [(entity_key("user_id", user), name, value.SerializeToString(), stamp) for name, value in values.items()]
        db.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)", rows)
    db.close()


def settled(server: Running, user: str, rung: str) -> dict[str, object]:
    """The first answer from this rung; after failures the server leaves the store alone for a second."""

    def from_this_rung() -> dict[str, object] | None:
        response = server.predict({"user_id": user, "k": 3})
        assert response.status_code == 200
        answer: dict[str, object] = response.json()["predictions"][0]
        return answer if answer["rung"] == rung and "online_store_paused" not in str(answer["flags"]) else None

    return eventually(from_this_rung, what=f"an answer from the rung {rung}")


def test_no_store_then_garbage_then_a_lock_then_a_store_that_is_well(patient: Running, store: Path) -> None:
    assert settled(patient, "u03", "no_online_store")["flags"] == ["online_store_unavailable"]

    store.write_bytes(b"this is no database" * 500)
    assert settled(patient, "u03", "no_online_store")["flags"] == ["online_store_unavailable"]

    store.unlink()
    write_store(store, "newcomer", ["i00", "i02"])
    assert settled(patient, "newcomer", "full")["flags"] == []
    assert settled(patient, "u03", "no_online_store")["flags"] == ["no_online_row"]
    assert settled(patient, "nobody", "popular")["flags"] == ["unknown_user"]

    with sqlite3.connect(store, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert settled(patient, "u03", "no_online_store")["flags"] in (
            ["online_store_slow"],
            ["online_store_unavailable"],
        )
        holder.execute("ROLLBACK")
    holder.close()
    assert settled(patient, "newcomer", "full")["flags"] == []


def test_a_store_that_hangs_costs_no_second_request_anything(patient: Running, store: Path) -> None:
    for hanging in ("lock", "pipe"):
        with broken(store, hanging):
            patient.predict({"user_id": "u03", "k": 3})
            answers = [patient.predict({"user_id": "u03", "k": 3}).json()["predictions"][0] for _ in range(10)]
            assert {answer["rung"] for answer in answers} == {"no_online_store"}
            assert not [answer for answer in answers if "online_store_slow" in answer["flags"]]  # nobody waited
        assert settled(patient, "newcomer", "full")["flags"] == []


def test_a_server_that_starts_during_an_outage_is_ready_and_answers(home: Path, store: Path) -> None:
    arguments = ("--bundle", home / "bundles" / "3", "--home", home, "--online-store", store, "--unattested")
    for outage in ("lock", "pipe"):
        with broken(store, outage), running("server", *arguments) as started:
            answer = started.predict({"user_id": "u03", "k": 3}).json()["predictions"][0]
            assert (answer["rung"], len(answer["items"])) == ("no_online_store", 3)


def test_answers_of_a_lower_rung_are_left_out_of_the_analysis(patient: Running, store: Path, home: Path) -> None:
    began = datetime.now(UTC)
    assert settled(patient, "newcomer", "full")
    visit(patient, "well-1", "well-2")
    with broken(store, "pipe"):
        settled(patient, "newcomer", "no_online_store")
        visit(patient, "ill-1", "ill-2", "ill-3")
    scope = Scope(
        model_version="3",
        stable_version="2",
        plan=plan(attribution_seconds=0.001),
        weights=(WeightSince(began - timedelta(seconds=10), 5_000),),
        top_k=10,
        now=datetime.now(UTC) + timedelta(seconds=60),
    )
    found = visitor_outcomes(LogMetrics(home).logs(began), scope)
    assert (sorted(found.visitors["visitor_id"]), found.degraded) == (["well-1", "well-2"], 3)


def visit(server: Running, *visitors: str) -> None:
    for visitor in visitors:
        headers = {"x-user-id": visitor, "x-recsys-variant": "canary"}
        assert server.predict({"user_id": "newcomer", "k": 3}, headers=headers).status_code == 200


@contextmanager
def broken(store: Path, how: str) -> Iterator[None]:
    """Locked by another process for ever, or a pipe in the file's place."""
    aside = store.with_suffix(".aside")
    if how == "pipe":
        store.rename(aside)
        os.mkfifo(store)
    holder = sqlite3.connect(store if how == "lock" else aside, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.close()
        if how == "pipe":
            aside.replace(store)


def test_items_seen_since_training_are_left_out_of_the_next_answer(patient: Running, store: Path) -> None:
    first = settled(patient, "u03", "no_online_store")  # its store knows a newcomer only
    best = str(first["items"][0]["item_id"])  # type: ignore[index]
    store.unlink()
    write_store(store, "u03", [best])
    again = settled(patient, "u03", "full")
    assert again["flags"] == []
    assert best not in str(again["items"])
