"""Settings: what is wrong is told before anything starts, all of it at once.

Here: loading the config file and the environment. Not here: what a setting does.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, Settings, load_settings


def loaded(tmp_path: Path, change: dict[str, Any]) -> Settings:
    """The packaged settings with sections replaced, as from a user's own file."""
    raw = yaml.safe_load(PACKAGED_CONFIG.read_text())
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(raw | change))
    return load_settings(home=tmp_path / "home", config=path)


def data(**change: Any) -> dict[str, Any]:
    return {"data": yaml.safe_load(PACKAGED_CONFIG.read_text())["data"] | change}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECSYS_HOME", "RECSYS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_the_packaged_settings_are_those_of_movielens(settings: Settings) -> None:
    assert (settings.data.start_date, settings.data.end_date) == (date(1997, 9, 20), date(1998, 4, 24))
    assert settings.resolve(settings.data.interactions.paths[0]).startswith(str(settings.home))


def test_all_errors_are_listed_at_once_with_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOEM", "/typo")
    wrong = data(end_date="1997-01-01", max_null_share=2) | {
        "trainig": {"cuts": 3},
        "serving": {"top_k": 0, "colour": "red"},
    }
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, wrong)
    for part in ("RECSYS_HOEM", "data.max_null_share", "trainig", "serving.top_k", "serving.colour", "recsys.yaml"):
        assert part in str(told.value), part


def test_a_source_without_its_required_columns_is_refused(tmp_path: Path) -> None:
    source = {"paths": ["x"], "columns": {"user_id": "u", "colour": "c"}}
    with pytest.raises(ConfigError, match="must map event_time, item_id"):
        loaded(tmp_path, data(interactions=source))


def test_an_unknown_column_name_is_refused(tmp_path: Path) -> None:
    columns = {"user_id": "u", "item_id": "i", "event_time": "t", "colour": "c"}
    with pytest.raises(ConfigError, match="unknown names colour"):
        loaded(tmp_path, data(interactions={"paths": ["x"], "columns": columns}))


def test_dates_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="end_date 1997-01-01 must lie after"):
        loaded(tmp_path, data(end_date="1997-01-01"))


@pytest.mark.parametrize("name", ["RECSYS_ENV", "RECSYS_HOEM"])
def test_an_unknown_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=f"unknown variable {name}"):
        load_settings(home=tmp_path, config=PACKAGED_CONFIG)


@pytest.mark.parametrize(("text", "reason"), [("- a\n- b\n", "mapping"), ("a: [", "not valid YAML")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "recsys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_settings(home=tmp_path, config=path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such config file"):
        load_settings(home=tmp_path, config=tmp_path / "nowhere.yaml")


def test_the_environment_names_the_home_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "there"))
    monkeypatch.setenv("RECSYS_CONFIG", str(PACKAGED_CONFIG))
    found = load_settings()
    assert found.home == tmp_path / "there"
    assert found.environment() == {"RECSYS_HOME": str(found.home), "RECSYS_CONFIG": str(PACKAGED_CONFIG)}


def test_places_are_relative_to_the_config_file_unless_absolute_or_remote(tmp_path: Path) -> None:
    found = loaded(tmp_path, {})
    assert found.resolve("clicks/*.csv") == str(tmp_path / "clicks/*.csv")
    assert found.resolve("s3://bucket/clicks/*.csv") == "s3://bucket/clicks/*.csv"
    assert found.resolve("{home}/x") == str(tmp_path / "home" / "x")


def test_a_day_that_no_calendar_has_is_an_error_with_its_place(tmp_path: Path) -> None:
    text = PACKAGED_CONFIG.read_text(encoding="utf-8").replace("start_date: 1997-09-20", "start_date: 1997-13-20")
    broken = tmp_path / "recsys.yaml"
    broken.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"data\.start_date: .*month"):
        load_settings(home=tmp_path, config=broken)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "recsys.yaml"
    broken.write_text("data: {}\nrollout: {}\ndata: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'data' stands twice[\s\S]*line 3"):
        load_settings(home=tmp_path, config=broken)
