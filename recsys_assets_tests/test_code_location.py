"""The code location has one name, whatever starts Dagster: a queued run is looked up by it.

Here: the files that name it, and Dagster's own rule. Not here: a run that is launched and dequeued (journeys).
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.workspace.load_target import (
    ModuleTarget,
    PyProjectFileTarget,
    WorkspaceFileTarget,
    WorkspaceLoadTarget,
)

from recsys_assets.platform.local.programs import DAEMON, WEBSERVER, program
from recsys_assets.rollout.words import LOCATION
from recsys_assets.settings import Settings

REPOSITORY = Path(__file__).parents[1]
STARTS_WITH_A_MODULE = ("helm_values/dagster-user-deployments.yaml", "kind/dagster-user-deployments.yaml")


def read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def of_module(name: str) -> ModuleTarget:
    return ModuleTarget(module_name=name, attribute=None, working_directory=None, location_name=None)


@pytest.mark.parametrize(
    "target",
    [
        of_module("recsys_assets.definitions"),
        WorkspaceFileTarget([str(REPOSITORY / "workspace.yaml")]),
        PyProjectFileTarget(str(REPOSITORY / "pyproject.toml")),
    ],
    ids=["-m recsys_assets.definitions", "-w workspace.yaml", "in the checkout"],
)
def test_dagster_gives_it_the_same_name_however_it_is_pointed_at(target: WorkspaceLoadTarget) -> None:
    assert [origin.location_name for origin in target.create_origins()] == [LOCATION]


@pytest.mark.parametrize("name", [WEBSERVER, DAEMON])
def test_up_starts_it_by_its_module(settings: Settings, name: str) -> None:
    words = list(program(settings, name).command)
    after_m = [following for word, following in pairwise(words) if word == "-m"]
    assert after_m[-1] == LOCATION
    assert "-w" not in words


def test_the_charts_give_it_the_name_that_a_command_in_its_pod_gives() -> None:
    (server,) = read("helm_values/dagster.yaml")["dagsterWebserver"]["workspace"]["servers"]
    assert server["name"] == LOCATION
    for file in STARTS_WITH_A_MODULE:
        (code,) = read(file)["deployments"]
        assert code["codeServerArgs"] == ["-m", LOCATION]


def test_the_project_file_names_no_other() -> None:
    section = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dagster"]
    assert set(section.values()) == {LOCATION}
