"""Two runs never write one thing at once, whatever started them; who waits says for whom.

Here: the lock of a home and that of a database, and which assets take it. Not here: two runs of a stack (journeys).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from pydantic import SecretStr

from recsys_assets.definitions import build_defs
from recsys_assets.resources.one_writer import exclusive, one_writer
from recsys_assets.resources.writer_locks import FileLock, LockLost, LockUnavailable
from recsys_assets.settings import Settings
from recsys_assets_tests.waiting import HANG_SECONDS, eventually

HOLDS = """
import sys
from pathlib import Path
from recsys_assets.resources.writer_locks import FileLock
with FileLock(Path(sys.argv[1]), "run one") as lock:
    assert lock.take()
    print("held", flush=True)
    sys.stdin.read()
"""
# What these write is compared and swapped, numbered by the registry, or in files of their own.
SAFE_OTHERWISE = {"shadow_comparison", "canary", "champion", "ranker_model", "drill_report"}


def on_postgres(settings: Settings, url: str) -> Settings:
    secrets = settings.secrets.model_copy(update={"ledger_url": SecretStr(url)})
    stores = settings.stores.model_copy(update={"ledger_url_env": "LEDGER_URL"})
    return settings.model_copy(update={"secrets": secrets, "stores": stores})


@pytest.fixture(params=["in a home", "in a database"])
def shared(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "in a home":
        return settings
    return on_postgres(settings, request.getfixturevalue("database"))


class Writer(threading.Thread):
    """Somebody who writes in a thread of their own: waits, writes until released."""

    def __init__(self, settings: Settings, name: str, who: str) -> None:
        super().__init__(daemon=True)
        self.settings, self.what, self.who = settings, name, who
        self.writes, self.release, self.told = threading.Event(), threading.Event(), list[str]()

    def run(self) -> None:
        with exclusive(self.settings, self.what, who=self.who, tell=self.told.append):
            self.writes.set()
            assert self.release.wait(HANG_SECONDS)


def test_the_second_writer_waits_and_says_for_whom(shared: Settings) -> None:
    first, second = Writer(shared, "items", "run one"), Writer(shared, "items", "run two")
    first.start()
    assert first.writes.wait(HANG_SECONDS)
    second.start()
    eventually(lambda: second.told, what="a word of the second")
    assert second.told[0].startswith("items: waiting for run one")
    assert not second.writes.is_set()
    first.release.set()
    assert second.writes.wait(HANG_SECONDS)
    second.release.set()
    second.join(HANG_SECONDS)
    assert "this run goes on" in second.told[-1]
    assert first.told == []


def test_two_different_things_are_written_at_once(shared: Settings) -> None:
    first, second = Writer(shared, "items", "run one"), Writer(shared, "users", "run two")
    for each in (first, second):
        each.start()
    for each in (first, second):
        assert each.writes.wait(HANG_SECONDS)
        each.release.set()


def test_a_lock_ends_with_its_process_even_if_that_was_killed(settings: Settings) -> None:
    path = settings.path("locks", "items.lock")
    words = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        second = Writer(settings, "items", "run two")
        second.start()
        eventually(lambda: second.told, what="a word of the second")
        assert second.told == [f"items: waiting for run one (process {holder.pid}), which is writing it"]
        holder.kill()
    assert second.writes.wait(HANG_SECONDS)
    second.release.set()


def test_a_writer_whose_connection_was_cut_has_failed(settings: Settings, database: str) -> None:
    shared = on_postgres(settings, database)
    with (
        pytest.raises(LockLost, match="run it again"),
        exclusive(shared, "items", who="run one", tell=print),
        psycopg2.connect(database) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'run one'")


def test_without_an_answer_of_the_database_nothing_is_written(settings: Settings) -> None:
    away = on_postgres(settings, "postgresql://nobody@127.0.0.1:9/nothing")
    with (
        pytest.raises(LockUnavailable, match="does not say who else writes"),
        exclusive(away, "items", who="run one", tell=print),
    ):
        raise AssertionError("it was written")


def test_an_asset_waits_inside_its_run_and_the_run_tells(settings: Settings) -> None:
    @dg.asset
    @one_writer(settings, "items")
    def items() -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
        with FileLock(settings.path("locks", "items.lock"), "another") as other:
            yield dg.MaterializeResult(metadata={"held": not other.take()})

    first, results = Writer(settings, "items", "run one"), list[dg.ExecuteInProcessResult]()
    with dg.DagsterInstance.ephemeral() as instance:
        first.start()
        assert first.writes.wait(HANG_SECONDS)
        run = threading.Thread(target=lambda: results.append(dg.materialize([items], instance=instance)))
        run.start()

        def said() -> list[str]:
            logged = [entry.user_message for each in instance.get_run_ids() for entry in instance.all_logs(each)]
            return [message for message in logged if "waiting for run one" in message]

        eventually(said, what="the run's word")
        first.release.set()
        run.join(HANG_SECONDS)
    [made] = results[0].asset_materializations_for_node("items")
    assert made.metadata["held"].value is True


def test_every_asset_that_writes_what_others_write_takes_the_lock(settings: Settings) -> None:
    bodies = {}
    for asset in build_defs(settings).assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        compute = getattr(asset.op, "compute_fn", None)
        bodies[asset.key.to_user_string()] = vars(getattr(compute, "decorated_fn", object))
    alone = {name for name, body in bodies.items() if body.get("writes_alone") == name}
    assert set(bodies) - alone == SAFE_OTHERWISE


def test_a_home_that_nobody_used_yet_is_locked_too(tmp_path: Path) -> None:
    with FileLock(tmp_path / "not" / "there" / "items.lock", "run one") as lock:
        assert lock.take()
        assert lock.holder().startswith("run one (process ")
