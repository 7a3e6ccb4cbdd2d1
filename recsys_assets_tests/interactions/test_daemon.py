"""Dagster's own daemon over files that are replaced, and that come back: the tables end with what lies there.

Here: a real `dagster-daemon`, its queue and its runs as processes. Not here: what one tick decides (test_catalogue.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.sources import MONDAY, good_rows, settings_with, write
from recsys_assets_tests.waiting import eventually

pytestmark = pytest.mark.slow
ITEMS = {"path": "{home}/items.csv", "id_column": "id", "attributes": {"title": {"column": "title", "kind": "text"}}}


@dataclass(frozen=True)
class Watched:
    """A home that a daemon watches; `tables` are looked at only while it lives."""

    settings: Settings
    daemon: subprocess.Popen[bytes]
    log: Path

    @property
    def tables(self) -> TablesResource:
        assert self.daemon.poll() is None, self.log.read_text()[-2000:]
        return TablesResource.of(self.settings)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One home and one daemon for the tests of this file, which put other files in place one after another."""
    folder = tmp_path_factory.mktemp("watched")
    settings = settings_with(folder, items=ITEMS)
    home.prepare(settings)
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run"]
    command += ["-m", "recsys_assets_tests.interactions.code_location"]
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | home.environment(settings),
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        yield Watched(settings, process, folder / "daemon.log")
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def put_items(watched: Watched, *rows: str) -> None:
    write(watched.settings.home, "items.csv", *rows, header="id,title")


def test_items_and_a_day_that_come_back_are_taken_again(watched: Watched) -> None:
    for count in (3, 4, 3):
        put_items(watched, *(f"x{n},title {n} of {count}" for n in range(count)))
        write(watched.settings.home / "inbox", "2024-01-01.csv", *good_rows(MONDAY, count))

        def taken(count: int = count) -> bool:
            tables, names = watched.tables, ("items", "interactions", "user_features")
            return all(tables.exists(name) and tables.read(name).height == count for name in names)

        eventually(taken, what=f"{count} items, events and users in the tables", every_seconds=0.2)


def test_what_is_not_taken_is_named_by_status(watched: Watched) -> None:
    put_items(watched, ",no identifier")
    eventually(lambda: watched.tables and read_quarantine(watched.settings.home), what="the file in quarantine")

    def named() -> bool:
        status = [str(Path(sys.executable).with_name("recsys-assets")), "status"]
        # Wide: the line holds the folder's name, and where it breaks is another test's affair.
        around = os.environ | home.environment(watched.settings) | {"COLUMNS": "1000"}
        told = subprocess.run(status, env=around, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        return "row 1, column id: null: no identifier" in told.stdout and "catalogue_sensor at" in told.stdout

    # A look is a whole process, and the sensor speaks every five seconds.
    eventually(named, what="status names the row of the refused items", every_seconds=2.5)
