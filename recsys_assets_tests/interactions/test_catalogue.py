"""Items and users: what breaks the contract is kept in quarantine with its place, and the table stays as it was.

Here: the sensor, real runs, tables and check results. Not here: reading each kind of attribute (test_entities.py).
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets.interactions.catalogue.report import checks_of
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.resources.attempts import WORK_TAG
from recsys_assets_tests.interactions.harness import Harness
from recsys_assets_tests.interactions.sources import MONDAY, good_rows, settings_with, write
from recsys_assets_tests.waiting import eventually

SENSOR, JOB = "catalogue_sensor", "catalogue"
HEADER = "id,title,genre,price,born"
NOW = datetime.now(UTC)


def source(name: str = "items", **changes: Any) -> dict[str, Any]:
    attributes = {
        "title": {"column": "title", "kind": "text"},
        "genre": {"column": "genre", "kind": "category"},
        "price": {"column": "price", "kind": "number", "range": [0, 100]},
        "born": {"column": "born", "kind": "time"},
    }
    return {"path": "{home}/" + f"{name}.csv", "id_column": "id", "attributes": attributes, **changes}


def row(n: int, **changes: str) -> str:
    cells = {"id": f"x{n}", "title": f"title {n}", "genre": "ab"[n % 2], "price": str(n), "born": "2024-01-01"}
    return ",".join({**cells, **changes}.values())


ROWS = [row(n) for n in range(10)]


class Catalogue(Harness):
    """Ten items in the file; `load` asks and runs until nothing is asked for."""

    def put(self, *rows: str, header: str = HEADER) -> Path:
        return write(self.settings.home, "items.csv", *rows, header=header)

    def load(self) -> list[bool]:
        return self.rounds(SENSOR, JOB)

    def ids(self) -> list[str]:
        return self.tables.read("items")["item_id"].to_list()

    def results(self) -> dict[str, Any]:
        """The newest evaluation of every check of `items`."""
        found = {}
        for name in checks_of("items"):
            key = dg.AssetCheckKey(dg.AssetKey("items"), name)
            record = self.instance.get_latest_asset_check_evaluation_record(key)
            found[name] = record.event.dagster_event.asset_check_evaluation_data if record and record.event else None  # type: ignore[union-attr]
        return found

    def failed(self) -> dict[str, str]:
        return {name: each.description or "" for name, each in self.results().items() if not each.passed}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(settings_with(tmp_path, items=source()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A day of interactions with x0, x1 and x2, and the ten items of the file; tests take copies of its home."""
    first = Catalogue(settings_with(tmp_path_factory.mktemp("made"), items=source()))
    write(first.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert first.rounds() == [True]
    first.put(*ROWS)
    assert first.load() == [True]
    return first


@pytest.fixture
def loaded(made: Catalogue, catalogue: Catalogue) -> Catalogue:
    """The same in a home of the test's own, with no run in Dagster's history."""
    shutil.copytree(made.settings.home, catalogue.settings.home)
    return catalogue


def test_a_good_file_passes_every_check(made: Catalogue) -> None:
    assert made.ids() == [f"x{n}" for n in range(10)]
    assert made.failed() == {}
    assert made.words == "items: the table is what its file says"


def test_without_the_history_of_its_runs_the_table_is_what_its_file_says(loaded: Catalogue) -> None:
    assert loaded.load() == []
    assert loaded.words == "items: the table is what its file says"


def test_a_catalogue_that_comes_back_is_loaded_again(loaded: Catalogue) -> None:
    more = [*ROWS, row(10)]
    for rows in (more, ROWS, more):
        loaded.put(*rows)
        assert loaded.load() == [True]
        assert len(loaded.ids()) == len(rows)


def test_the_table_decides_and_not_what_a_run_once_said(loaded: Catalogue) -> None:
    loaded.tables.overwrite("items", loaded.tables.read("items").head(3))
    loaded.wait(minutes=1)
    assert loaded.load() == [True]
    assert len(loaded.ids()) == 10


def test_other_attributes_make_another_table_of_the_same_file(loaded: Catalogue, tmp_path: Path) -> None:
    less = source()
    del less["attributes"]["born"]
    loaded.use(settings_with(tmp_path, items=less))
    assert loaded.load() == [True]
    assert set(loaded.tables.read("items").columns) == {"item_id", "title", "genre", "price"}


def test_a_run_that_failed_for_a_passing_reason_is_asked_for_again(catalogue: Catalogue) -> None:
    catalogue.put(*ROWS)
    (request,) = catalogue.tick(SENSOR)
    table = catalogue.settings.path("tables", "items")
    table.parent.mkdir(parents=True)
    table.write_text("a full disk")
    assert not catalogue.run(request, JOB).success
    table.unlink()
    assert catalogue.tick(SENSOR) == []
    assert "ended with FAILURE (try 1 of 5): again at" in catalogue.words
    catalogue.wait(minutes=1)
    assert catalogue.load() == [True]


def test_a_load_under_way_is_not_doubled_and_a_deleted_one_is_asked_for_again(catalogue: Catalogue) -> None:
    catalogue.put(*ROWS)
    (request,) = catalogue.tick(SENSOR)
    job = catalogue.defs.resolve_job_def(JOB)
    run = catalogue.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=dict(request.tags))
    assert catalogue.tick(SENSOR) == []
    assert "is under way" in catalogue.words
    catalogue.instance.delete_run(run.run_id)
    (again,) = catalogue.tick(SENSOR)
    assert (again.tags[WORK_TAG], again.run_key) == (request.tags[WORK_TAG], request.run_key)


BROKEN: dict[str, tuple[list[str], str, str]] = {
    "no identifier": ([row(3, id="")], "items_have_no_nulls", "row 11, column id: null"),
    "an identifier that no request could name": ([row(3, id="a ")], "items_schema_is_valid", "row 11, column id: type"),
    "a number that is none": (
        [row(10, price="12,5".replace(",", ";"))],
        "items_schema_is_valid",
        "row 11, column price",
    ),
    "a number out of its range": ([row(10, price="101")], "items_are_in_range", "row 11, column price: range"),
    "an endless number": ([row(10, price="inf")], "items_are_in_range", "row 11, column price: range: not a finite"),
    "a time that is none": ([row(10, born="soon")], "items_schema_is_valid", "row 11, column born: type"),
    "a time to come": ([row(10, born="2999-01-01")], "items_are_not_from_the_future", "row 11, column born: future"),
    "two different rows of one id": ([row(3, title="?")], "items_are_not_duplicated", "row 11, column id: duplicate"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_that_breaks_the_contract_leaves_the_old_table(loaded: Catalogue, case: str) -> None:
    rows, check, place = BROKEN[case]
    before = loaded.tables.read("items")
    path = loaded.put(*ROWS, *rows)
    assert loaded.load() == [False]
    assert place in loaded.failed()[check]
    assert str(path) in loaded.failed()[check]
    assert loaded.tables.read("items").equals(before)
    (kept,) = read_quarantine(loaded.settings.home)
    folder = loaded.settings.home / "quarantine" / kept.digest
    assert (folder / "items.csv").read_bytes() == path.read_bytes()
    listed = json.loads((folder / "violations.json").read_text())["violations"][0]
    assert (listed["file"], listed["row"]) == (str(path), 11)
    assert "REFUSED, in quarantine" in loaded.words


SMALLER: dict[str, tuple[list[str], str, str]] = {
    "no row": ([], "item_volume_is_usual", "no row at all"),
    "half of the rows": (ROWS[:5], "item_volume_is_usual", "5 rows; the table in place has 10 rows"),
    "nothing but identifiers": ([f"x{n},,,," for n in range(10)], "item_volume_is_usual", "(attribute price)"),
    "other zeros before": (
        [row(n, id=f"x0{n}") for n in range(10)],
        "item_ids_match_interactions",
        "such as 'x0', 'x1', 'x2', the file names 0.0%",
    ),
}


@pytest.mark.parametrize("case", SMALLER)
def test_a_file_that_lost_much_is_refused_and_may_be_accepted_by_a_person(loaded: Catalogue, case: str) -> None:
    rows, check, reason = SMALLER[case]
    before = loaded.tables.read("items")
    loaded.put(*rows)
    (request,) = loaded.tick(SENSOR)
    assert not loaded.run(request, JOB).success
    assert set(loaded.failed()) == {check}
    assert reason in loaded.failed()[check]
    assert loaded.tables.read("items").equals(before)
    assert loaded.tick(SENSOR) == []
    config = {"ops": {"items": {"config": {"accept_smaller": True}}}}
    assert loaded.run(request, JOB, config=config).success
    assert loaded.tables.read("items").height == len(rows)
    assert "accepted by the run's configuration" in loaded.results()[check].description
    assert loaded.tick(SENSOR) == []


def test_a_lower_limit_accepts_what_was_refused(loaded: Catalogue, tmp_path: Path) -> None:
    loaded.put(*ROWS[:5])
    assert loaded.load() == [False]
    loaded.use(settings_with(tmp_path, items=source(min_kept_ratio=0.5)))
    assert loaded.load() == [True]
    assert len(loaded.ids()) == 5


def test_a_column_that_vanished_is_named_and_nothing_else_is_judged(loaded: Catalogue) -> None:
    loaded.put("x1,title,a,1", header="id,title,genre,price")
    assert loaded.load() == [False]
    told = loaded.failed()
    assert "column born: schema" in told["items_schema_is_valid"]
    assert "id, title, genre, price" in told["items_schema_is_valid"]
    others = set(checks_of("items")) - {"items_schema_is_valid"}
    assert {name for name, why in told.items() if why.startswith("INCONCLUSIVE")} == others
    assert len(loaded.ids()) == 10


def test_no_file_is_no_pass(loaded: Catalogue) -> None:
    (loaded.settings.home / "items.csv").unlink()
    assert loaded.tick(SENSOR) == []
    assert "no file" in loaded.words
    assert not loaded.run(dg.RunRequest(asset_selection=[dg.AssetKey("items")]), JOB).success
    assert all(why.startswith("INCONCLUSIVE") for why in loaded.failed().values())
    assert set(loaded.failed()) == set(checks_of("items"))
    assert len(loaded.ids()) == 10


def test_a_folder_of_several_files_is_no_catalogue_and_says_so(loaded: Catalogue, tmp_path: Path) -> None:
    folder = loaded.settings.home / "items.parquet"
    folder.mkdir()
    for part in ("part-0.parquet", "part-1.parquet"):
        pl.DataFrame({"id": [part]}).write_parquet(folder / part)
    loaded.use(settings_with(tmp_path, items=source(path="{home}/items.parquet")))
    assert loaded.tick(SENSOR) == []
    assert "holds 2 files, and items are read from one" in loaded.words


def test_a_copy_that_keeps_size_and_time_of_the_file_before_it_is_noticed(loaded: Catalogue) -> None:
    path = loaded.settings.home / "items.csv"
    before = path.stat()
    path.write_text(path.read_text().replace("title 3", "Title 3"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert loaded.load() == [True]
    assert "Title 3" in loaded.tables.read("items")["title"].to_list()


def test_the_refused_file_is_forgotten_when_the_old_one_is_back(loaded: Catalogue) -> None:
    loaded.put()
    assert loaded.load() == [False]
    loaded.put(*ROWS)
    assert loaded.load() == []
    assert loaded.words == "items: the table is what its file says"


def test_a_first_load_without_interactions_says_so_and_is_compared_when_they_come(catalogue: Catalogue) -> None:
    catalogue.put(*(row(n, id=f"0x{n}") for n in range(10)))
    assert catalogue.load() == [True]
    check = "item_ids_match_interactions"
    assert catalogue.failed() == {check: "INCONCLUSIVE: there are no interactions yet to compare with"}
    write(catalogue.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert catalogue.rounds() == [True]
    catalogue.wait(minutes=1)
    assert catalogue.load() == [False]
    assert "such as 'x0', 'x1', 'x2', the file names 0.0%" in catalogue.failed()[check]
    catalogue.put(*ROWS)
    assert catalogue.load() == [True]
    assert catalogue.failed() == {}


def test_a_first_load_of_an_empty_file_or_of_an_empty_attribute_is_refused(catalogue: Catalogue) -> None:
    catalogue.put()
    assert catalogue.load() == [False]
    assert "no row at all" in catalogue.failed()["item_volume_is_usual"]
    catalogue.put(*(row(n, genre="") for n in range(10)))
    assert catalogue.load() == [False]
    assert "column genre: empty: no row has a value" in catalogue.failed()["item_volume_is_usual"]
    assert not catalogue.tables.exists("items")


def empty_parquet(path: Path) -> None:
    pl.DataFrame(schema=dict.fromkeys(HEADER.split(","), pl.String)).write_parquet(path)


EMPTY = {
    "csv": lambda path: path.write_text(HEADER + "\n"),
    "parquet": empty_parquet,
    "jsonl": lambda path: path.write_text("\n"),
    "zero.csv": lambda path: path.write_bytes(b""),
    "zero.parquet": lambda path: path.write_bytes(b""),
    "zero.jsonl": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_file_of_every_format_leaves_the_table(loaded: Catalogue, tmp_path: Path, kind: str) -> None:
    loaded.use(settings_with(tmp_path, items=source(path="{home}/none." + kind)))
    EMPTY[kind](loaded.settings.home / f"none.{kind}")
    assert loaded.load() == [False]
    assert len(loaded.ids()) == 10
    assert len(read_quarantine(loaded.settings.home)) == 1


def test_users_are_held_to_the_same_and_do_not_wait_for_items(tmp_path: Path) -> None:
    both = Catalogue(settings_with(tmp_path, items=source(), users=source("users")))
    write(both.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert both.rounds() == [True]
    users = [row(n, id=f"00{n}") for n in range(5)]
    write(both.settings.home, "users.csv", *users, header=HEADER)
    assert both.load() == [True]
    assert "items: no file" in both.words
    write(both.settings.home, "users.csv", header=HEADER)
    both.put(*ROWS)
    assert sorted(both.load()) == [False, True]
    assert both.tables.read("users").height == 5
    write(both.settings.home, "users.csv", *(row(n, id=str(n)) for n in range(5)), header=HEADER)
    assert both.load() == [False]
    assert both.tables.read("users")["user_id"].to_list() == [f"00{n}" for n in range(5)]


def test_a_time_to_come_is_looked_at_again_after_a_day(loaded: Catalogue) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    loaded.put(*ROWS, row(10, born=soon.isoformat()))
    assert loaded.load() in ([False], [True])
    eventually(lambda: datetime.now(UTC) > soon)
    loaded.wait(days=2)
    assert loaded.load() in ([True], [])
    assert len(loaded.ids()) == 11


def test_users_without_a_file_and_before_any_interaction_do_not_fail_the_load_of_items(catalogue: Catalogue) -> None:
    catalogue.put(*ROWS)
    result = catalogue.run(dg.RunRequest(), JOB)
    assert result.success
    assert not catalogue.tables.exists("users")
    found = [each for each in result.get_asset_check_evaluations() if each.asset_key == dg.AssetKey("users")]
    assert {each.check_name for each in found} == set(checks_of("users"))
    assert not any(each.passed for each in found)
    assert all("no interactions yet" in (each.description or "") for each in found)
