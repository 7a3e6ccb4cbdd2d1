"""Folders that are data sets: their parts are read, tables of other kinds and unfinished ones are named.

Here: what patterns find in folders and in a bucket's keys, and parts through a run. Not here: single files
(test_oddities.py).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys_assets.interactions.files.datasets import columns_in_path, day_in_path
from recsys_assets.interactions.files.listing import PassedOver, find_keys, find_local
from recsys_assets.interactions.sources import arrived_days
from recsys_assets.interactions.survey import survey
from recsys_assets_tests.interactions.sources import COLUMNS, MONDAY, NOW, TUESDAY, settings_with, write
from recsys_assets_tests.interactions.test_assets import Harness

SPARK = [
    "X.parquet/_SUCCESS",
    "X.parquet/._SUCCESS.crc",
    "X.parquet/part-00000-c.snappy.parquet",
    "X.parquet/.part-00000-c.snappy.parquet.crc",
    "X.parquet/part-00001-c.snappy.parquet",
]
PARTS = ["X.parquet/part-00000-c.snappy.parquet", "X.parquet/part-00001-c.snappy.parquet"]
DELTA = "a Delta table: its log says which files count; export it to Parquet or CSV"
WRITING = "still being written: its writer's folder _temporary is there"
FOUND = {
    "a folder of Spark": (SPARK, "*", PARTS, []),
    "a folder of Spark by a pattern of its own": (SPARK, "*.parquet", PARTS, []),
    "its parts by name": (SPARK, "X.parquet/*.parquet", PARTS, []),
    "everything below": (SPARK, "**", PARTS, []),
    "every Parquet file below": (SPARK, "**/*.parquet", PARTS, []),
    "a folder whose parts have the days in their folders' names": (
        ["X.parquet/day=1/part-0.parquet", "X.parquet/day=2/part-0.parquet"],
        "*",
        ["X.parquet/day=1/part-0.parquet", "X.parquet/day=2/part-0.parquet"],
        [],
    ),
    "partitions by themselves": (["day=1/a.csv", "day=2/b.csv"], "*", ["day=1/a.csv", "day=2/b.csv"], []),
    "a folder of CSV and one of JSON": (
        ["a.csv/part-0.csv.gz", "b.json/part-0.json"],
        "*",
        ["a.csv/part-0.csv.gz", "b.json/part-0.json"],
        [],
    ),
    "an unfinished folder": (
        ["X.parquet/_temporary/0/part-0.parquet", "X.parquet/part-1.parquet"],
        "*",
        [],
        [("X.parquet", WRITING)],
    ),
    "an unfinished folder by its parts": (
        ["X.parquet/_temporary/0/part-0.parquet", "X.parquet/part-1.parquet"],
        "**/*.parquet",
        [],
        [("X.parquet", WRITING)],
    ),
    "a folder just begun": (["X.parquet/_temporary/0/part-0.parquet"], "*", [], [("X.parquet", WRITING)]),
    "a Delta table": (["X.parquet/_delta_log/0.json", "X.parquet/a.parquet"], "*", [], [("X.parquet", DELTA)]),
    "a Delta table by its parts": (["X/_delta_log/0.json", "X/a.parquet"], "**/*.parquet", [], [("X", DELTA)]),
    "a partition of a Delta table": (["X/_delta_log/0.json", "X/d=1/a.parquet"], "**/*.parquet", [], [("X", DELTA)]),
    "a Hudi table": (
        ["X.parquet/.hoodie/a", "X.parquet/a.parquet"],
        "*",
        [],
        [("X.parquet", DELTA.replace("Delta", "Hudi"))],
    ),
    "an Iceberg table": (
        ["X.parquet/metadata/v1.metadata.json", "X.parquet/data/a.parquet"],
        "*",
        [],
        [("X.parquet", DELTA.replace("Delta", "Iceberg"))],
    ),
    "a marker beside files": (["_SUCCESS", "a.csv", ".a.csv.crc"], "*", ["a.csv"], []),
    "a file with a line first": (["_events.csv"], "*", ["_events.csv"], []),
    "another pattern": (SPARK, "*.csv", [], []),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_folder_and_a_bucket_give_the_same_parts(tmp_path: Path, case: str) -> None:
    names, pattern, wanted, passed_over = FOUND[case]
    for name in names:
        write(tmp_path / "in" / Path(name).parent, Path(name).name)
    here = [
        (Path(each.path).relative_to(tmp_path / "in").as_posix(), each.reason)
        if isinstance(each, PassedOver)
        else each.relative_to(tmp_path / "in").as_posix()
        for each in find_local(f"{tmp_path}/in/{pattern}")
    ]
    keys = [
        (each.path.removeprefix("in/"), each.reason) if isinstance(each, PassedOver) else each.removeprefix("in/")
        for each in find_keys([f"in/{name}" for name in names], f"in/{pattern}")
    ]
    assert sorted(set(here), key=str) == sorted([*wanted, *passed_over], key=str)
    assert sorted(keys, key=str) == sorted([*wanted, *passed_over], key=str)


def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in" / "march", "a.csv")
    (tmp_path / "in" / "b.parquet").mkdir()
    assert [(each.path, each.reason) for each in find_local(f"{tmp_path}/in/*") if isinstance(each, PassedOver)] == [
        (f"{tmp_path}/in/b.parquet", "a folder without data files"),
        (f"{tmp_path}/in/march", "a folder: the pattern march/* would match the files in it"),
    ]


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("2024-01-01.csv.gz", MONDAY),
        ("2024-01-01.parquet/part-00000.parquet", MONDAY),
        ("2024-01-02.parquet/part-2024-01-01.parquet", MONDAY),
        ("day=2024-01-01/part-0.parquet", None),
        ("old-2024-01-01/part-0.parquet", None),
    ],
)
def test_the_day_of_a_part(path: str, day: date | None) -> None:
    assert day_in_path(path) == day


def test_columns_in_the_names_of_folders() -> None:
    path = "s3://b/x/how=click%2Ftap/at=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
    assert columns_in_path(path) == {"how": "click/tap", "at": None}


def part(folder: Path, name: str, *hours: int, day: date = MONDAY) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    times = [datetime(day.year, day.month, day.day, hour, tzinfo=UTC) for hour in hours]
    rows = {"who": [f"u{h}" for h in hours], "what": [f"x{h}" for h in hours], "when": times, "stars": [3] * len(hours)}
    schema = {"who": pl.String, "what": pl.String, "when": pl.Datetime("us", "UTC"), "stars": pl.Int64}
    pl.DataFrame(rows, schema=schema).write_parquet(folder / name)


def test_a_day_that_spark_wrote_as_a_folder_is_taken_in_whole(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path))
    folder = harness.inbox / "2024-01-01.parquet"
    part(folder, "part-00000.parquet", 1, 2)
    part(folder, "part-00001.parquet")
    part(folder, "part-00002.parquet", 3)
    (folder / "_SUCCESS").touch()
    assert harness.run(MONDAY).success
    assert harness.stored() == [(MONDAY, 3)]


def test_a_whole_log_in_partitions_brings_its_days_and_the_columns_of_their_names(tmp_path: Path) -> None:
    harness = Harness(settings_with(tmp_path, interactions={"columns": COLUMNS | {"event_type": "how"}}))
    part(harness.inbox / "log.parquet" / "how=click", "part-0.parquet", 1, 2)
    part(harness.inbox / "log.parquet" / "how=play", "part-0.parquet", 3, day=TUESDAY)
    part(harness.inbox / "log.parquet" / "how=play", "part-1.parquet")
    seen = survey(harness.settings, {}, NOW)
    assert list(arrived_days(seen.files, seen.spans)) == [MONDAY, TUESDAY]
    assert seen.words() == []
    assert harness.run(MONDAY, TUESDAY).success
    rows = harness.tables.read("interactions").sort("event_time")
    assert rows.select("day", "event_type").rows() == [(MONDAY, "click"), (MONDAY, "click"), (TUESDAY, "play")]
