"""Interactions that come from a bucket: listed, told apart by content, taken in, quarantined; away is not empty.

Here: `sources.py` and the asset over a real S3 server. Not here: what is wrong with a row.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from recsys_assets.interactions.assets import ALL_READ
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.interactions.reader import read_interactions
from recsys_assets.interactions.sources import arrived_days, list_files, local_copy
from recsys_assets.resources.tables import TablesResource, s3_options
from recsys_assets.store_settings import S3Settings
from recsys_assets_tests.interactions.sources import HEADER, MONDAY, TUESDAY, WEDNESDAY, good_rows, settings_with
from recsys_assets_tests.interactions.test_assets import Harness, failed
from recsys_assets_tests.stores.servers import REGION, S3


def put(s3: S3, bucket: str, key: str, *rows: str) -> None:
    s3.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body="\n".join([HEADER, *rows, ""]).encode())


@pytest.fixture
def harness(tmp_path: Path, bucket: str, s3_server: S3) -> Harness:
    """Events in a bucket, tables in the same one."""
    made = Harness(settings_with(tmp_path, interactions={"paths": [f"{bucket}/clicks/*.csv"]}))
    options = s3_options(S3Settings(endpoint_url=s3_server.endpoint, region=REGION))
    made.tables = TablesResource(root=f"{bucket}/tables", storage_options=options)
    return made


def test_files_of_a_bucket_are_listed_as_those_of_a_folder_and_told_apart_by_content(
    harness: Harness, bucket: str, s3_server: S3
) -> None:
    put(s3_server, bucket, "clicks/2024-01-01.csv", *good_rows(MONDAY))
    put(s3_server, bucket, "clicks/2024-01-02.csv", *good_rows(TUESDAY))
    put(s3_server, bucket, "clicks/old/2024-01-03.csv", *good_rows(WEDNESDAY))
    put(s3_server, bucket, "clicks/notes.txt", "x")
    source = harness.settings.data.interactions
    files = list_files(harness.settings, source)
    assert [file.path for file in files] == [f"{bucket}/clicks/2024-01-01.csv", f"{bucket}/clicks/2024-01-02.csv"]
    before = arrived_days(files, {})
    assert list(before) == [MONDAY, TUESDAY]
    put(s3_server, bucket, "clicks/2024-01-02.csv", *good_rows(TUESDAY, 4))
    after = arrived_days(list_files(harness.settings, source), {})
    assert (after[MONDAY] == before[MONDAY], after[TUESDAY] == before[TUESDAY]) == (True, False)
    with local_copy(files[0].path) as path:
        assert path.read_text().splitlines()[1:] == good_rows(MONDAY)
    assert not path.exists()
    assert read_interactions(harness.settings, source).height == 7


def test_days_of_a_bucket_are_stored_and_a_bad_file_is_quarantined_whole(
    harness: Harness, bucket: str, s3_server: S3
) -> None:
    put(s3_server, bucket, "clicks/2024-01-01.csv", *good_rows(MONDAY))
    assert harness.run(MONDAY).success
    assert harness.stored() == [(MONDAY, 3)]
    put(s3_server, bucket, "clicks/2024-01-02.csv", *good_rows(TUESDAY), "u,x,no time,3")
    assert not harness.run(TUESDAY).success
    (bad,) = read_quarantine(harness.settings.home)
    assert (bad.file, bad.days) == (f"{bucket}/clicks/2024-01-02.csv", (TUESDAY,))
    copy = harness.settings.path("quarantine", bad.digest, "2024-01-02.csv")
    assert copy.read_text().splitlines()[-1] == "u,x,no time,3"
    assert harness.stored() == [(MONDAY, 3)]


def test_a_packed_file_and_the_parts_of_a_folder_are_read_from_a_bucket_and_a_cut_one_is_named(
    tmp_path: Path, harness: Harness, bucket: str, s3_server: S3
) -> None:
    harness.settings = settings_with(tmp_path, interactions={"paths": [f"{bucket}/clicks/*"]})
    content = "\n".join([HEADER, *good_rows(MONDAY), ""]).encode()
    name = bucket.removeprefix("s3://")
    for key, body in {
        "clicks/2024-01-01.csv.gz": gzip.compress(content),
        "clicks/2024-01-02.csv/part-0.csv": content.replace(b"2024-01-01", b"2024-01-02"),
        "clicks/2024-01-02.csv/part-1.csv": HEADER.encode(),
        "clicks/2024-01-02.csv/_SUCCESS": b"",
        "clicks/late.parquet/_temporary/0/part-0.parquet": b"PAR1",
        "clicks/log.csv.gz": gzip.compress(content)[:-5],
    }.items():
        s3_server.client().put_object(Bucket=name, Key=key, Body=body)
    result = harness.run(MONDAY, TUESDAY)
    assert result.success
    assert harness.stored() == [(MONDAY, 3), (TUESDAY, 3)]
    told = failed(result)[ALL_READ]
    assert f"{bucket}/clicks/late.parquet: unreadable: still being written" in told
    assert f"{bucket}/clicks/log.csv.gz: unreadable: packed with gzip, and cut or damaged" in told


def test_a_bucket_that_is_not_there_is_an_error_and_not_an_empty_one(tmp_path: Path, bucket: str) -> None:
    settings = settings_with(tmp_path, interactions={"paths": ["s3://nowhere/clicks/*.csv"]})
    with pytest.raises((ClientError, BotoCoreError), match="NoSuchBucket"):
        list_files(settings, settings.data.interactions)
