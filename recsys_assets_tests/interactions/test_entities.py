"""Items and users: each kind of attribute is read, and an unusable file says every reason.

Here: reading entity files. Not here: the assets' runs (test_assets.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys_assets.interactions.entities import EntitiesBrokenError, read_entities
from recsys_assets.settings import EntitySource
from recsys_assets_tests.interactions.sources import write

SOURCE = EntitySource.model_validate(
    {
        "path": "x",
        "id_column": "id",
        "attributes": {
            "title": {"column": "title", "kind": "text"},
            "tags": {"column": "tags", "kind": "categories"},
            "price": {"column": "price", "kind": "number"},
            "born": {"column": "born", "kind": "time"},
        },
    }
)
HEADER = "id,title,tags,price,born"


def test_every_kind_is_read_under_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", "007,Bond,spy| action|,9.5,2024-01-01", "8,,,,", header=HEADER)
    bond, bare = read_entities(path, SOURCE, "item_id").rows(named=True)
    born = datetime(2024, 1, 1, tzinfo=UTC)
    assert bond == {"item_id": "007", "title": "Bond", "tags": ["spy", "action"], "price": 9.5, "born": born}
    assert bare == {"item_id": "8", "title": None, "tags": [], "price": None, "born": None}


def test_the_same_row_twice_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", "1,a,,,", "1,a,,,", header=HEADER)
    assert read_entities(path, SOURCE, "item_id").height == 1


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", ",a,,,", "1,a,,cheap,", "1,b,,1,", header=HEADER)
    with pytest.raises(EntitiesBrokenError) as broken:
        read_entities(path, SOURCE, "item_id")
    for part in (
        "row 1, column id: null",
        "row 2, column price: type: not a number, got 'cheap'",
        "row 3, column id: d",
    ):
        assert part in str(broken.value)


def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", "1,a", header="id,title")
    with pytest.raises(EntitiesBrokenError, match="it has id, title") as broken:
        read_entities(path, SOURCE, "item_id")
    assert [each.column for each in broken.value.violations] == ["tags", "price", "born"]
