"""Names of attributes: none that a table, a feature or another attribute has; what is accepted works everywhere.

Here: the rule against the schemas and the encoders themselves. Not here: other settings (test_settings.py).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.attribute_names import wrong_names
from recsys_assets.columns import INTERACTIONS
from recsys_assets.features.as_of_join import FEATURE_TIME
from recsys_assets.features.windows import item_feature_rows, item_schema, user_schema
from recsys_assets.recommender.encoding import encode_attributes
from recsys_assets.recommender.profiles import profile_frame
from recsys_assets.recommender.ranker import KEYS
from recsys_assets.recommender.state import item_state
from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, FeatureSettings, load_settings
from recsys_assets_tests.features.rows import user_feature_rows

DAY = date(2024, 1, 1)
AT = datetime(2024, 1, 2, tzinfo=UTC)
KINDS = ("category", "categories", "number", "text", "time")
EVENTS = pl.DataFrame(
    [(f"u{n}", f"i{n}", AT - timedelta(hours=5), DAY, 1.0, "view") for n in range(4)], schema=INTERACTIONS, orient="row"
)
OURS = sorted({*INTERACTIONS, *user_schema(FeatureSettings()), *item_schema(FeatureSettings()), FEATURE_TIME, *KEYS})


@pytest.mark.parametrize("name", [*OURS, "id", "Item_ID", "users_3d", "event_timestamp", "__row__"])
def test_a_name_in_use_is_refused(name: str) -> None:
    assert any(repr(name) in each for each in wrong_names({name: "number"}))


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "__x", "x" * 101])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert wrong_names({name: "text"})


@pytest.mark.parametrize(
    ("kinds", "part"),
    [
        ({"a-b": "number", "a b": "number"}, "the feature a_b"),
        ({"Title": "text", "title": "text"}, "'Title', 'title'"),
        ({"born": "time", "born_days": "number"}, "the feature born_days"),
        ({"age": "time"}, "its feature age_days"),
        ({"genre": "category", "genre_is_drama": "number"}, "a value of 'genre'"),
    ],
)
def test_names_that_would_become_one_feature_are_refused(kinds: dict[str, str], part: str) -> None:
    assert part in "; ".join(wrong_names(kinds))


def test_a_config_names_all_of_them_at_once_with_their_place(tmp_path: Path) -> None:
    raw = yaml.safe_load(PACKAGED_CONFIG.read_text())
    raw["data"]["items"]["attributes"] |= {
        "item_id": {"column": "item_id", "kind": "category"},
        "trend": {"column": "trend", "kind": "number"},
    }
    raw["data"]["users"]["attributes"] |= {"user_id": {"column": "user_id", "kind": "text"}}
    config = tmp_path / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError) as refused:
        load_settings(home=tmp_path, config=config)
    told = str(refused.value)
    for part in ("data.items.attributes", "'item_id'", "'trend'", "data.users.attributes", "'user_id'"):
        assert part in told, part
    assert told.startswith("2 error(s)")


def values_of(kind: str) -> Any:
    """Two values, each of two entities, so that categories become features."""
    of: dict[str, list[Any]] = {
        "number": [1.0, 2.0, 1.0, 2.0],
        "time": [AT - timedelta(days=n) for n in range(4)],
        "categories": [["x"], ["y"], ["x"], ["y"]],
    }
    return of.get(kind, ["x", "y", "x", "y"])


NAMES = st.one_of(
    st.sampled_from([*OURS, "count", "value", "name", "token", "code", "x", "x_days", "x is x", "x_is_x", "len"]),
    st.text(max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.sampled_from(KINDS), min_size=1, max_size=4))
def test_attributes_that_are_accepted_get_a_feature_each_beside_all_others(kinds: dict[str, str]) -> None:
    if wrong_names(kinds):
        return
    values = {name: values_of(kind) for name, kind in kinds.items()}
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(4)], **values})
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(4)], **values})
    expected = sum(1 if kind in {"number", "time"} else 2 for kind in kinds.values())
    assert encode_attributes(items, "item_id", at=AT).width == 1 + expected
    of_items = item_feature_rows(EVENTS, [DAY], FeatureSettings())
    of_users = user_feature_rows(EVENTS, [DAY], FeatureSettings())
    bare_items, bare_users = item_state(of_items, None, at=AT), profile_frame(of_users, None, at=AT)
    assert item_state(of_items, items, at=AT).width == bare_items.width + expected
    assert profile_frame(of_users, users, at=AT).width == bare_users.width + expected
