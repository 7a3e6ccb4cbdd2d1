"""A job of days that is started without a day says what to do, and the command that it prints works.

Here: `dagster job execute` as a process. Not here: days that are named (test_assets.py).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets import home
from recsys_assets.resources.tables import TablesResource
from recsys_assets.settings import Settings
from recsys_assets_tests.interactions.harness import Harness
from recsys_assets_tests.interactions.sources import MONDAY, good_rows, settings_with, write


@pytest.mark.parametrize("asset", ["interactions", "user_features", "item_features"])
def test_every_asset_that_is_kept_by_day_asks_for_days_that_it_has(tmp_path: Path, asset: str) -> None:
    harness = Harness(settings_with(tmp_path, start_date="2023-11-05", end_date="2023-12-10"))
    job = harness.defs.resolve_job_def("ingest")
    result = job.execute_in_process(
        instance=harness.instance, asset_selection=[dg.AssetKey(asset)], raise_on_error=False
    )
    (event,) = result.get_step_failure_events()
    assert f"{asset} is kept by day, and this run does not say for which days" in str(event.step_failure_data.error)
    assert '"dagster/asset_partition_range_start": "2023-11-05"' in str(event.step_failure_data.error)
    assert '"dagster/asset_partition_range_end": "2023-12-09"' in str(event.step_failure_data.error)


def execute(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("dagster")), *words]
    return subprocess.run(
        command, env=os.environ | home.environment(settings), capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_command_in_the_message_takes_the_days_in(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    home.prepare(settings)
    for day in range(1, 32):
        name = MONDAY.replace(day=day)
        write(settings.home / "inbox", f"{name}.csv", *good_rows(name))
    refused = execute(settings, "job", "execute", "-m", "recsys_assets.definitions", "-j", "ingest")
    assert refused.returncode == 1
    found = re.search(r"for example: dagster (job execute .*?'\{.*?\}')", refused.stderr + refused.stdout)
    assert found
    done = execute(settings, *shlex.split(found[1]))
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(TablesResource.of(settings).days("user_features")) == 31
