"""Oddities of files that exporters really write: each gives the right rows or a refusal that names it.

Here: one small file each, through reading and judging. Not here: strict CSV (test_csv_records.py), categories
(test_categories.py), folders and whole logs (test_folders.py, test_whole_logs.py).
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow
import pyarrow.parquet
import pytest

from recsys_assets.interactions.entities import read_entities
from recsys_assets.interactions.files import unpacking
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.intake import Intake, take_in
from recsys_assets.interactions.reader import read_raw
from recsys_assets.interactions.sources import SourceFile
from recsys_assets.settings import EntitySource
from recsys_assets_tests.interactions.sources import HEADER, MONDAY, NOW, csv_source, data_settings

LINE = {"who": "007", "what": "x1", "when": "2024-01-01T08:00:00Z", "stars": 3}
CSV = f"{HEADER}\n007,x1,2024-01-01T08:00:00Z,3\n8,x2,2024-01-01T09:00:00Z,4\n".encode()
JSON = (json.dumps(LINE) + "\n" + json.dumps(LINE | {"who": "8", "what": "x2"}) + "\n").encode()
PAIRS = [("007", "x1"), ("8", "x2")]


def gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    target = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(target, "zstd") as stream:
        stream.write(content)
    return bytes(target.getvalue())


def judge(folder: Path, name: str, content: bytes, **source: object) -> Intake:
    """What a run makes of one file of Monday."""
    path = folder / name
    path.write_bytes(content)
    data = data_settings(interactions=csv_source(**source), max_duplicate_share=0.0)
    return take_in(data, [SourceFile(str(path), "d", len(content), MONDAY)], [MONDAY], spans={}, trailing={}, now=NOW)


def pairs_of(intake: Intake) -> list[tuple[str, str]]:
    assert intake.violations == []
    return sorted(intake.good_rows.select("user_id", "item_id").rows())


def refusal_of(intake: Intake) -> str:
    assert intake.good_days == []
    return "; ".join(map(str, intake.violations))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", gz(CSV)),
        ("a.csv.zst", zstd(CSV)),
        ("a.csv", gz(CSV)),
        ("a.CSV.GZ", CSV),
        ("a.csv.gz", gz(CSV[:40]) + gz(CSV[40:])),
        ("a.csv.zst", zstd(CSV[:40]) + zstd(CSV[40:])),
        ("a.jsonl.gz", gz(JSON)),
        ("a.json.zst", zstd(JSON)),
        ("a.jsonl", b"\xef\xbb\xbf" + JSON),
        ("a.jsonl.gz", gz(b"\xef\xbb\xbf" + JSON)),
        ("a.csv.gz", gz(b"\xef\xbb\xbf" + CSV)),
        ("a.jsonl", JSON.replace(b"\n", b"\r\n")),
        ("a.jsonl", JSON.replace(b"\n", b"\n\n \t\n")),
        ("a.jsonl", JSON.rstrip()),
    ],
)
def test_packed_and_marked_files_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    assert pairs_of(judge(tmp_path, name, content)) == PAIRS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv.gz", gz(CSV)[:-9], "packed with gzip, and cut or damaged"),
        ("a.csv.gz", gz(CSV)[:20], "packed with gzip, and cut or damaged"),
        ("a.csv.gz", gz(CSV)[:-6] + b"abcdef", "packed with gzip, and cut or damaged"),
        ("a.csv.gz", gz(CSV) + b"junk", "packed with gzip, and cut or damaged"),
        ("a.csv.zst", zstd(CSV)[:-3], "packed with zstd, and cut or damaged"),
        ("a.csv.zst", zstd(CSV) + b"junk", "packed with zstd, and cut or damaged"),
        ("a.jsonl.gz", gz(gz(JSON)), "packed twice: unpack it once"),
        ("a.csv.gz", gz(b""), "the file is empty: 0 bytes when unpacked"),
        ("a.csv.bz2", bz2.compress(CSV), "cannot tell the format"),
        ("a.csv", bz2.compress(CSV), "packed with bzip2: unpack it, or pack it with gzip or zstd"),
        ("a.csv", b"PK\x03\x04" + CSV, "packed with zip"),
        ("a.csv", b"", "the file is empty: 0 bytes"),
        ("a.jsonl", b"", "the file is empty: 0 bytes"),
        ("a.parquet", b"", "the file is empty: 0 bytes"),
        ("a.jsonl", b"\n\n", "the file has no line"),
        ("a.csv", CSV.decode().encode("utf-16"), "UTF-16: convert the file to UTF-8 (iconv -f UTF-16 -t UTF-8)"),
        ("a.csv", CSV.decode().encode("utf-16-be"), "UTF-16BE: convert the file to UTF-8 (iconv"),
        ("a.csv", CSV.decode().encode("utf-16-le"), "UTF-16LE: convert the file to UTF-8 (iconv"),
        ("a.csv", CSV.decode().encode("utf-32"), "UTF-32: convert the file to UTF-8"),
        ("a.jsonl", JSON.decode().encode("utf-16"), "UTF-16: convert the file to UTF-8"),
        ("a.csv.gz", gz(CSV.decode().encode("utf-16")), "UTF-16: convert the file to UTF-8"),
        ("a.jsonl", JSON + b'{"who": "\xe9"}\n', "row 3: unreadable: byte 0xe9 is not UTF-8"),
        ("a.csv", b"PAR1" + CSV, "a Parquet file, though its name or `format` says otherwise"),
        ("a.json", b"[" + JSON.replace(b"}\n{", b"},\n{") + b"]", "write one object a line"),
        ("a.json", json.dumps(LINE, indent=2).encode(), "write one object a line"),
        ("a.jsonl", JSON.replace(b"\n", b"\r"), "row 1: unreadable: not a line of JSON"),
        ("a.jsonl", JSON.replace(b"\n{", b"{"), "row 1: unreadable: not a line of JSON"),
        ("a.jsonl", JSON[:-9], "row 2: unreadable: not a line of JSON"),
        ("a.jsonl", JSON + b"null\n", "row 3: unreadable: a line of JSON, but not an object"),
        ("a.jsonl", b"\xef\xbb\xbf" + JSON + b"\xef\xbb\xbf" + JSON, "row 3: unreadable"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    assert reason in refusal_of(judge(tmp_path, name, content))


@pytest.mark.parametrize("pack", [gz, zstd])
def test_a_file_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(unpacking, "FEW_BYTES", 1 << 16)
    bomb = pack(b"\n" * (1 << 25))
    assert "unpacks to more than" in refusal_of(judge(tmp_path, "a.csv.gz", bomb))


TIMES = [
    "2024-01-01T08:00:00Z",
    "2024-01-01 08:00:00 UTC",
    "2024-01-01 08:00:00UTC",
    "2024-01-01 08:00:00.000000 UTC",
    "2024-01-01T08:00:00 GMT",
    "2024-01-01T08:00:00z",
    "2024-01-01 08:00:00 Z",
    "2024-01-01 08:00:00+0000",
    "2024-01-01 08:00:00+00:00",
    "2024-01-01 08:00:00+00",
    "2024-01-01 08:00:00 +00:00",
    "2024-01-01 09:00:00 +0100",
    "2024-01-01 09:00:00+01",
    "2024-01-01T03:30:00-04:30",
    "2024-01-01 03:30:00 -04:30",
    " 2024-01-01T08:00 ",
    "2024-01-01T08:00:00.000000000Z",
]


@pytest.mark.parametrize("given", TIMES)
def test_every_spelling_of_a_zone_is_the_same_moment(tmp_path: Path, given: str) -> None:
    for name, content in (
        ("a.csv", f"{HEADER}\n1,x,{given},3\n"),
        ("a.jsonl", json.dumps(LINE | {"when": given})),
    ):
        intake = judge(tmp_path, name, content.encode())
        assert intake.violations == []
        assert intake.good_rows["event_time"].to_list() == [datetime(2024, 1, 1, 8, tzinfo=UTC)]


@pytest.mark.parametrize(
    "given",
    [
        "2024-01-01 08:00:00 CET",
        "2024-01-01 08:00:00 America/New_York",
        "2024-01-01 08:00:00 UTC+1",
        "01/02/2024 08:00",
    ],
)
def test_a_zone_by_name_is_refused_with_what_is_taken(tmp_path: Path, given: str) -> None:
    told = refusal_of(judge(tmp_path, "a.csv", f"{HEADER}\n1,x,{given},3\n".encode()))
    assert "row 1, column when: type: not a time in unit iso (taken are 2024" not in told
    assert "row 1, column when: type: not a time in unit iso (taken are " in told
    assert "Z, UTC, GMT or an offset such as +01:00" in told


@pytest.mark.parametrize(
    ("unit", "given", "hint"),
    [
        ("s", "1704096000000", "(with `time_unit: ms` it would be 2024-01-01 08:00 UTC)"),
        ("ms", "1704096000", "(`time_unit: s` would put it there)"),
        ("us", "1704096000000", "(`time_unit: ms` would put it there)"),
        ("ms", "1704096000000000", "(with `time_unit: us` it would be 2024-01-01 08:00 UTC)"),
        ("iso", "1704096000", "(with `time_unit: s` it would be 2024-01-01 08:00 UTC)"),
        ("iso", "1704096000000", "(with `time_unit: ms` it would be 2024-01-01 08:00 UTC)"),
        ("s", "2024-01-01T08:00:00Z", "(a text: `time_unit: iso` reads dates such as"),
        ("us", "1704096000000000000", "(it looks like nanoseconds: divide by 1000 and set `time_unit: us`)"),
    ],
)
def test_another_unit_of_time_is_named(tmp_path: Path, unit: str, given: str, hint: str) -> None:
    assert hint in refusal_of(judge(tmp_path, "a.csv", f"{HEADER}\n1,x,{given},3\n".encode(), time_unit=unit))


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ({"who": 12345678901234567890}, "12345678901234567890"),
        ({"who": 123456789012345678901234567890}, "123456789012345678901234567890"),
        ({"who": 7.0}, "7"),
        ({"who": "é\u2009é".replace("\u2009", "")}, "éé"),
        ({"who": "a\\/b"}, "a\\/b"),
        ({"who": "null"}, "null"),
    ],
)
def test_identifiers_of_json_come_out_as_they_went_in(tmp_path: Path, line: dict[str, Any], pair: str) -> None:
    content = json.dumps(LINE | line).encode()
    assert pairs_of(judge(tmp_path, "a.jsonl", content)) == [(pair, "x1")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"who": 9007199254740993.0', "row 1: unreadable: column who must be a string or a whole number"),
        ('"who": 1e400', "row 1"),
        ('"who": NaN', "row 1"),
        ('"who": "a", "who": "b"', "column who stands twice in the line"),
        ('"who": ["a"]', "column who must be a string or a whole number"),
        ('"who": "a\\u0000b"', "row 1, column who: type: not an identifier"),
    ],
)
def test_identifiers_of_json_that_nobody_could_trust_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    content = json.dumps(LINE).replace('"who": "007"', text).encode()
    assert reason in refusal_of(judge(tmp_path, "a.jsonl", content))


def test_a_key_that_only_late_lines_have_is_a_column(tmp_path: Path) -> None:
    rows = [LINE | {"when": f"2024-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z"} for n in range(1_200)]
    rows[-1]["how"] = "click"
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    columns = {"user_id": "who", "item_id": "what", "event_time": "when", "event_type": "how"}
    intake = judge(tmp_path, "a.jsonl", content, columns=columns, value_range=None)
    assert intake.violations == []
    assert intake.good_rows["event_type"].drop_nulls().to_list() == ["click"]


def parquet(**columns: Any) -> bytes:
    times = [datetime(2024, 1, 1, 8, tzinfo=UTC), datetime(2024, 1, 1, 9, tzinfo=UTC)]
    usual = {"who": ["007", "8"], "what": ["x1", "x2"], "when": times, "stars": [3, 4]}
    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(usual | columns), target, use_deprecated_int96_timestamps=True)
    return target.getvalue()


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"who": pyarrow.array(["007", "8"]).dictionary_encode()},
        {"who": pyarrow.array(["007", "8"], pyarrow.large_string())},
        {"stars": pyarrow.array([Decimal("3.5"), Decimal("4.0")])},
        {"stars": [None, 4.0]},
        {"extra": [["a"], []]},
        {"when": pyarrow.array([1704096000000000000, 1704099600000000000], pyarrow.timestamp("ns"))},
    ],
)
def test_parquet_as_spark_and_pandas_write_it_is_read(tmp_path: Path, columns: dict[str, Any]) -> None:
    assert pairs_of(judge(tmp_path, "a.parquet", parquet(**columns))) == PAIRS


def test_whole_decimals_are_identifiers(tmp_path: Path) -> None:
    who = pyarrow.array([Decimal(7), Decimal(8)], pyarrow.decimal128(38, 0))
    assert pairs_of(judge(tmp_path, "a.parquet", parquet(who=who))) == [("7", "x1"), ("8", "x2")]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"who": pyarrow.array([7.5, 8.0])}, "row 1, column who: type"),
        ({"who": pyarrow.array([b"7", b"8"])}, "row 1, column who: type"),
        ({"who": [{"id": "7"}, {"id": "8"}]}, "row 1, column who: type"),
        ({"who": [None, "8"]}, "row 1, column who: null"),
        ({"stars": ["3", "many"]}, "row 2, column stars: type: not a number"),
        ({"when": pyarrow.array([1704096000000, 1704099600000])}, "column when: type: not a time in unit iso (with"),
    ],
)
def test_parquet_of_other_types_is_refused(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    assert reason in refusal_of(judge(tmp_path, "a.parquet", parquet(**columns)))


def test_a_parquet_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    assert "unreadable: parquet" in refusal_of(judge(tmp_path, "a.parquet", parquet()[:-30]))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_column_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"who ": ["7"], "what": ["x"], "When": ["2024-01-01"], "stars": [3]})
    target = io.BytesIO()
    {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name](target)  # type: ignore[operator]
    told = refusal_of(judge(tmp_path, name, target.getvalue()))
    assert (
        "column who: schema: the file has no column who (mapped to user_id); it has 'who ', what, When, stars" in told
    )
    assert "the file has no column when (mapped to event_time)" in told


@pytest.mark.parametrize("name", ["a[1].", "a*b.", "a?.", "a b.", "ä.", "{x}.", "a'b.", "a%20b.", "a=b."])
def test_signs_in_a_name_are_no_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / "aXb.jsonl").write_bytes(JSON * 3)
    for kind, content in (("csv", CSV), ("jsonl", JSON), ("parquet", parquet())):
        assert pairs_of(judge(tmp_path, name + kind, content)) == PAIRS


def test_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    target = io.BytesIO()
    table = pyarrow.table([["7"], ["x"], ["2024-01-01"], [3], ["8"]], names=[*HEADER.split(","), "who"])
    pyarrow.parquet.write_table(table, target)
    assert "'who' has more than one occurrence" in refusal_of(judge(tmp_path, "a.parquet", target.getvalue()))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'"id","kind"\n"1",""\n2,\n3," "\n'),
        ("a.jsonl", b'{"id":1,"kind":""}\n{"id":2,"kind":null}\n{"id":3,"kind":" "}\n'),
    ],
)
def test_an_empty_text_is_no_category_whether_in_quotes_or_not(tmp_path: Path, name: str, content: bytes) -> None:
    declared = {"kind": {"column": "kind", "kind": "category"}}
    source = EntitySource.model_validate({"path": "x", "id_column": "id", "attributes": declared})
    (tmp_path / name).write_bytes(content)
    assert read_entities(tmp_path / name, source, "item_id")["kind"].to_list() == [None] * 3


def test_a_blank_type_of_event_is_none_and_a_blank_identifier_is_refused(tmp_path: Path) -> None:
    columns = {"user_id": "who", "item_id": "what", "event_time": "when", "event_type": "how"}
    lines = [LINE | {"how": " "}, LINE | {"how": "", "what": "x2"}, LINE | {"how": "tap", "what": "x3"}]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    intake = judge(tmp_path, "a.jsonl", content, columns=columns, value_range=None)
    assert intake.violations == []
    assert sorted(intake.good_rows["event_type"].to_list(), key=str) == [None, None, "tap"]
    told = refusal_of(judge(tmp_path, "a.jsonl", json.dumps(LINE | {"who": "\u00a0"}).encode()))
    assert "row 1, column who: type: not an identifier" in told


def test_a_file_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match="No such file"):
        read_raw(tmp_path / "a.csv", csv_source())


def test_the_day_of_a_file_is_the_day_of_its_events(tmp_path: Path) -> None:
    told = refusal_of(judge(tmp_path, "a.csv", CSV.replace(b"T09", b"T23").replace(b"23:00:00Z", b"23:00:00-02:00")))
    assert "row 2, column when: future: after the file's day 2024-01-01" in told
    assert date(2024, 1, 1) == MONDAY
