"""Processes that make one home at the same moment all find Dagster's databases whole.

Here: the making, by processes that race. Not here: MLflow's database (test_mlflow_database.py).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from recsys_assets import home
from recsys_assets.settings import Settings

OPEN_AT_ONCE = """
import sys
import dagster as dg
from recsys_assets import home
from recsys_assets.settings import load_settings
settings = load_settings()
print("here", flush=True)
sys.stdin.readline()
home.prepare(settings)
with dg.DagsterInstance.get() as instance:
    print(len(instance.all_instigator_state()), flush=True)
"""
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def _versions(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return int(connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0])


def test_processes_that_make_one_home_at_once_leave_one_version_in_each_database(settings: Settings) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_ONCE],
            env=os.environ | home.environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "here\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        told, errors = racer.communicate()
        assert (racer.returncode, told) == (0, "0\n"), errors
    assert {name: _versions(settings.dagster_home / name) for name in DATABASES} == dict.fromkeys(DATABASES, 1)


def test_a_making_that_was_killed_half_way_is_done_again(settings: Settings) -> None:
    (settings.dagster_home / "schedules").mkdir(parents=True)
    with sqlite3.connect(settings.dagster_home / "schedules" / "schedules.db") as half:
        half.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    home.prepare(settings)
    assert {name: _versions(settings.dagster_home / name) for name in DATABASES} == dict.fromkeys(DATABASES, 1)


def test_a_home_that_is_made_keeps_its_databases(settings: Settings) -> None:
    home.prepare(settings)
    with sqlite3.connect(settings.dagster_home / "schedules" / "schedules.db") as mine:
        mine.execute("CREATE TABLE kept (one INTEGER)")
    home.prepare(settings)
    with sqlite3.connect(settings.dagster_home / "schedules" / "schedules.db") as mine:
        assert mine.execute("SELECT count(*) FROM kept").fetchone() == (0,)
