"""Categories: a list stays the list that it is in every format, and what is neither a list nor a text is refused.

Here: literal files through the catalogue's reader, and a value on its way to a feature. Not here: other kinds
(test_entities.py).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_assets.attribute_names import one_hot_name
from recsys_assets.interactions.entities import EntitiesBrokenError, read_entities
from recsys_assets.recommender.content import item_tokens
from recsys_assets.recommender.encoding import encode_attributes
from recsys_assets.settings import EntitySource


def source(kind: str = "categories", separator: str = ",") -> EntitySource:
    declared = {"column": "topics", "kind": kind, "separator": separator}
    return EntitySource.model_validate({"path": "x", "id_column": "id", "attributes": {"about": declared}})


def read_json(folder: Path, *values: Any, kind: str = "categories") -> list[Any]:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps({"id": n, "topics": value}) + "\n" for n, value in enumerate(values, start=1)))
    return read_entities(path, source(kind), "item_id")["about"].to_list()


def read_parquet(folder: Path, column: pl.Series, kind: str = "categories") -> list[Any]:
    path = folder / "items.parquet"
    pl.DataFrame({"id": [str(n + 1) for n in range(len(column))], "topics": column}).write_parquet(path)
    return read_entities(path, source(kind), "item_id")["about"].to_list()


def test_an_array_of_json_lines_is_a_list_and_a_text_is_split(tmp_path: Path) -> None:
    given = [["weather", "local"], "weather, local", [], "", None, ["a,b", 'c"d'], ["7", 7], ["[x]"], "[x]", [""]]
    want = [["weather", "local"]] * 2 + [[]] * 3 + [["a,b", 'c"d'], ["7", "7"], ["[x]"], ["[x]"], []]
    assert read_json(tmp_path, *given) == want


def test_a_column_that_only_some_lines_have_is_read_wherever_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": 1}\n' * 1_500 + '{"id": 2, "topics": ["a"]}\n\n{"topics": "b,c", "id": 3}\n')
    read = read_entities(path, source(), "item_id")
    assert read.rows() == [("1", []), ("2", ["a"]), ("3", ["b", "c"])]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "must be a list of texts, or a text with `separator` between the values, got 5"),
        (True, "must be a list of texts"),
        ({"a": 1}, "must be a list of texts"),
        ([None], "must hold texts or whole numbers only, got null"),
        ([["a"]], "must hold texts or whole numbers only, got ..a"),
        ([{"name": "a"}], "must hold texts or whole numbers only"),
        ([1.5], "must hold texts or whole numbers only, got 1.5"),
        ([False], "must hold texts or whole numbers only, got false"),
        ('["a", "b"]', "must be a list itself, and not one written out as a text"),
        ("['a', 'b']", "must be a list itself"),
        ("[]", "must be a list itself"),
        ("{a,b}", "must be a list itself"),
    ],
)
def test_what_is_neither_a_list_nor_a_text_is_refused_with_row_and_column(
    tmp_path: Path, value: Any, reason: str
) -> None:
    with pytest.raises(EntitiesBrokenError, match=f"row 2.*column topics {reason}"):
        read_json(tmp_path, ["a"], value)


@pytest.mark.parametrize("kind", ["category", "text", "number", "time"])
@pytest.mark.parametrize("value", [["a"], [], {"a": 1}])
def test_a_list_or_an_object_is_no_single_value(tmp_path: Path, kind: str, value: Any) -> None:
    with pytest.raises(EntitiesBrokenError, match=r"row 1.*column topics must be one value"):
        read_json(tmp_path, value, kind=kind)
    with pytest.raises(EntitiesBrokenError, match="row 1, column topics"):
        read_parquet(tmp_path, pl.Series([["a"]] if isinstance(value, list) else [value]), kind=kind)


def test_a_list_column_of_parquet_is_a_list(tmp_path: Path) -> None:
    assert read_parquet(tmp_path, pl.Series([["a,b", "c"], [], None, [""]])) == [["a,b", "c"], [], [], []]
    assert read_parquet(tmp_path, pl.Series([[28, 12], []], dtype=pl.List(pl.Int32))) == [["28", "12"], []]
    assert read_parquet(tmp_path, pl.Series([["a"]], dtype=pl.List(pl.Categorical))) == [["a"]]
    assert read_parquet(tmp_path, pl.Series([["a", "b"]], dtype=pl.Array(pl.String, 2))) == [["a", "b"]]
    assert read_parquet(tmp_path, pl.Series(["a,b", None])) == [["a", "b"], []]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([["a"], ["b", None]]),
        pl.Series([[], [1.5]]),
        pl.Series([[], [["a"]]]),
        pl.Series([[], [{"name": "a"}]]),
        pl.Series([None, {"name": "a"}]),
        pl.Series([None, 5]),
        pl.Series([None, b"a,b"]),
        pl.Series([None, True]),
        pl.Series(["a", '["a","b"]']),
    ],
)
def test_another_column_of_parquet_is_refused_with_row_and_column(tmp_path: Path, column: pl.Series) -> None:
    with pytest.raises(EntitiesBrokenError, match="row 2, column topics: type: neither a list of texts nor a text"):
        read_parquet(tmp_path, column)


def test_a_list_written_out_in_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,topics\n1,\"a,b\"\n2,\"['a', 'b']\"\n")
    with pytest.raises(EntitiesBrokenError, match="row 2, column topics: type: neither a list"):
        read_entities(path, source(), "item_id")


def test_a_not_a_number_is_no_category_and_a_whole_number_has_no_fraction(tmp_path: Path) -> None:
    assert read_parquet(tmp_path, pl.Series([1995.0, float("nan"), None, 2.5]), kind="category") == [
        "1995",
        None,
        None,
        "2.5",
    ]


def test_a_category_that_holds_the_separator_is_one_token_and_one_feature(tmp_path: Path) -> None:
    values = [["a,b"], ["a b"], ["a", "b"], ["用户"], ["影片"], ["a_b"]]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps({"id": n, "topics": value}) + "\n" for n, value in enumerate(values)))
    items = read_entities(path, source(), "item_id")
    tokens = item_tokens(items).filter(pl.col("item_id") == "0")["token"].to_list()
    assert tokens == ["about=a,b"]
    features = encode_attributes(items, "item_id", at=datetime(2024, 1, 1, tzinfo=UTC))
    distinct = {value for each in values for value in each}
    assert set(features.columns) == {"item_id", *(one_hot_name("about", value) for value in distinct)}
    assert features.height == 6
    assert len(features.columns) == 1 + len(distinct)
    for value in distinct:
        held = features[one_hot_name("about", value)].to_list()
        assert held == [float(value in each) for each in values]
