"""Programs say UTC in their logs, schedules tick in UTC, and the stack starts in UTC whoever starts it.

Here: what people read of our processes. Not here: what is stored (test_stores.py, test_online_store.py).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

import recsys_assets
from recsys_assets import home
from recsys_assets.definitions import build_defs
from recsys_assets.platform.local.surroundings import let_in
from recsys_assets.settings import Settings
from recsys_assets_tests.time_zones.zones import ASCII_LOCALE, ZONES

PACKAGE = Path(recsys_assets.__file__).parent
LOG_ONE_LINE = """
import logging
from recsys_assets.program_log import start_logging
start_logging()
logging.getLogger("guard").warning("gr\\u00fcn")
"""


@pytest.mark.parametrize("zone", ZONES)
def test_a_line_of_a_programs_log_says_when_in_utc(zone: str) -> None:
    environment = {**os.environ, **ASCII_LOCALE, "TZ": zone}
    before = datetime.now(UTC).replace(microsecond=0)
    command = [sys.executable, "-c", LOG_ONE_LINE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    when, name, level, _ = done.stderr.split(" ", 3)
    assert when.endswith("Z")
    assert before <= datetime.fromisoformat(when) <= datetime.now(UTC)
    assert (name, level) == ("guard", "WARNING")


@pytest.mark.parametrize("zone", ZONES)
def test_the_stack_starts_in_utc_whatever_the_zone_of_its_starter(zone: str, settings: Settings) -> None:
    given = {"TZ": zone, "PGTZ": zone, "PATH": "/bin"}
    assert let_in(given) == {"TZ": "UTC", "PGTZ": "UTC", "PATH": "/bin"}
    assert {name: home.environment(settings)[name] for name in ("TZ", "PGTZ")} == {"TZ": "UTC", "PGTZ": "UTC"}


def test_schedules_and_partitions_are_in_utc(settings: Settings) -> None:
    repository = build_defs(settings).get_repository_def()
    assert {each.name: each.execution_timezone for each in repository.schedule_defs} == {
        "collect_feedback_schedule": "UTC",
        "weekly_drill_schedule": "UTC",
    }
    partitions = {node.partitions_def for node in repository.asset_graph.asset_nodes if node.partitions_def}
    assert {each.timezone for each in partitions if isinstance(each, dg.TimeWindowPartitionsDefinition)} == {"UTC"}


def test_no_moment_of_the_product_is_made_in_local_time() -> None:
    """Ruff's DTZ and the banned calls in pyproject.toml see the rest, where nobody switches them off."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: noqa" for line in text.splitlines() if "noqa: DTZ" in line or "noqa: TID251" in line]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "astimezone":
                found += [] if node.args else [f"{path.name}:{node.lineno}: astimezone() without a zone"]
    assert found == []
