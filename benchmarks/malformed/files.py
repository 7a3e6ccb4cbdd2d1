"""Source files of events that break exactly one rule of the contract, and files in every form that it allows.

Here: a day of events written as CSV, JSON lines and Parquet, and what can be done to it. Not here: the contract.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.malformed.cases import Case, Good, Refused
from recsys_assets.interactions.intake import Intake, take_in
from recsys_assets.interactions.sources import SourceFile
from recsys_assets.settings import DataSettings, InteractionSource

DAY = date(2024, 1, 1)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
COLUMNS = {"user_id": "who", "item_id": "what", "event_time": "when", "value": "stars", "event_type": "how"}
Row = dict[str, Any]
FORMATS = ("csv", "jsonl", "parquet")


@dataclass(frozen=True)
class Given:
    """Bytes of one file, and the source's settings that differ from the usual ones."""

    content: bytes
    ending: str
    settings: dict[str, Any]


def day_of_events(rng: random.Random, count: int = 12) -> list[Row]:
    """Different events of the day, in no order; some without the optional value and type."""
    rows = []
    for number in range(count):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number * 17 + rng.randrange(17))
        value = rng.choice([1, 2, 3.5, 5, None])
        kind = rng.choice(["view", "click", None])
        rows.append({"who": f"{number:03}", "what": f"x{number % 7}", "when": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
        rows[-1] |= {"stars": value, "how": kind}
    rng.shuffle(rows)
    return rows


def write(rows: list[Row], ending: str) -> bytes:
    names = list(rows[0])
    if ending == "csv":
        text = io.StringIO()
        lines = [",".join(names)]
        lines += [",".join(_field(row[name]) for name in names) for row in rows]
        text.write("\n".join(lines) + "\n")
        return text.getvalue().encode()
    if ending == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return parquet(pl.DataFrame(rows, infer_schema_length=None, strict=False))


def parquet(frame: pl.DataFrame) -> bytes:
    made = io.BytesIO()
    frame.write_parquet(made)
    return made.getvalue()


def _field(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text


def read(folder: Path, given: Given) -> Intake:
    """What a run would make of this file."""
    path = folder / f"2024-01-01.{given.ending}"
    path.write_bytes(given.content)
    usual = {"paths": ["*"], "columns": COLUMNS, "value_range": [1, 5], "max_duplicate_share": 0.0}
    changed = {k: v for k, v in (usual | given.settings).items() if k in InteractionSource.model_fields}
    data = DataSettings.model_validate(
        {"start_date": DAY, "interactions": changed, "max_duplicate_share": 0.0, **given.settings.get("data", {})}
    )
    file = SourceFile(str(path), "digest", path.stat().st_size, DAY)
    return take_in(data, [file], [DAY], spans={}, trailing=given.settings.get("trailing", {}), now=NOW)


def mutated(folder: Path, rng: random.Random) -> Iterator[Case]:
    """Without end: each rule in turn, on a day of its own."""
    while True:
        for name, make in _ROWS.items():
            for ending in FORMATS:
                if (case := _of_rows(folder, name, make, ending, rng)) is not None:
                    yield case
        for name, spoil in _TEXTS.items():
            given, rule, place = spoil(rng)
            yield _case(folder, f"{given.ending}:{name}", given, rule, *place)


def _case(folder: Path, rule: str, given: Given, broken: str, *place: str) -> Case:
    def give() -> Refused | None:
        found = read(folder, given)
        if not found.violations:
            return None
        if found.good_days:
            return Refused("not blocked", str(found.violations[0]))
        named = [v for v in found.violations if v.rule.value == broken] or found.violations
        return Refused(named[0].rule.value, "; ".join(map(str, named)))

    return Case(rule, give, broken, (f"2024-01-01.{given.ending}", *place))


# --- rules about one row: the row's place and column must be named -------------------------------------------------

Spoil = Callable[[list[Row], int, random.Random], tuple[str, str, dict[str, Any]]]


def _of_rows(folder: Path, name: str, make: Spoil, ending: str, rng: random.Random) -> Case | None:
    rows = day_of_events(rng)
    place = rng.randrange(len(rows))
    rule, column, settings = make(rows, place, rng)
    if ending == "parquet" and not _one_type(rows):
        rows = [{k: None if v is None else str(v) for k, v in row.items()} for row in rows]
    row = settings.pop("row", place + 1)
    named = [f"row {row},"] if row else []
    return _case(
        folder, f"{ending}:{name}", Given(write(rows, ending), ending, settings), rule, *named, f"column {column}"
    )


def _one_type(rows: list[Row]) -> bool:
    return all(len({type(row[name]) for row in rows if row[name] is not None} - {int}) <= 1 for name in rows[0])


def _set(column: str, values: list[Any], rule: str, **settings: Any) -> Spoil:
    def spoil(rows: list[Row], place: int, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
        rows[place][column] = rng.choice(values)
        return rule, column, dict(settings)

    return spoil


def _time(make: Callable[[random.Random], datetime], rule: str) -> Spoil:
    def spoil(rows: list[Row], place: int, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
        rows[place]["when"] = f"{make(rng):%Y-%m-%dT%H:%M:%SZ}"
        return rule, "when", {}

    return spoil


def _twice(rows: list[Row], place: int, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    rows.insert(place + 1, dict(rows[place]) | {"stars": rng.choice([1, 5])})
    return "duplicate", "who, what, when, how", {"row": place + 2}


def _drop(column: str) -> Spoil:
    def spoil(rows: list[Row], place: int, rng: random.Random) -> tuple[str, str, dict[str, Any]]:
        other = rng.choice([None, column.upper(), column + " ", "\u200b" + column])
        for row in rows:
            value = row.pop(column)
            if other is not None:
                row[other] = value
        return "schema", column, {"row": 0}

    return spoil


_NO_ID = [
    "a\x00b",
    "a\nb",
    "a\tb",
    "\x7f",
    " a",
    "a ",
    "x" * 257,
    "\u200b",
    "a\u202eb",
    "\u00a0",
    "\ufeffa",
    "a\u2028b",
]
_NO_TIME = ["yesterday", "2024-13-01T00:00:00Z", "2024-02-30", "24/01/2024", "T10:00:00", "2024-01-01T25:00:00Z"]
_NO_TIME += ["0", "1704067200", "2024-01-01T10:00:00+99:00", "nan", "-", "2024-01-01T10:61:00Z", "２０２４-01-01"]
_NO_NUMBER = ["abc", "1,5", "five", "0x10", "--1", "1.2.3", "NaN", "½", "1 2", "true"]
_ROWS: dict[str, Spoil] = {
    "user_is_no_identifier": _set("who", _NO_ID, "type"),
    "item_is_no_identifier": _set("what", _NO_ID, "type"),
    "user_is_absent": _set("who", [None, ""], "null"),
    "item_is_absent": _set("what", [None, ""], "null"),
    "time_is_absent": _set("when", [None, ""], "null"),
    "time_is_none": _set("when", _NO_TIME, "type"),
    "value_is_no_number": _set("stars", _NO_NUMBER, "type"),
    "value_is_out_of_range": _set("stars", [0, 6, -1, 5.0001, 1e308, -1e308, 10**15], "range"),
    "value_is_infinite": _set("stars", ["inf", "-inf", "1e999", "Infinity"], "range", value_range=None),
    "event_is_of_an_earlier_day": _time(
        lambda rng: datetime(2023, 12, 31, tzinfo=UTC) - timedelta(hours=rng.randrange(9_000)), "other_day"
    ),
    "event_is_of_a_later_day": _time(
        lambda rng: datetime(2024, 1, 2, tzinfo=UTC) + timedelta(hours=rng.randrange(9_000)), "future"
    ),
    "event_stands_twice": _twice,
    **{f"no_column_{name}": _drop(name) for name in COLUMNS.values()},
}

# --- rules about the file ------------------------------------------------------------------------------------------

File = Callable[[random.Random], tuple[Given, str, tuple[str, ...]]]


def _csv(edit: Callable[[list[str], int, random.Random], tuple[str, tuple[str, ...]]], **settings: Any) -> File:
    def make(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
        lines = write(day_of_events(rng), "csv").decode().splitlines()
        rule, place = edit(lines, rng.randrange(1, len(lines)), rng)
        return Given(("\n".join(lines) + "\n").encode(), "csv", dict(settings)), rule, place

    return make


def _json(edit: Callable[[Row, random.Random], str], place: str) -> File:
    """One line of JSON is changed as text."""

    def make(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
        rows = day_of_events(rng)
        lines = [json.dumps(row) for row in rows]
        number = rng.randrange(len(lines))
        lines[number] = edit(rows[number], rng)
        return Given(("\n".join(lines) + "\n").encode(), "jsonl", {}), "unreadable", (place.format(row=number + 1),)

    return make


def _bytes(ending: str, edit: Callable[[bytes, random.Random], bytes], rule: str, *place: str) -> File:
    def make(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
        return Given(edit(write(day_of_events(rng), ending), rng), ending, {}), rule, place

    return make


def _typed(column: str, of: Callable[[pl.DataFrame], pl.Expr], **settings: Any) -> File:
    """A Parquet column of another type than it may have: every row of it is named."""

    def make(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
        frame = pl.DataFrame([row | {"stars": 3.0, "how": "view"} for row in day_of_events(rng)])
        given = Given(parquet(frame.with_columns(of(frame).alias(column))), "parquet", dict(settings))
        return given, "type", ("row 1,", f"column {column}")

    return make


def _more_fields(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lines[place] += ",more" * rng.randrange(1, 5)
    return "unreadable", (f"row {place}:",)


def _open_quote(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lines[place] = '"' + lines[place]
    return "unreadable", (f"row {place}:",)


def _few_fields(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lines[place] = ",".join(lines[place].split(",")[: rng.choice([1, 2])])
    return "unreadable", (f"row {place}:", "fields where the header has 5")


def _inch_mark(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """Two of them would swallow what lies between."""
    for number, line in enumerate(lines):
        lines[number] = line + (",query" if number == 0 else ',24" monitor' if number >= place else ",desk")
    return "unreadable", (f"row {place}:", "a quote stands inside a field")


def _blank_line(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    lines.insert(place, "")
    return "unreadable", (f"row {place}:", "a blank line")


def _same_header(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    name = rng.choice(list(COLUMNS.values()))
    lines[0] += f",{name}"
    lines[1:] = [line + ",9" for line in lines[1:]]
    return "unreadable", (f"column {name} stands twice",)


def _no_rows(lines: list[str], place: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    del lines[1:]
    return "empty", ("2024-01-01: no event",)


def _volume(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
    usual = rng.choice([100_000, 1_000_000])
    settings = {"trailing": {DAY - timedelta(days=n + 1): usual for n in range(5)}}
    return Given(write(day_of_events(rng), "csv"), "csv", settings), "volume", ("12 events",)


def _wrong_unit(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
    """Times in another unit than declared fall on another day, or beyond all days."""
    seconds = int(datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp())
    declared, factor, rule = rng.choice([("s", 1_000, "type"), ("ms", 1, "other_day"), ("us", 1_000, "other_day")])
    rows = [row | {"when": str((seconds + n) * factor)} for n, row in enumerate(day_of_events(rng))]
    return Given(write(rows, "csv"), "csv", {"time_unit": declared}), rule, ("column when",)


def _pairs(row: Row, extra: str) -> str:
    return "{" + ", ".join([*(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in row.items()), extra]) + "}"


def _footer(content: bytes, rng: random.Random) -> bytes:
    """The end of the file that says where everything is: cut, or its length or name changed."""
    how = rng.randrange(3)
    if how == 0:
        return content[: -rng.randrange(1, len(content))]
    place = rng.randrange(1, 9)
    return content[:-place] + bytes([content[-place] ^ 0x80]) + content[len(content) - place + 1 :]


_BOMBS: dict[str, bytes] = {}


def _bomb(rng: random.Random) -> tuple[Given, str, tuple[str, ...]]:
    import numpy
    import pyarrow
    import pyarrow.parquet

    if not _BOMBS:
        same = pyarrow.DictionaryArray.from_arrays(pyarrow.array(numpy.zeros(8_000_000, numpy.int32)), ["u"])
        long = pyarrow.table({name: ["x" * 300_000_000] for name in ["who"]})
        for name, table in {"claims": pyarrow.table(dict.fromkeys(COLUMNS.values(), same)), "unpack": long}.items():
            made = io.BytesIO()
            pyarrow.parquet.write_table(
                table, made, compression="zstd", use_dictionary=name == "claims", write_statistics=False
            )
            _BOMBS[name] = made.getvalue()
    name = rng.choice(sorted(_BOMBS))
    return Given(_BOMBS[name], "parquet", {}), "unreadable", (name,)


_TEXTS: dict[str, File] = {
    "more_fields": _csv(_more_fields),
    "open_quote": _csv(_open_quote),
    "few_fields": _csv(_few_fields),
    "column_twice": _csv(_same_header),
    "no_rows": _csv(_no_rows),
    "unusual_volume": _volume,
    "another_unit": _wrong_unit,
    "no_utf8": _bytes("csv", lambda c, r: c + b"\xff\xfe,x,2024-01-01T05:00:00Z,3,view\n", "unreadable"),
    "latin1": _bytes("csv", lambda c, r: c + "é,x,2024-01-01T23:00:00Z,3,view\n".encode("latin-1"), "unreadable"),
    "utf16": _bytes("csv", lambda c, r: c.decode().encode("utf-16"), "unreadable", "UTF-16", "iconv"),
    "utf16_unmarked": _bytes("csv", lambda c, r: c.decode().encode("utf-16-be"), "unreadable", "UTF-16BE", "iconv"),
    "gzip_cut": _bytes("csv", lambda c, r: gzip.compress(c)[: -r.randrange(1, 50)], "unreadable", "gzip"),
    "gzip_twice": _bytes("jsonl", lambda c, r: gzip.compress(gzip.compress(c)), "unreadable", "packed twice"),
    "bzip2": _bytes("jsonl", lambda c, r: bz2.compress(c), "unreadable", "bzip2"),
    "inch_marks": _csv(_inch_mark),
    "blank_line": _csv(_blank_line),
    "nothing": _bytes("csv", lambda c, r: b"", "unreadable"),
    "line_breaks_only": _bytes("csv", lambda c, r: b"\n" * r.randrange(1, 9), "unreadable"),
    "zeros": _bytes("csv", lambda c, r: b"\x00" * r.randrange(1, 2_000), "schema", "column who"),
    "noise_as_parquet": _bytes("parquet", lambda c, r: r.randbytes(r.randrange(2_000)), "unreadable"),
    "csv_as_parquet": _bytes("parquet", lambda c, r: b"who,what,when\n1,2,3\n", "unreadable"),
    "footer": _bytes("parquet", _footer, "unreadable"),
    "magic": _bytes("parquet", lambda c, r: c[:-4] + b"PAR2", "unreadable"),
    "bomb": _bomb,
    "user_in_lists": _typed("who", lambda f: pl.concat_list("who")),
    "user_in_structs": _typed("who", lambda f: pl.struct("who", "what")),
    "user_is_bytes": _typed("who", lambda f: pl.col("who").cast(pl.Binary)),
    "user_is_truth": _typed("who", lambda f: pl.lit(True)),
    "user_is_fraction": _typed("who", lambda f: pl.lit(1.5)),
    "user_beyond_floats": _typed("who", lambda f: pl.lit(2.0**60)),
    "user_is_date": _typed("who", lambda f: pl.lit(DAY)),
    "time_in_lists": _typed("when", lambda f: pl.concat_list("when")),
    "time_is_duration": _typed("when", lambda f: pl.duration(hours=1)),
    "time_is_truth": _typed("when", lambda f: pl.lit(True), time_unit="s"),
    "time_beyond_all_days": _typed("when", lambda f: pl.lit(10**18), time_unit="s"),
    "time_is_infinite": _typed("when", lambda f: pl.lit(float("inf")), time_unit="ms"),
    "value_in_lists": _typed("stars", lambda f: pl.concat_list("stars")),
    "value_is_truth": _typed("stars", lambda f: pl.lit(True)),
    "json_cut": _json(lambda row, r: json.dumps(row)[: -r.randrange(1, 20)], "row {row}:"),
    "json_list": _json(lambda row, r: json.dumps(list(row.values())), "row {row}:"),
    "json_scalar": _json(lambda row, r: r.choice(["5", "null", "true", '"text"']), "row {row}:"),
    "json_words": _json(lambda row, r: r.choice(["hello", "{who: 1}", "{'who': 1}", "[", "}"]), "row {row}:"),
    "json_two_in_a_line": _json(lambda row, r: json.dumps(row) * 2, "row {row}:"),
    "json_nan": _json(
        lambda row, r: _pairs(row | {"stars": 0}, "").replace('"stars": 0', '"stars": NaN')[:-3] + "}", "row {row}"
    ),
    "json_key_twice": _json(lambda row, r: _pairs(row, f'"{r.choice(list(row))}": "b"'), "stands twice"),
    "json_key_twice_escaped": _json(lambda row, r: _pairs(row, '"wh\\u006f": "b"'), "who stands twice"),
    "json_user_list": _json(lambda row, r: json.dumps(row | {"who": r.choice([["a"], [], [1, 2]])}), "column who"),
    "json_user_object": _json(lambda row, r: json.dumps(row | {"who": r.choice([{"id": 1}, {}])}), "column who"),
    "json_item_truth": _json(lambda row, r: json.dumps(row | {"what": r.choice([True, False])}), "column what"),
    "json_item_fraction": _json(lambda row, r: json.dumps(row | {"what": r.choice([1.5, -0.25, 3e-7])}), "column what"),
    "json_type_object": _json(lambda row, r: json.dumps(row | {"how": {"a": 1}}), "column how"),
    "json_half_character": _json(lambda row, r: json.dumps(row | {"who": "a\ud800b"}), "column who"),
    "json_deep": _json(lambda row, r: _pairs(row, '"more": ' + "[" * 50_000 + "]" * 50_000), ""),
}

# --- valid files ---------------------------------------------------------------------------------------------------

_IDS = [
    "007",
    "0",
    "é",
    "用户",
    "a b",
    "🎬",
    "-1",
    "x" * 256,
    "null",
    "nan",
    "1e5",
    "true",
    "a,b",
    'a"b',
    "O'Hara",
    "[x]",
    "{x}",
]
_TIMES = [
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S+00:00",
    "%Y-%m-%dT%H:%M:%S.000Z",
    "%Y-%m-%dT%H:%M:%S.123456Z",
    "%Y-%m-%dT%H:%M",
]


def valid(folder: Path, rng: random.Random) -> Iterator[Good]:
    """Without end: a day in another form each time; every value must come out as it went in."""
    forms: list[Callable[[Path, random.Random], Good]] = [_any_form, _any_unit, _any_parquet, _any_bytes]
    while True:
        for form in forms:
            yield form(folder, rng)


def _compare(folder: Path, given: Given, rows: list[Row]) -> str:
    found = read(folder, given)
    if found.violations:
        return str(found.violations[0])
    want = sorted((str(r["who"]), str(r["what"]), _number(r.get("stars"))) for r in rows)
    got = sorted(found.rows.select("user_id", "item_id", pl.col("value").fill_null(-1.0)).rows())
    return "" if got == want else f"{[pair for pair in zip(got, want, strict=False) if pair[0] != pair[1]][:2]}"


def _number(value: Any) -> float:
    return -1.0 if value is None else float(value)


def _any_form(folder: Path, rng: random.Random) -> Good:
    rows, form, ending = day_of_events(rng), rng.choice(_TIMES), rng.choice(FORMATS)
    for row, name in zip(rows, rng.sample(_IDS, len(rows)), strict=True):
        row["who"] = name
        row["when"] = f"{datetime.fromisoformat(row['when']):{form}}"
    names = rng.sample(list(rows[0]), len(rows[0]))
    dropped = rng.choice([(), ("how",), ("stars", "how")])
    extra = rng.choice([{}, {"row": 1}, {"more": "x"}, {"Who": "y", "day": "z"}])
    given = [{name: row[name] for name in names if name not in dropped} | extra for row in rows]
    columns = {ours: theirs for ours, theirs in COLUMNS.items() if theirs not in dropped}
    kept = [{k: v for k, v in row.items() if k not in dropped} for row in rows]
    return Good(
        f"{ending} in another order, with other identifiers",
        lambda: _compare(folder, Given(write(given, ending), ending, {"columns": columns}), kept),
    )


def _any_unit(folder: Path, rng: random.Random) -> Good:
    unit, factor = rng.choice([("s", 1), ("ms", 1_000), ("us", 1_000_000)])
    ending, kind = rng.choice(FORMATS), rng.choice([int, str])
    rows = [
        row | {"when": kind(int(datetime.fromisoformat(row["when"]).timestamp()) * factor)}
        for row in day_of_events(rng)
    ]
    return Good(
        f"{ending} in {unit}", lambda: _compare(folder, Given(write(rows, ending), ending, {"time_unit": unit}), rows)
    )


def _any_parquet(folder: Path, rng: random.Random) -> Good:
    rows = day_of_events(rng)
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    when = pl.col("when").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit=rng.choice(["ms", "us", "ns"]))
    zone = rng.choice([None, "UTC", "Asia/Tokyo"])
    if zone:
        when = when.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    identifiers = rng.choice(["string", "category", "int64", "uint64", "float"])
    big = 2**63 if identifiers == "uint64" else 2**62 if identifiers == "int64" else 0
    whole = {"int64": pl.Int64, "uint64": pl.UInt64, "float": pl.Float64}
    who = pl.col("who").cast(pl.Categorical) if identifiers == "category" else pl.col("who")
    if identifiers in whole:
        who = (pl.col("who").cast(pl.UInt64) + big).cast(whole[identifiers])
        rows = [row | {"who": str(int(row["who"]) + big)} for row in rows]
    made = parquet(frame.with_columns(when, who))
    return Good(f"parquet with {identifiers} identifiers", lambda: _compare(folder, Given(made, "parquet", {}), rows))


def _any_bytes(folder: Path, rng: random.Random) -> Good:
    rows = day_of_events(rng)
    separator = rng.choice([",", ";", "\t", "|"])
    text = write(rows, "csv").decode().replace(",", separator)
    encode = rng.choice(["utf-8", "utf-8-sig"])
    text = text.replace("\n", rng.choice(["\n", "\r\n"]))
    text = text if rng.random() < 0.5 else text.rstrip("\r\n")
    pack = rng.choice([bytes, gzip.compress])
    given = Given(pack(text.encode(encode)), "csv", {"separator": separator})
    return Good("csv with another separator, mark, line end or packing", lambda: _compare(folder, given, rows))
