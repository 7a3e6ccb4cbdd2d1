"""Whole logs: one bad or quiet day blocks itself, and a log that cannot be read is named where people look.

Here: runs, ticks, the quarantine and `status` over real files. Not here: what a row may hold (test_contract.py).
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.interactions.assets import ALL_READ, CHECKS
from recsys_assets.interactions.days import TABLE
from recsys_assets.interactions.files.listing import PassedOver
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.interactions.sources import look_at
from recsys_assets.interactions.survey import keep_aside, recall, survey
from recsys_assets_tests.interactions.sources import (
    HEADER,
    MONDAY,
    NOW,
    TUESDAY,
    WEDNESDAY,
    blocked_days,
    good_rows,
    settings_with,
    write,
)
from recsys_assets_tests.interactions.test_assets import Harness, failed


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(settings_with(tmp_path))


BAD = {
    "interactions_have_no_nulls": f",x9,{TUESDAY}T09:00:00Z,3",
    "interactions_are_not_duplicated": good_rows(TUESDAY)[0],
    "interactions_are_in_range": f"9,x9,{TUESDAY}T09:00:00Z,9",
    "interactions_schema_is_valid": f"9,x9,{TUESDAY}T09:00:00Z,many",
}


@pytest.mark.parametrize("check", BAD)
def test_a_bad_row_of_one_day_blocks_that_day_of_the_log_only(harness: Harness, check: str) -> None:
    days = (MONDAY, TUESDAY, WEDNESDAY)
    write(harness.inbox, "log.csv", *(row for day in days for row in good_rows(day)), BAD[check])
    told = failed(harness.run(MONDAY, WEDNESDAY))
    assert set(told) == {check}
    assert harness.stored() == [(MONDAY, 3), (WEDNESDAY, 3)]
    assert blocked_days(harness.tables.read(TABLE)) == [TUESDAY]
    (kept,) = read_quarantine(harness.settings.home)
    assert kept.days == (TUESDAY,)


def test_a_quiet_day_blocks_that_day_of_the_log_only(harness: Harness) -> None:
    write(harness.inbox, "log.csv", *good_rows(MONDAY), *good_rows(WEDNESDAY))
    told = failed(harness.run(MONDAY, WEDNESDAY))
    assert "2024-01-02: no event at all" in told["interaction_volume_is_usual"]
    assert harness.stored() == [(MONDAY, 3), (WEDNESDAY, 3)]


@pytest.mark.parametrize("row", ["u,x,never,3", "u,x,,3", "u,x,2999-01-01T00:00:00Z,3"])
def test_a_row_that_no_time_places_blocks_every_day_of_its_log(harness: Harness, row: str) -> None:
    write(harness.inbox, "log.csv", *good_rows(MONDAY), row, *good_rows(TUESDAY))
    assert not harness.run(MONDAY, TUESDAY).success
    assert blocked_days(harness.tables.read(TABLE)) == [MONDAY, TUESDAY]


def test_days_one_by_one_and_at_once_block_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("at_once", "one_by_one"):
        (tmp_path / name).mkdir()
        harness = Harness(settings_with(tmp_path / name, max_null_share=0.3))
        # A third of Monday's rows and a half of Tuesday's have no user.
        rows = [*good_rows(MONDAY, 3), f",x,{MONDAY}T09:00:00Z,3", *good_rows(TUESDAY, 1), f",x,{TUESDAY}T09:00:00Z,3"]
        write(harness.inbox, "log.csv", *rows)
        for first, last in [(MONDAY, TUESDAY)] if name == "at_once" else [(MONDAY, MONDAY), (TUESDAY, TUESDAY)]:
            harness.run(first, last)
        found.append((harness.stored(), blocked_days(harness.tables.read(TABLE))))
    assert found == [([(MONDAY, 3)], [TUESDAY])] * 2


def test_the_quarantine_of_a_log_keeps_what_was_found_on_other_days(harness: Harness) -> None:
    bad = [f",x9,{day}T09:00:00Z,3" for day in (MONDAY, TUESDAY)]
    write(harness.inbox, "log.csv", *good_rows(MONDAY), *good_rows(TUESDAY), *bad)
    for day in (MONDAY, TUESDAY):
        assert not harness.run(day).success
    (kept,) = read_quarantine(harness.settings.home)
    assert kept.days == (MONDAY, TUESDAY)
    assert [each["row"] for each in kept.violations] == [8, 7]


UNREADABLE = {
    "cut.csv.gz": (gzip.compress(b"who,what,when,stars\n1,x,2024-01-01,3\n")[:-5], "packed with gzip, and cut"),
    "wide.csv": ("who,what,when,stars\n1,x,2024-01-01,3\n".encode("utf-16"), "UTF-16: convert the file"),
    "nothing.csv": (b"", "the file is empty: 0 bytes"),
    "quotes.csv": (b'who,what,when,stars\n1,24" x,2024-01-01,3\n', "row 1: unreadable: a quote stands inside a field"),
    "units.csv": (b"who,what,when,stars\n1,x,1704096000000,3\n", "(with `time_unit: ms` it would be 2024-01-01 08:00"),
    "columns.csv": (b"who,what,at\n1,x,2\n", "no column when (mapped to event_time); it has who, what, at"),
    "times.csv": (b"who,what,when,stars\n1,x,,3\n", "column when is empty in every row"),
    "half.parquet": (b"PAR1", "parquet"),
    "notes.md": (b"# Notes", "cannot tell the format"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_log_that_cannot_be_read_is_named_and_kept_and_stops_no_day_of_the_others(
    harness: Harness, name: str
) -> None:
    content, reason = UNREADABLE[name]
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    (harness.inbox / name).write_bytes(content)
    result = harness.run(MONDAY)
    assert result.success
    assert reason in failed(result)[ALL_READ]
    assert harness.stored() == [(MONDAY, 3)]
    (kept,) = read_quarantine(harness.settings.home)
    assert (harness.settings.home / "quarantine" / kept.digest / name).read_bytes() == content
    assert any(reason in word for word in recall(harness.settings.home)["words"])


def words_of(harness: Harness, now: datetime = NOW) -> str:
    return "; ".join(survey(harness.settings, {}, now).words())


def test_a_pattern_that_matches_nothing_is_named(harness: Harness) -> None:
    assert words_of(harness) == f"nothing matches {harness.inbox}/*"


def test_a_log_in_another_unit_is_named_with_the_unit_that_would_fit(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path, interactions={"time_unit": "ms"}))
    write(harness.inbox, "log.csv", "1,x,1704096000,3", "2,x,1704182400,3")
    told = words_of(harness)
    assert "column when: events of 1970-01-20 to 1970-01-20, none of them from 2024-01-01 on" in told
    assert "with `time_unit: s` there would be some" in told
    assert len(survey(harness.settings, {}, NOW).broken) == 1


def test_what_is_left_out_is_named(harness: Harness) -> None:
    write(harness.inbox, "2023-12-31.csv", *good_rows(date(2023, 12, 31)))
    write(harness.inbox, "log.csv", *good_rows(MONDAY), *good_rows(date(2024, 2, 3)))
    write(harness.inbox, "none.csv")
    told = words_of(harness)
    assert "2023-12-31.csv: it begins on 2023-12-31; days before start_date 2024-01-01 are left out" in told
    assert "log.csv: it ends on 2024-02-03; days from end_date 2024-02-01 on are left out" in told
    assert "none.csv: unreadable: the file has columns and no row" in told
    assert survey(harness.settings, {}, NOW).broken == ()


def test_a_day_that_is_not_over_waits(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path, end_date=None))
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert "it ends on 2024-01-01; a day is taken in when it is over" in words_of(harness, noon)
    assert words_of(harness, noon + timedelta(days=1)) == ""


def test_a_dangling_link_and_a_pipe_are_named_and_stop_nothing(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    (harness.inbox / "2024-01-02.csv").symlink_to("/nowhere/2024-01-02.csv")
    os.mkfifo(harness.inbox / "2024-01-03.csv")
    result = harness.run(MONDAY)
    assert result.success
    told = failed(result)[ALL_READ]
    assert "2024-01-02.csv: unreadable: a link to /nowhere/2024-01-02.csv, which is not there" in told
    assert "2024-01-03.csv: unreadable: neither a file nor a folder" in told


def test_a_file_that_may_not_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write(Path(folder), "2024-01-01.csv", *good_rows(MONDAY)).chmod(0o644)
        write(Path(folder), "2024-01-02.csv", *good_rows(TUESDAY)).chmod(0)
        is_superuser = os.geteuid() == 0
        try:
            if is_superuser:  # who may read everything, so somebody else looks
                os.seteuid(65_534)
            found = look_at(f"{folder}/*.csv")
        finally:
            if is_superuser:
                os.seteuid(0)
    assert [file.name for file in found.files] == ["2024-01-01.csv"]
    assert found.passed_over == (PassedOver(f"{folder}/2024-01-02.csv", "cannot be opened: Permission denied"),)


def test_what_was_seen_is_written_down_only_when_it_changes(harness: Harness) -> None:
    write(harness.inbox, "2024-01-01.csv", *good_rows(MONDAY))
    assert recall(harness.settings.home) == {}
    harness.run(MONDAY)
    first = recall(harness.settings.home)
    again = harness.run(MONDAY)
    assert recall(harness.settings.home) == first
    assert json.loads((harness.settings.home / "intake.json").read_text())["files"] == 1
    assert set(CHECKS) | {ALL_READ} == {e.check_name for e in again.get_asset_check_evaluations()}


def test_of_a_log_that_grows_one_piece_is_kept_and_what_it_is_when_it_has_stopped(harness: Harness) -> None:
    home, known = harness.settings.home, dict[str, Any]()
    whole = gzip.compress("\n".join([HEADER, *good_rows(MONDAY)]).encode())
    for size in (30, 40, 50):
        write(harness.inbox, "log.csv.gz").write_bytes(whole[:size])
        seen = survey(harness.settings, known, NOW)
        keep_aside(home, seen, NOW)
        assert "packed with gzip, and cut or damaged" in "; ".join(seen.words())
    pieces = home / "quarantine"
    assert [len(path.read_bytes()) for path in pieces.glob("*/log.csv.gz")] == [30]
    keep_aside(home, survey(harness.settings, known, NOW), NOW)
    assert sorted(len(path.read_bytes()) for path in pieces.glob("*/log.csv.gz")) == [30, 50]
    write(harness.inbox, "log.csv.gz").write_bytes(whole)
    assert survey(harness.settings, known, NOW).words() == []
