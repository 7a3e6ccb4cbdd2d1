"""The asset `interactions`: a bad file stops the run, is kept whole, and changes no stored row.

Here: real runs in process over small files. Not here: each rule by itself (test_contract.py).
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from recsys_assets.interactions.assets import ALL_READ, CHECKS, build_assets
from recsys_assets.interactions.days import TABLE
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.sources import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    blocked_days,
    good_rows,
    settings_with,
    write,
)

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class Harness:
    """A home with an inbox, its tables, and runs of `interactions`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inbox = settings.home / "inbox"
        self.tables = TablesResource(root=str(settings.path("tables")))
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, first: date, last: date | None = None, select: str = "interactions") -> dg.ExecuteInProcessResult:
        tags = {START: first.isoformat(), END: (last or first).isoformat()} if select == "interactions" else {}
        return dg.materialize(
            build_assets(self.settings),
            resources={"tables": self.tables},
            selection=[select],
            tags=tags,
            instance=self.instance,
            raise_on_error=False,
        )

    def stored(self) -> list[tuple[date, int]]:
        rows = self.tables.read("interactions")
        return [(day, int(n)) for day, n in rows.group_by("day").len().sort("day").iter_rows()]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(settings_with(tmp_path))


def failed(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {e.check_name: e.description or "" for e in result.get_asset_check_evaluations() if not e.passed}


def test_good_days_are_stored_and_every_check_passes(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY, 4))
    result = harness.run(MONDAY, TUESDAY)
    assert result.success
    assert {e.check_name for e in result.get_asset_check_evaluations()} == {*CHECKS, ALL_READ}
    assert harness.stored() == [(MONDAY, 3), (TUESDAY, 4)]
    assert harness.tables.read("interactions").filter(pl.col("user_id") == "001").height == 2


def test_a_range_and_day_by_day_give_the_same_table(tmp_path: Path) -> None:
    tables = []
    for name in ("range", "days"):
        (tmp_path / name).mkdir()
        harness = Harness(settings_with(tmp_path / name))
        for day in (MONDAY, TUESDAY, WEDNESDAY):
            write(harness.inbox, f"{day}.csv", *good_rows(day))
        write(harness.inbox, "log.csv", *good_rows(MONDAY, 5)[3:], *good_rows(WEDNESDAY, 5)[3:])
        runs = [(MONDAY, WEDNESDAY)] if name == "range" else [(d, d) for d in (MONDAY, TUESDAY, WEDNESDAY)]
        assert all(harness.run(*each).success for each in runs)
        tables.append(harness.tables.read("interactions").sort("event_time"))
    assert tables[0].equals(tables[1])
    assert tables[0].height == 13


def test_a_repeated_run_replaces_and_does_not_add(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.run(MONDAY).success
    assert harness.run(MONDAY).success
    assert harness.stored() == [(MONDAY, 3)]


POISON = {
    "interactions_have_no_nulls": (",x9,2024-01-02T09:00:00Z,3", "row 4, column who: null"),
    "interactions_are_not_from_the_future": ("9,x9,2024-01-03T09:00:00Z,3", "row 4, column when: future"),
    "interactions_are_not_duplicated": (good_rows(TUESDAY)[0], "row 4, column who, what, when: duplicate"),
    "interactions_are_in_range": ("9,x9,2024-01-02T09:00:00Z,9", "row 4, column stars: range"),
    "interactions_schema_is_valid": ("x9,2024-01-02T09:00:00Z,3,9", "row 4, column when: type"),
}


@pytest.mark.parametrize("check", POISON)
def test_a_poisoned_day_is_quarantined_whole_and_its_old_rows_stay(harness: Harness, check: str) -> None:
    row, place = POISON[check]
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY, 2))
    assert harness.run(MONDAY, TUESDAY).success
    poisoned = write(harness.inbox, "2024-01-02.csv", *good_rows(TUESDAY), row)
    result = harness.run(TUESDAY)
    assert not result.success
    assert place in failed(result)[check]
    assert str(poisoned) in failed(result)[check]
    assert harness.stored() == [(MONDAY, 3), (TUESDAY, 2)]
    (kept,) = read_quarantine(harness.settings.home)
    folder = harness.settings.home / "quarantine" / kept.digest
    assert (folder / poisoned.name).read_bytes() == poisoned.read_bytes()
    assert kept.days == (TUESDAY,)
    assert json.loads((folder / "violations.json").read_text())["violations"][0]["row"] == 4
    assert blocked_days(harness.tables.read(TABLE)) == [TUESDAY]


def test_good_days_beside_a_bad_one_are_stored_but_nothing_downstream_runs(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    write(harness.inbox, "2024-01-02.csv", ",x,2024-01-02T01:00:00Z,3")
    write(harness.inbox, "2024-01-03.csv", *good_rows(WEDNESDAY))
    ran = []

    @dg.asset(deps=["interactions"])
    def downstream() -> None:
        ran.append(1)

    result = dg.materialize(
        [*build_assets(harness.settings), downstream],
        resources={"tables": harness.tables},
        selection=["interactions", "downstream"],
        tags={START: "2024-01-01", END: "2024-01-03"},
        instance=harness.instance,
        raise_on_error=False,
    )
    assert not result.success
    assert ran == []
    assert harness.stored() == [(MONDAY, 3), (WEDNESDAY, 3)]


def test_a_good_file_in_place_of_the_bad_one_clears_the_day(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", ",x,2024-01-01T01:00:00Z,3")
    assert not harness.run(MONDAY).success
    assert blocked_days(harness.tables.read(TABLE)) == [MONDAY]
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.run(MONDAY).success
    assert blocked_days(harness.tables.read(TABLE)) == []
    assert len(read_quarantine(harness.settings.home)) == 1


def test_a_bad_file_taken_in_twice_is_kept_once(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", ",x,2024-01-01T01:00:00Z,3")
    assert not harness.run(MONDAY).success
    assert not harness.run(MONDAY).success
    assert len(list((harness.settings.home / "quarantine").iterdir())) == 1


def test_a_truncated_file_fails_every_check_because_nothing_was_judged(harness: Harness) -> None:
    harness.inbox.mkdir(parents=True)
    path = harness.inbox / "2024-01-01.parquet"
    pl.DataFrame({"who": ["a"], "what": ["b"], "when": ["2024-01-01"], "stars": [1]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    told = failed(harness.run(MONDAY))
    assert set(told) == set(CHECKS)
    assert "unreadable" in told["interactions_schema_is_valid"]
    assert told["interactions_have_no_nulls"].startswith("INCONCLUSIVE")


def test_a_missing_column_is_named(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", "a,b,3", header="who,what,stars")
    assert "column when: schema" in failed(harness.run(MONDAY))["interactions_schema_is_valid"]


def test_an_empty_file_and_an_odd_volume_fail_the_volume_check(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY, 1))
    write(harness.inbox, "2024-01-02.csv", *(f"u,x{n},2024-01-02T00:00:00Z,3" for n in range(60)))
    write(harness.inbox, "2024-01-03.csv")
    told = failed(harness.run(MONDAY, WEDNESDAY))
    assert set(told) == {"interaction_volume_is_usual"}
    assert "60 events; 0.02 to 50 are usual" in told["interaction_volume_is_usual"]
    assert "no event at all" in told["interaction_volume_is_usual"]
    assert harness.stored() == [(MONDAY, 1)]


def test_a_day_without_a_file_fails_and_names_the_patterns(harness: Harness) -> None:
    result = harness.run(MONDAY)
    assert not result.success
    (event,) = result.get_step_failure_events()
    assert "no file has events of 2024-01-01" in str(event.step_failure_data.error or event.step_failure_data)
    assert not harness.tables.exists("interactions")


def test_a_row_without_a_time_in_a_whole_log_blocks_the_days_of_the_run(harness: Harness) -> None:
    write(harness.inbox, "log.csv", *good_rows(MONDAY), "u,x,never,3", *good_rows(TUESDAY))
    assert "row 4, column when: type" in failed(harness.run(MONDAY, TUESDAY))["interactions_schema_is_valid"]
    assert not harness.tables.exists("interactions")
    assert blocked_days(harness.tables.read(TABLE)) == [MONDAY, TUESDAY]


def test_entities_without_a_file_are_those_that_events_name(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert harness.run(MONDAY).success
    assert harness.run(MONDAY, select="users").success
    assert harness.tables.read("users").to_dict(as_series=False) == {"user_id": ["000", "001", "002"]}
