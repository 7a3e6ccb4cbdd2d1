"""Tables: what is written comes back, whole days are replaced in one commit, and columns stay what they were.

Here: TablesResource over a real local Delta folder and over a real S3 server. Not here: what any room stores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from deltalake import PostCommitHookProperties, write_deltalake
from polars.testing import assert_frame_equal

from recsys_assets.columns import INTERACTIONS
from recsys_assets.resources.tables import (
    TableMissing,
    TableSchemaChanged,
    TablesResource,
    TablesUnavailable,
    s3_options,
)
from recsys_assets.settings import Settings
from recsys_assets.store_settings import S3Settings, StoreSettings
from recsys_assets_tests.stores.servers import REGION, S3, s3
from recsys_assets_tests.waiting import HANG_SECONDS

MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)


@pytest.fixture
def local_tables(tmp_path: Path) -> TablesResource:
    return TablesResource(root=str(tmp_path / "state" / "tables"))


@pytest.fixture(params=["local", "s3"])
def tables(request: pytest.FixtureRequest) -> TablesResource:
    """Below a folder, and below a prefix of a bucket; the same claims hold for both."""
    if request.param == "local":
        local: TablesResource = request.getfixturevalue("local_tables")
        return local
    bucket: str = request.getfixturevalue("bucket")
    return TablesResource(root=f"{bucket}/state/tables", storage_options=s3_options(on_s3(request)))


def on_s3(request: pytest.FixtureRequest) -> S3Settings:
    server: S3 = request.getfixturevalue("s3_server")
    return S3Settings(endpoint_url=server.endpoint, region=REGION)


def rows(*pairs: tuple[date, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"day": [day for day, _ in pairs], "who": [who for _, who in pairs]},
        schema={"day": pl.Date, "who": pl.String},
    )


def content(tables: TablesResource, version: int | None = None) -> set[tuple[date, str]]:
    return set(tables.read("visits", version=version).select("day", "who").iter_rows())


def test_a_table_that_was_never_written_is_missing_and_not_empty(tables: TablesResource) -> None:
    assert not tables.exists("visits")
    for ask in (tables.version, tables.read, tables.scan, tables.days):
        with pytest.raises(TableMissing, match="visits"):
            ask("visits")


def test_replacing_a_day_leaves_the_other_days_alone(tables: TablesResource) -> None:
    tables.overwrite_days("visits", rows((MONDAY, "ann"), (TUESDAY, "bob")), [MONDAY, TUESDAY])
    tables.overwrite_days("visits", rows((TUESDAY, "cleo"), (TUESDAY, "dan")), [TUESDAY])
    assert content(tables) == {(MONDAY, "ann"), (TUESDAY, "cleo"), (TUESDAY, "dan")}
    assert tables.days("visits") == [MONDAY, TUESDAY]


def test_a_day_replaced_by_no_rows_is_gone(tables: TablesResource) -> None:
    tables.overwrite_days("visits", rows((MONDAY, "ann"), (TUESDAY, "bob")), [MONDAY, TUESDAY])
    tables.overwrite_days("visits", rows(), [TUESDAY])
    assert content(tables) == {(MONDAY, "ann")}
    assert tables.days("visits") == [MONDAY]


def test_a_first_write_of_no_rows_makes_an_empty_table_with_its_columns(tables: TablesResource) -> None:
    tables.overwrite_days("visits", rows(), [MONDAY])
    assert tables.read("visits").schema == {"day": pl.Date, "who": pl.String}
    assert tables.days("visits") == []


def test_an_old_version_can_be_read_again(tables: TablesResource) -> None:
    first = tables.overwrite_days("visits", rows((MONDAY, "ann")), [MONDAY])
    second = tables.overwrite_days("visits", rows((MONDAY, "bob")), [MONDAY])
    assert (content(tables, first), content(tables, second)) == ({(MONDAY, "ann")}, {(MONDAY, "bob")})
    assert tables.version("visits") == second > first
    with pytest.raises(TableMissing, match="no version 99"):
        tables.read("visits", version=99)


def test_rows_of_a_day_that_is_not_replaced_are_refused(tables: TablesResource) -> None:
    tables.overwrite_days("visits", rows((MONDAY, "ann")), [MONDAY])
    with pytest.raises(ValueError, match="2024, 1, 3"):
        tables.overwrite_days("visits", rows((WEDNESDAY, "eve")), [MONDAY])
    assert content(tables) == {(MONDAY, "ann")}


def test_columns_change_only_when_no_old_row_stays(tables: TablesResource) -> None:
    tables.overwrite_days("visits", rows((MONDAY, "ann"), (TUESDAY, "bob")), [MONDAY, TUESDAY])
    wider = rows((MONDAY, "ann")).with_columns(age=pl.lit(30))
    with pytest.raises(TableSchemaChanged, match="age"):
        tables.overwrite_days("visits", wider, [MONDAY])
    with pytest.raises(TableSchemaChanged, match="who"):
        tables.append("visits", rows((MONDAY, "ann")).drop("who"))
    tables.overwrite_days("visits", wider, [MONDAY, TUESDAY])
    assert tables.read("visits").columns == ["day", "who", "age"]


def test_appended_rows_join_those_before_in_any_column_order(tables: TablesResource) -> None:
    tables.append("visits", rows((MONDAY, "ann")))
    tables.append("visits", rows((MONDAY, "bob")).select("who", "day"))
    assert content(tables) == {(MONDAY, "ann"), (MONDAY, "bob")}


def test_lists_times_and_unsigned_counts_come_back(tables: TablesResource) -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    frame = pl.DataFrame(
        {"user_id": ["007"], "recent": [["a", "b"]], "seconds": [[1.5]], "at": [noon], "n": [3]},
        schema_overrides={"n": pl.UInt32, "at": pl.Datetime("ms", "UTC")},
    )
    tables.overwrite("profiles", frame)
    expected = frame.cast({"n": pl.Int64, "at": pl.Datetime("us", "UTC")})
    assert_frame_equal(tables.read("profiles"), expected)


def test_an_empty_interactions_table_keeps_its_schema(tables: TablesResource) -> None:
    tables.overwrite_days("interactions", pl.DataFrame(schema=INTERACTIONS), [MONDAY])
    assert tables.scan("interactions").collect_schema() == INTERACTIONS


def test_a_name_that_is_a_path_is_refused(tables: TablesResource) -> None:
    with pytest.raises(ValueError, match="not a table name"):
        tables.read("../secrets")


def test_the_same_rows_added_again_are_there_once(tables: TablesResource) -> None:
    assert tables.append_new("visits", rows((MONDAY, "ann"), (MONDAY, "ann")), keys=("day", "who")) == 1
    both = rows((MONDAY, "ann"), (TUESDAY, "ann"))
    assert tables.append_new("visits", both, keys=("day", "who")) == 1
    version = tables.version("visits")
    assert tables.append_new("visits", both, keys=("day", "who")) == 0
    assert tables.version("visits") == version, "nothing new is no new version"
    assert content(tables) == {(MONDAY, "ann"), (TUESDAY, "ann")}


def test_no_rows_at_all_make_a_table_that_is_empty(tables: TablesResource) -> None:
    assert tables.append_new("visits", rows(), keys=("who",)) == 0
    assert tables.read("visits").schema == rows().schema
    assert tables.days("visits") == []


def test_writers_side_by_side_add_a_row_once(tables: TablesResource) -> None:
    tables.append_new("visits", rows((MONDAY, "ann")), keys=("who",))
    many = rows(*((TUESDAY, f"visitor {n}") for n in range(200)))
    together = Barrier(3)

    def add() -> int:
        together.wait()
        return tables.append_new("visits", many, keys=("who",))

    with ThreadPoolExecutor(3) as pool:
        added = [future.result() for future in [pool.submit(add) for _ in range(3)]]
    assert sorted(added) == [0, 0, 200]
    assert tables.read("visits").height == 201


def test_rows_are_marked_once_and_only_those_named(tables: TablesResource) -> None:
    tables.append_new("visits", rows((MONDAY, "ann"), (TUESDAY, "bob")).with_columns(bad=False), keys=("who",))
    assert tables.set_true("visits", "bad", where="who = 'bob' OR who = 'nobody'") == 1
    assert tables.set_true("visits", "bad", where="who = 'bob' OR who = 'nobody'") == 0
    assert dict(tables.read("visits").select("who", "bad").iter_rows()) == {"ann": False, "bob": True}


def test_the_small_files_of_days_that_are_over_become_one_and_every_version_stays_readable(
    tables: TablesResource,
) -> None:
    for number in range(4):
        tables.append("visits", rows((MONDAY, f"m{number}"), (TUESDAY, f"t{number}")))
    before = content(tables)
    assert tables.compact("visits", before=TUESDAY, most=4) == 0
    assert tables.compact("visits", before=TUESDAY, most=3) == 4
    assert tables.compact("visits", before=TUESDAY, most=3) == 0
    assert content(tables) == before
    assert content(tables, version=1) == {(MONDAY, "m0"), (TUESDAY, "t0"), (MONDAY, "m1"), (TUESDAY, "t1")}
    assert tables.compact("visits", before=WEDNESDAY, most=3) == 4
    assert content(tables) == before


@pytest.mark.parametrize("way", ["append", "append_new", "overwrite_days", "set_true", "compact"])
def test_a_version_of_long_ago_is_still_there_after_many_commits(local_tables: TablesResource, way: str) -> None:
    """The library's own rule is to forget commits of 30 days ago whenever it writes a checkpoint, here every third.

    Locally only: nobody can make an object on S3 old.
    """
    tables = local_tables
    first = rows((MONDAY, "first")).with_columns(seen=False)
    Path(tables.uri("visits")).mkdir(parents=True)
    often = {"delta.checkpointInterval": "3"}
    write_deltalake(tables.uri("visits"), first, mode="append", partition_by=["day"], configuration=often)
    for number in range(9):
        for file in Path(tables.uri("visits"), "_delta_log").iterdir():
            os.utime(file, (0, 0))
        more = rows((TUESDAY, f"{number}")).with_columns(seen=False)
        if way == "append_new":
            tables.append_new("visits", more, keys=["who"])
        elif way == "overwrite_days":
            tables.overwrite_days("visits", more, [TUESDAY])
        else:
            forgetful = PostCommitHookProperties(create_checkpoint=way == "append", cleanup_expired_logs=False)
            write_deltalake(tables.uri("visits"), more, mode="append", post_commithook_properties=forgetful)
        if way == "append":
            tables.append("visits", more)
        elif way == "set_true":
            tables.set_true("visits", "seen", where=f"who = '{number}'")
        elif way == "compact":
            tables.compact("visits", before=WEDNESDAY, most=1)
    assert content(tables, version=0) == {(MONDAY, "first")}


def test_the_settings_say_where_the_tables_are(settings: Settings) -> None:
    assert TablesResource.of(settings).root == str(settings.path("tables"))
    stores = StoreSettings(tables="s3://lake/recsys", s3=S3Settings(endpoint_url="http://s3:8333", region="eu-west-1"))
    tables = TablesResource.of(settings.model_copy(update={"stores": stores}))
    assert tables.uri("visits") == "s3://lake/recsys/visits"
    assert tables.storage_options["aws_conditional_put"] == "etag"
    assert tables.storage_options["aws_endpoint_url"] == "http://s3:8333"
    assert not [name for name in tables.storage_options if "key" in name or "secret" in name]


def test_of_processes_that_append_at_once_to_s3_none_loses_a_row(bucket: str, s3_server: S3) -> None:
    """Without a conditional put the later commit would silently stand in the place of the earlier one."""
    options = s3_options(S3Settings(endpoint_url=s3_server.endpoint, region=REGION))
    tables = TablesResource(root=f"{bucket}/t", storage_options=options)
    tables.append("visits", rows((MONDAY, "first")))
    code = (
        "import sys, json, polars as pl; from datetime import date;"
        "from recsys_assets.resources.tables import TablesResource;"
        "t = TablesResource(root=sys.argv[1], storage_options=json.loads(sys.argv[2]));"
        "day = date(2024, 1, 1);"
        "[t.append('visits', pl.DataFrame({'day': [day], 'who': [f'{sys.argv[3]}{n}']})) for n in range(8)]"
    )
    words = [[sys.executable, "-c", code, tables.root, json.dumps(options), name] for name in "ab"]
    writers = [subprocess.Popen(each) for each in words]
    assert [writer.wait(timeout=HANG_SECONDS) for writer in writers] == [0, 0]
    who = [name for _, name in content(tables)]
    assert sorted(who) == sorted(["first", *(f"{name}{n}" for name in "ab" for n in range(8))])
    assert tables.version("visits") == 16


def test_a_store_that_is_away_or_refuses_is_unavailable_and_never_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        options = s3_options(S3Settings(endpoint_url=server.endpoint, region=REGION)) | {"max_retries": "1"}
        tables = TablesResource(root=f"{server.make('lake')}/t", storage_options=options)
        tables.append("visits", rows((MONDAY, "ann")))
        elsewhere = TablesResource(root="s3://nowhere/t", storage_options=options)
        with pytest.raises(TablesUnavailable, match="NoSuchBucket"):
            elsewhere.exists("visits")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(TablesUnavailable, match="SignatureDoesNotMatch") as told:
            tables.exists("visits")
        assert "\x1b" not in str(told.value)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.environment["AWS_SECRET_ACCESS_KEY"])
        server.server.kill()
        for ask in (tables.exists, tables.read, tables.version, lambda name: tables.append(name, rows())):
            with pytest.raises(TablesUnavailable, match="s3://lake/t/visits"):
                ask("visits")
        server.server.start()
        assert content(tables) == {(MONDAY, "ann")}
