"""The ledger in SQLite and in a real Postgres, held to one contract; and what only a server can do: be away.

Here: the fixtures that the contract asks for, and Postgres's own troubles. Not here: the contract.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg2
import pytest

from recsys_assets.cli import main
from recsys_assets.notifications.delivery import Route, collect
from recsys_assets.notifications.outbox import Outbox
from recsys_assets.notifications.receivers import Receiver
from recsys_assets.records import Phase
from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.guard import Post, watch
from recsys_assets.rollout.ledger import Ledger, LedgerUnavailable, open_ledger
from recsys_assets.rollout.ledger_postgres import PostgresBook
from recsys_assets.rollout.route import virtual_service
from recsys_assets.rollout.tick import tick
from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, Settings
from recsys_assets.store_settings import StoreSecrets, StoreSettings
from recsys_assets_tests.rollout.build import desk, later, route
from recsys_assets_tests.stores.ledger_contract import LedgerContract, write
from recsys_assets_tests.stores.servers import Postgres, postgres
from recsys_assets_tests.waiting import HANG_SECONDS


class TestSqlite(LedgerContract):
    make: ClassVar[str] = "from pathlib import Path as book"

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "below" / "ledger.db")

    @pytest.fixture
    def ledger(self, place: str) -> Ledger:
        return Ledger(Path(place))

    @pytest.fixture
    def refused(self, place: str) -> Callable[[str], str]:
        def ask(statement: str) -> str:
            with pytest.raises(sqlite3.IntegrityError) as told, sqlite3.connect(place) as db:
                db.execute(statement)
            return str(told.value)

        return ask

    def test_a_file_of_garbage_is_unavailable_and_not_empty(self, ledger: Ledger, place: str) -> None:
        Path(place).parent.mkdir()
        Path(place).write_bytes(b"garbage" * 1_000)
        with pytest.raises(LedgerUnavailable, match="not a database"):
            ledger.events()


class TestPostgres(LedgerContract):
    make: ClassVar[str] = "from recsys_assets.rollout.ledger_postgres import PostgresBook as book"

    @pytest.fixture
    def place(self, database: str) -> str:
        return database

    @pytest.fixture
    def ledger(self, place: str) -> Ledger:
        return Ledger(PostgresBook(place))

    @pytest.fixture
    def refused(self, place: str) -> Callable[[str], str]:
        return lambda statement: run(place, statement)

    def test_a_table_cannot_be_emptied_at_once_either(self, ledger: Ledger, place: str) -> None:
        write(ledger, "opened", "r1/0", phase="gated")
        assert "append-only" in run(place, "TRUNCATE events")
        assert ledger.last_seq() == 1

    def test_a_role_that_may_only_add_and_read_is_enough(
        self, ledger: Ledger, place: str, postgres_server: Postgres
    ) -> None:
        write(ledger, "opened", "r1/0", phase="gated")
        assert run(place, "CREATE ROLE writer LOGIN; GRANT SELECT, INSERT ON events TO writer") == ""
        theirs = place.replace("postgres@", "writer@")
        assert write(Ledger(PostgresBook(theirs)), "canary", "r1/1")
        assert Ledger(PostgresBook(theirs)).last_seq() == 2
        assert "permission denied" in run(theirs, "DELETE FROM events")
        assert "must be owner" in run(theirs, "DROP TRIGGER no_change ON events")

    def test_what_the_server_refuses_is_told_with_its_reason_and_without_a_password(self, place: str) -> None:
        missing = place.replace("postgres@", "nobody:hunter2@")
        with pytest.raises(LedgerUnavailable, match='role "nobody" does not exist') as told:
            Ledger(PostgresBook(missing)).events()
        assert "hunter2" not in str(told.value)


def run(place: str, statement: str) -> str:
    """What Postgres says against it, or nothing."""
    connection = psycopg2.connect(place)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.Error as refused:
        return str(refused)
    finally:
        connection.close()
    return ""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """One that the tests may kill."""
    with postgres() as server:
        yield server


@pytest.fixture
def own(own_server: Postgres, request: pytest.FixtureRequest) -> str:
    return own_server.make(f"own_{abs(hash(request.node.name))}")


def test_a_server_that_was_killed_is_unavailable_and_found_again(own_server: Postgres, own: str) -> None:
    ledger = Ledger(PostgresBook(own))
    write(ledger, "opened", "r1/0", phase="gated")
    own_server.server.kill()
    for ask in (ledger.events, ledger.last_seq, lambda: write(ledger, "canary", "r1/1")):
        with pytest.raises(LedgerUnavailable, match="refused"):
            ask()
    own_server.server.start()
    assert write(ledger, "canary", "r1/1")
    assert [event.kind for event in ledger.events()] == ["opened", "canary"]


def test_a_server_that_hangs_is_given_up_at_the_deadline(own_server: Postgres, own: str) -> None:
    ledger = Ledger(PostgresBook(own, seconds=0.5))
    write(ledger, "opened", "r1/0", phase="gated")
    own_server.server.pause()
    try:
        with pytest.raises(LedgerUnavailable, match=r"no answer in 0\.5 s"):
            ledger.events()  # raises while the server still hangs: it was given up
    finally:
        own_server.server.resume()
    assert len(ledger.events()) == 1


def test_a_lock_that_somebody_keeps_is_given_up_at_the_deadline(own: str) -> None:
    ledger = Ledger(PostgresBook(own, seconds=0.5))
    write(ledger, "opened", "r1/0", phase="gated")
    holder = psycopg2.connect(own)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LedgerUnavailable, match=r"no answer in 0\.5 s|statement timeout"):
            write(ledger, "canary", "r1/1")
    holder.close()
    patient = Ledger(PostgresBook(own))
    write(patient, "canary", "r1/1")
    assert [event.key for event in patient.events()] == ["r1/0", "r1/1"]


def test_without_its_ledger_a_release_holds_and_the_guard_still_takes_the_weight(
    tmp_path: Path, own_server: Postgres, own: str
) -> None:
    at, clock = desk(tmp_path)
    ledger = Ledger(PostgresBook(own))
    working: Any = at.__class__(**{**at.__dict__, "ledger": ledger})
    at.platform.apply(virtual_service(route(Phase.CANARY, 1)), expected=None)
    own_server.server.kill()
    try:
        with pytest.raises(LedgerUnavailable):
            tick(working, actor="test")
        standing = read_state(at.platform, at.model_name)
        assert standing is not None
        assert (standing.phase, standing.step) == (Phase.CANARY, 1)
        clock.at = 10_000  # nobody renewed the lease
        post = Post(at.model_name, at.platform, ledger, at.metrics, at.top_k, at.clock)
        with pytest.raises(LedgerUnavailable):
            watch(post)
        taken = read_state(at.platform, at.model_name)
        assert taken is not None
        assert taken.split.canary_weight_bp == 0
    finally:
        own_server.server.start()
    tick(working, actor="test")
    assert [event.kind for event in ledger.events("rel-2")][-3:].count(taken.phase.value) == 1


def test_the_notifier_reads_a_ledger_in_postgres(tmp_path: Path, database: str) -> None:
    ledger, outbox = Ledger(PostgresBook(database)), Outbox(tmp_path / "outbox.db")
    receiver = Receiver(url="http://127.0.0.1:9/x", events=frozenset({"promoted"}), timeout_seconds=1)
    way = Route(receiver, ledger, outbox, "recommender", "http://ui", lambda: later(2))
    collect(way)
    write(ledger, "opened", "r1/0", phase="gated", reason="new")
    write(ledger, "champion", "r1/1")
    collect(way)
    assert [message.key for message in outbox.due(receiver.id, later(3), longest_wait=later(1) - later(0))] == ["r1/1"]
    assert outbox.position(receiver.id) == ledger.last_seq() == 2


def test_the_settings_say_which_ledger_it_is(settings: Settings, database: str) -> None:
    open_ledger(settings).append("a", release_id="r", actor="me", at=later(0), key="k", body={})
    assert settings.path("ledger.db").exists()
    named = settings.model_copy(update={"stores": StoreSettings(ledger_url_env="RECSYS_LEDGER_URL")})
    with pytest.raises(ConfigError, match="RECSYS_LEDGER_URL"):
        open_ledger(named)
    with_secret = named.model_copy(update={"secrets": StoreSecrets(ledger_url=database)})
    ledger = open_ledger(with_secret)
    assert ledger.events() == []
    assert ledger.append("a", release_id="r", actor="me", at=later(0), key="k", body={})
    assert Ledger(PostgresBook(database)).has("k")


@pytest.mark.parametrize("module", ["recsys_assets.rollout.guard", "recsys_assets.notifications.notifier"])
def test_a_ledger_in_postgres_brings_no_dagster_and_is_loaded_only_where_it_is_used(module: str) -> None:
    code = f"import sys, {module}; print({{'dagster', 'mlflow', 'feast', 'psycopg2', 'sqlalchemy'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_SECONDS
    )
    assert done.stdout.strip() == "set()"


def test_people_are_told_in_one_line_that_the_ledger_does_not_answer(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "recsys.yaml"
    config.write_text(PACKAGED_CONFIG.read_text() + "stores: {ledger_url_env: RECSYS_LEDGER_URL}\n")
    monkeypatch.setenv("RECSYS_LEDGER_URL", "postgresql://me:hunter2@127.0.0.1:9/ledger")
    monkeypatch.setenv("RECSYS_CONFIG", str(config))
    monkeypatch.setenv("RECSYS_HOME", str(settings.home))
    for words in (["status"], ["show", "rel-1"], ["pause", "rel-1", "--why", "x", "--who", "me"]):
        monkeypatch.setattr(sys, "argv", ["recsys-assets", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr().err
        assert ended.value.code == 1, told
        assert told.startswith("ledger 127.0.0.1:9/ledger: ")
        assert told.count("\n") == 1
        assert "hunter2" not in told
