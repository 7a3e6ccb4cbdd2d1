"""The replayed users' client token: read from where the settings say.

Here: finding it, and not finding it. Not here: clicks that are reported with it (cluster/test_story.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_assets.settings import ConfigError, Settings, load_settings
from recsys_assets.traffic.replay import client_token


def with_token_file(home: Path, named: str | None) -> Settings:
    settings = load_settings(home=home)
    return settings.model_copy(update={"traffic": settings.traffic.model_copy(update={"token_file": named})})


def test_the_token_is_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n", encoding="utf-8")
    assert client_token(with_token_file(tmp_path, "{home}/token")) == "abc"


def test_no_file_is_named_where_the_collector_asks_for_none(tmp_path: Path) -> None:
    assert client_token(with_token_file(tmp_path, None)) is None


def test_a_file_that_is_not_there_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"traffic\.token_file: .*No such file"):
        client_token(with_token_file(tmp_path, "{home}/token"))
