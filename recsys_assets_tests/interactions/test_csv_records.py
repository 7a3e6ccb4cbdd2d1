"""CSV: every row that a strict reader finds is found, or the file is refused with the row that breaks it.

Here: literal files, and the law against Python's own csv module. Not here: what a row may hold (test_contract.py).
"""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys_assets.interactions.entities import EntitiesBrokenError, read_entities
from recsys_assets.interactions.files import pieces
from recsys_assets.interactions.files.csv_records import count_csv
from recsys_assets.interactions.files.opening import ROW, OpenFile, open_file
from recsys_assets.interactions.formats import SourceUnreadableError
from recsys_assets.interactions.reader import read_raw
from recsys_assets.settings import EntitySource, InteractionSource
from recsys_assets_tests.interactions.sources import csv_source

SIGNS = ['"', ",", "\n", "\r\n", "\r", "a", "é", "\x00", " ", '""', "b,", '",', '"\n', "\n\n", "\ufeff"]
HEADERS = ["u,v\n", "", '"u",v\r\n', "u\n", "\ufeffu,v\n", '"u\n",v\n']
# Pieces of one byte put every boundary inside every field.
SIZES = st.sampled_from([1, 3, 7, 1 << 22])


def rows_of(path: Path, **layout: object) -> list[list[str]]:
    source = csv_source(format="csv", **layout)
    with open_file(path, source, ["u"], []) as file:
        found = file.collect(file.lazy)
    assert found[ROW].to_list() == list(range(1, found.height + 1))
    return [[value or "" for value in row[1:]] for row in found.rows()]


def strict(text: str) -> list[list[str]] | None:
    """The rows that Python's strict reader finds, without the blank lines at the end; None where it refuses."""
    try:
        found = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
    except csv.Error:
        return None
    while len(found) > 1 and found[-1] == []:
        found.pop()
    return found[1:]


@hypothesis_settings(max_examples=400, deadline=None)
@given(st.sampled_from(HEADERS), st.lists(st.sampled_from(SIGNS), max_size=24), SIZES)
def test_whatever_the_bytes_the_rows_are_those_of_a_strict_reader_or_the_file_is_refused(
    header: str, signs: list[str], size: int
) -> None:
    text = header + "".join(signs)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_READ", size)
        path = Path(folder) / "a.csv"
        path.write_bytes(text.encode())
        try:
            found = rows_of(path)
        except SourceUnreadableError:
            return
        assert found == strict(text)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('a",\n\ré🎬 '), max_size=6)] * 2), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([",", ";", "\t", "|", "\x01"]),
    st.booleans(),
    SIZES,
)
def test_whatever_a_strict_writer_wrote_is_read(
    rows: list[tuple[str, str]], end: str, quoting: int, separator: str, is_ended: bool, size: int
) -> None:
    if any("\r" in field for row in rows for field in row):
        quoting = csv.QUOTE_ALL  # before Python 3.13 the writer leaves a bare carriage return without quotes
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting, delimiter=separator)  # type: ignore[call-overload]
    writer.writerows([("u", "v"), *rows])
    content = text.getvalue() if is_ended else text.getvalue().removesuffix(end)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_READ", size)
        path = Path(folder) / "a.csv"
        path.write_bytes(content.encode())
        assert rows_of(path, separator=separator) == [list(row) for row in rows]


def inches(count: int, separator: str = ",") -> bytes:
    """Every 30th row asks for a 24" monitor, without quotes around it."""
    lines = ["who,what,when,stars,query"]
    for n in range(1, count + 1):
        query = '24" monitor' if n % 30 == 0 else "desk"
        lines.append(f"u{n},x{n},2024-01-01T00:00:{n % 60:02d}Z,3,{query}")
    return "\n".join(lines).replace(",", separator).encode() + b"\n"


def test_an_inch_mark_in_a_column_that_nobody_asked_for_swallows_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(inches(300))
    with pytest.raises(SourceUnreadableError, match=r"a quote stands inside a field.*set `quote` to none") as broken:
        read_raw(tmp_path / "a.csv", csv_source())
    assert broken.value.row == 30


@pytest.mark.parametrize("none", ["", "none", None])
def test_a_log_without_quotes_is_read_whole_when_the_quote_is_none(tmp_path: Path, none: str | None) -> None:
    (tmp_path / "a.tsv").write_bytes(inches(300, "\t"))
    read = read_raw(tmp_path / "a.tsv", csv_source(separator="\t", quote=none))
    assert read["user_id"].to_list() == [f"u{n}" for n in range(1, 301)]


def test_another_quote_encloses_fields_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,v\n'a,b','it''s'\n\"c,d\n")
    assert rows_of(tmp_path / "a.csv", quote="'") == [["a,b", "it's"], ['"c', "d"]]


def test_a_catalogue_is_read_as_strictly(tmp_path: Path) -> None:
    source = {"path": "x", "id_column": "id", "attributes": {"title": {"column": "title", "kind": "text"}}}
    (tmp_path / "a.csv").write_text('id,title,size\n1,a,24" x\n2,b,3\n3,c,24" y\n')
    with pytest.raises(EntitiesBrokenError, match="row 1: unreadable: a quote stands inside a field"):
        read_entities(tmp_path / "a.csv", EntitySource.model_validate(source), "item_id")
    kept = read_entities(tmp_path / "a.csv", EntitySource.model_validate({**source, "quote": "none"}), "item_id")
    assert kept["item_id"].to_list() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        (b'u,v\n1,2\n"3"x,4\n', 2, "text follows a closing quote"),
        (b'u,v\n1,"24\\" monitor"\n', 1, "a backslash before a quote does not escape it"),
        (b'u,v\n1,"a\\",b"\n', 1, "a quote stands inside a field"),
        (b'u,v\n1, "2, 3"\n', 1, "a quote stands inside a field"),
        (b'u,v\n1,2\n3,"4\n5,6\n', 2, "a quote opens a field and nothing closes it"),
        (b"u,v\n1,2\n3\n", 2, "1 fields where the header has 2"),
        (b"u,v\n1,2,\n", 1, "3 fields where the header has 2"),
        (b"u;v\n1;2,5\n", 1, r"2 fields where the header has 1 \(is `separator` right\?\)"),
        (b"u,v\n1,2\n\n3,4\n", 2, "a blank line, with further rows after it"),
        (b"u,v\n1,2\n \n", 2, "1 fields where the header has 2"),
        (b"u,v\n1,2\n\x1a", 2, "1 fields where the header has 2"),
        (b"u,v\n1\r,2\n", 1, "a carriage return without a line feed"),
        (b"u,v\r1,2\r3,4\r", None, r"header: a carriage return without a line feed.*mac2unix"),
        (b"# made by x\nu,v\n1,2\n", 1, "2 fields where the header has 1"),
        (b"\nu,v\n1,2\n", None, "the first line is blank"),
        (b"u,v\n1,2\n\xe9,3\n", 2, "byte 0xe9 is not UTF-8: convert the file"),
        (b"u,u\n1,2\n", None, "column u stands twice in the header"),
        (b"\n", None, "the first line is blank"),
    ],
)
def test_what_is_not_strict_csv_is_refused_with_its_row(
    tmp_path: Path, content: bytes, row: int | None, reason: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(SourceUnreadableError, match=reason) as broken:
        rows_of(tmp_path / "a.csv")
    assert broken.value.row == row


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"u,v\n1,2\n\n\n", [["1", "2"]]),
        (b"u,v\r\n1,2\r\n\r\n", [["1", "2"]]),
        (b"u\n1\n\n", [["1"]]),
        (b'u,v\n"1\r\n2","3""4"\r\n', [["1\r\n2", '3"4']]),
        (b'\xef\xbb\xbf"u",v\n1,2', [["1", "2"]]),
        (b'u,v\n,""\n', [["", ""]]),
        ("u,v\n1\u2028,\x0b\x85\n".encode(), [["1\u2028", "\x0b\x85"]]),
        (b"u,v\n1," + b"x" * 3_000_000 + b"\n2,y\n", [["1", "x" * 3_000_000], ["2", "y"]]),
        # A line for one spreadsheet program is a header of one column to everybody else.
        (b"sep=;\nu;v\n1;2\n", [["u;v"], ["1;2"]]),
        (b"u,v\n", []),
        (b"u,v", []),
        (b"u,v\nNA,null\n#,NaN\n", [["NA", "null"], ["#", "NaN"]]),
    ],
)
def test_what_is_strict_csv_is_read(tmp_path: Path, content: bytes, rows: list[list[str]]) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert rows_of(tmp_path / "a.csv") == rows


def test_line_feeds_in_quotes_stay_in_their_row_however_long_the_file_is(tmp_path: Path) -> None:
    rows = [[str(n), f"a\nb,{n}\n" * (n % 9)] for n in range(60_000)]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["u", "v"], *rows])
    assert rows_of(tmp_path / "a.csv") == rows


def test_a_line_without_end_is_refused_and_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_READ", 1_000)
    monkeypatch.setattr(pieces, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.csv").write_bytes(b"u,v\n1," + b"x" * (1 << 21))
    with pytest.raises(SourceUnreadableError, match="a line is longer than 1 MiB"):
        count_csv(tmp_path / "a.csv", ",", '"')


@pytest.mark.parametrize("found", [[1, 2, 3], [1, 2, 3, 4, 5], []])
def test_a_reader_that_finds_more_or_fewer_rows_than_the_file_holds_is_not_believed(found: list[int]) -> None:
    frame = pl.DataFrame({ROW: found, "u": ["a"] * len(found)}, schema={ROW: pl.Int64, "u": pl.String}).lazy()
    with pytest.raises(SourceUnreadableError, match=f"the reader found {len(found)} rows where the file holds 4"):
        OpenFile(frame, ("u",), rows=4).collect(frame)
    with pytest.raises(SourceUnreadableError, match="where the file holds 4"):
        OpenFile(frame, ("u",), rows=4).collect(frame, pl.col(ROW) == 1)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ({"quote": "''"}, "one printable ASCII character, or none"),
        ({"quote": "»"}, "one printable ASCII character, or none"),
        ({"quote": ","}, "separator and quote are both ','"),
        ({"separator": "::"}, "one ASCII character"),
        ({"separator": "¦"}, "one ASCII character"),
    ],
)
def test_a_quote_and_a_separator_are_one_sign_each(layout: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        csv_source(**layout)
    with pytest.raises(ValueError, match=reason):
        EntitySource.model_validate({"path": "x", "id_column": "i", **layout})
    assert InteractionSource.model_fields["quote"].default == '"'
