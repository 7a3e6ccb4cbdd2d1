"""A person may accept a much smaller catalogue, with the commands that the page prints.

Here: those commands in a shell. Not here: what is refused without them (test_catalogue.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.resources.tables import TablesResource
from recsys_assets_tests.interactions.sources import settings_with, write
from recsys_assets_tests.pages.blocks import commands

ATTRIBUTES = {"title": {"column": "title", "kind": "text"}}
SOURCES = {
    name: {"path": f"{{home}}/{name}.csv", "id_column": "id", "attributes": ATTRIBUTES} for name in ("items", "users")
}


@pytest.mark.slow
def test_the_commands_of_the_page_accept_a_smaller_catalogue(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, **SOURCES)
    home.prepare(settings)
    around = os.environ | home.environment(settings)
    around["PATH"] = f"{Path(sys.executable).parent}:{around['PATH']}"
    tables = TablesResource.of(settings)

    def rows_after(count: int, *words: str) -> int:
        write(settings.home, "items.csv", *(f"x{n},title {n}" for n in range(count)), header="id,title")
        write(settings.home, "users.csv", *(f"u{n},name {n}" for n in range(30)), header="id,title")
        for line in words:
            subprocess.run(line, shell=True, cwd=tmp_path, env=around, capture_output=True, check=False)
        return tables.read("items").height

    echo, execute = (command.text for command in commands() if command.page == "docs/bad-input.md")
    plain = execute.partition(" --config")[0]
    assert [rows_after(30, plain), rows_after(3, plain), rows_after(3, echo, execute)] == [30, 30, 3]
