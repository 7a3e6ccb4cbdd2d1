"""Reading: the three formats give the same events, identifiers keep every character, broken files say where.

Here: files in, canonical frames out. Not here: judging the rows (test_contract.py).
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.columns import INTERACTIONS
from recsys_assets.interactions.files.opening import ROW
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.reader import (
    SourceMissingError,
    canonical,
    event_times,
    read_interactions,
    read_raw,
)
from recsys_assets.settings import InteractionSource
from recsys_assets_tests.interactions.sources import (
    MONDAY,
    NOW,
    TUESDAY,
    WEDNESDAY,
    csv_source,
    good_rows,
    settings_with,
    write,
)

PLAIN = InteractionSource(
    paths=("x",), columns={"user_id": "u", "item_id": "i", "event_time": "t", "value": "v"}, time_unit="s"
)


def read(path: Path, source: InteractionSource = PLAIN) -> pl.DataFrame:
    return canonical(read_raw(path, source), source)


def test_parquet_csv_and_json_lines_give_the_same_events(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": [1, 2], "i": ["007", "b"], "t": [1_704_067_200, 1_704_067_201], "v": [1.5, None]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    frame.write_ndjson(tmp_path / "a.jsonl")
    first, *others = (read(tmp_path / f"a.{kind}") for kind in ("parquet", "csv", "jsonl"))
    assert first.drop(ROW).schema == INTERACTIONS
    assert first.select(ROW, "user_id", "item_id", "day").rows() == [(1, "1", "007", MONDAY), (2, "2", "b", MONDAY)]
    for other in others:
        assert_frame_equal(other, first)


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(st.from_regex(r"0{0,3}[0-9]{1,12}", fullmatch=True), min_size=1, max_size=8))
def test_leading_zeros_survive_csv_json_and_parquet(ids: list[str]) -> None:
    frame = pl.DataFrame({"u": ids, "i": ids, "t": [0] * len(ids), "v": [1.0] * len(ids)})
    with tempfile.TemporaryDirectory() as folder:
        frame.write_csv(Path(folder) / "a.csv")
        frame.write_ndjson(Path(folder) / "a.jsonl")
        frame.write_parquet(Path(folder) / "a.parquet")
        for kind in ("csv", "jsonl", "parquet"):
            assert read(Path(folder) / f"a.{kind}")["user_id"].to_list() == ids


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1), min_size=1, max_size=8))
def test_whole_number_identifiers_become_their_digits(ids: list[int]) -> None:
    frame = pl.DataFrame(
        {"u": ids, "i": ids, "t": [0] * len(ids), "v": [1.0] * len(ids)}, schema_overrides={"u": pl.Int64}
    )
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "a.parquet")
        frame.write_csv(Path(folder) / "a.csv")
        for kind in ("parquet", "csv"):
            assert read(Path(folder) / f"a.{kind}")["user_id"].to_list() == [str(each) for each in ids]


@pytest.mark.parametrize(
    ("unit", "given"),
    [
        ("iso", "2024-01-01T10:00:00Z"),
        ("iso", "2024-01-01 10:00"),
        ("iso", "2024-01-01T12:00:00.000+0200"),
        ("s", "1704103200"),
        ("ms", "1704103200000"),
        ("us", "1704103200000000"),
    ],
)
def test_every_time_unit_means_the_same_moment(tmp_path: Path, unit: str, given: str) -> None:
    source = csv_source(time_unit=unit)
    path = write(tmp_path, "a.csv", f"u,i,{given},1")
    assert read(path, source)["event_time"][0] == datetime(2024, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("dtype", [pl.Datetime("ns"), pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Berlin")])
def test_typed_times_need_no_unit(tmp_path: Path, dtype: pl.Datetime) -> None:
    frame = pl.DataFrame({"u": ["a"], "i": ["b"], "t": [datetime(2024, 1, 1, 10)], "v": [1.0]})  # noqa: DTZ001
    hour = 9 if dtype.time_zone == "Europe/Berlin" else 10
    frame = frame.with_columns(pl.col("t").dt.replace_time_zone(dtype.time_zone).cast(dtype))
    frame.write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")["event_time"][0] == datetime(2024, 1, 1, hour, tzinfo=UTC)


def test_a_range_of_a_log_reads_its_rows_and_those_that_time_cannot_place(tmp_path: Path) -> None:
    path = write(
        tmp_path, "log.csv", *good_rows(MONDAY, 2), *good_rows(TUESDAY, 2), "u,i,never,1", "u,i,2099-01-01,1", "u,i,,1"
    )
    raw = read_raw(path, csv_source(), start=TUESDAY, end=WEDNESDAY, now=NOW)
    assert raw[ROW].to_list() == [3, 4, 5, 6, 7]


def test_integer_times_of_a_parquet_log_are_read_by_range(tmp_path: Path) -> None:
    at = [int(datetime(2024, 1, day, tzinfo=UTC).timestamp()) for day in (1, 2, 2, 3)]
    pl.DataFrame({"u": [1] * 4, "i": [1, 2, 3, 4], "t": at, "v": [1.0] * 4}).write_parquet(tmp_path / "log.parquet")
    assert read_raw(tmp_path / "log.parquet", PLAIN, start=TUESDAY, end=WEDNESDAY)["item_id"].to_list() == [2, 3]
    assert [time.date() for time in event_times(tmp_path / "log.parquet", PLAIN)] == [MONDAY, WEDNESDAY]


def test_a_truncated_parquet_file_is_unreadable_and_has_no_span(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"u": [1], "i": [1], "t": [1], "v": [1.0]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceUnreadableError):
        read_raw(path, PLAIN)
    with pytest.raises(SourceUnreadableError):
        event_times(path, PLAIN)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_file_of_no_bytes_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SourceUnreadableError):
        read_raw(tmp_path / name, PLAIN)


def test_a_csv_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", *good_rows(MONDAY), "u,i,2024-01-01,1,extra")
    with pytest.raises(SourceUnreadableError, match="5 fields where the header has 4") as broken:
        read_raw(path, csv_source())
    assert broken.value.row == 4


def test_a_json_line_cut_short_is_named(tmp_path: Path) -> None:
    line = json.dumps({"u": 1, "i": 2, "t": 3, "v": 4})
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line}\n{line[:9]}")
    with pytest.raises(SourceUnreadableError, match="JSON") as broken:
        read_raw(tmp_path / "a.jsonl", PLAIN)
    assert broken.value.row == 3


def test_a_column_that_the_file_lacks_is_left_out_of_the_raw_frame(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "u,i,1", header="who,what,stars")
    assert read_raw(path, csv_source(), start=MONDAY).columns == [ROW, "user_id", "item_id", "value"]
    (tmp_path / "a.jsonl").write_text('{"who": 1, "stars": 2}\n')
    assert read_raw(tmp_path / "a.jsonl", csv_source()).columns == [ROW, "user_id", "value"]


def test_a_whole_source_is_read_in_order_of_time(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    write(settings.home / "inbox", "2024-01-02.csv", *good_rows(TUESDAY, 2))
    write(settings.home / "inbox", "2024-01-01.csv", *good_rows(MONDAY, 2))
    everything = read_interactions(settings, settings.data.interactions)
    assert everything["day"].to_list() == [MONDAY, MONDAY, TUESDAY, TUESDAY]
    later = read_interactions(settings, settings.data.interactions, start=TUESDAY, end=TUESDAY + timedelta(days=1))
    assert later["day"].unique().to_list() == [date(2024, 1, 2)]


def test_a_source_that_lacks_a_column_is_no_empty_source(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    write(settings.home / "inbox", "2024-01-01.csv", "u,x,1", header="user,what,when")
    with pytest.raises(SourceUnreadableError, match=r"no column who \(mapped to user_id\); it has user, what, when"):
        read_interactions(settings, settings.data.interactions)


def test_a_source_without_files_names_its_patterns(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    with pytest.raises(SourceMissingError, match="inbox"):
        read_interactions(settings, settings.data.interactions)
