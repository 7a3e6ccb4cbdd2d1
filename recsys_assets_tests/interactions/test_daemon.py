"""Dagster's own daemon over files that are replaced, and that come back: the tables end with what lies there.

Here: a real `dagster-daemon`, its queue and its runs as processes. Not here: what one tick decides (test_catalogue.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.sources import MONDAY, good_rows, settings_with, write
from recsys_assets_tests.waiting import eventually

pytestmark = pytest.mark.slow
ITEMS = {"path": "{home}/items.csv", "id_column": "id", "attributes": {"title": {"column": "title", "kind": "text"}}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_with(tmp_path, items=ITEMS)


@pytest.fixture
def daemon(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    home.prepare(settings)
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run"]
    command += ["-m", "recsys_assets_tests.interactions.code_location"]
    with (tmp_path / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | home.environment(settings),
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        yield process
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_items_and_a_day_that_come_back_are_taken_again(
    settings: Settings, daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    tables = TablesResource.of(settings)
    for count in (3, 4, 3):
        write(settings.home, "items.csv", *(f"x{n},title {n} of {count}" for n in range(count)), header="id,title")
        write(settings.home / "inbox", "2024-01-01.csv", *good_rows(MONDAY, count))

        def taken(count: int = count) -> bool:
            assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()[-2000:]
            names = ("items", "interactions", "user_features")
            return all(tables.exists(name) and tables.read(name).height == count for name in names)

        eventually(taken, what=f"{count} items, events and users in the tables", every_seconds=0.5)


def test_what_is_not_taken_is_named_by_status(settings: Settings, daemon: subprocess.Popen[bytes]) -> None:
    write(settings.home, "items.csv", ",no identifier", header="id,title")

    def refused() -> bool:
        status = [str(Path(sys.executable).with_name("recsys-assets")), "status"]
        told = subprocess.run(
            status, env=os.environ | home.environment(settings), capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        return "row 1, column id: null: no identifier" in told.stdout and "catalogue_sensor at" in told.stdout

    eventually(refused, what="status names the row of the refused items", every_seconds=1)
