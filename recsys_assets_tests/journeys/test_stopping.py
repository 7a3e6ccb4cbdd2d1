"""The end of the journeys: stopping leaves nothing of the home alive, whatever was killed before.

Here: this one claim. Not here: stacks in trouble (platform/test_stack.py).
"""

from __future__ import annotations

import pytest

from recsys_assets_tests.journeys.dagster_api import DagsterApi
from recsys_assets_tests.journeys.house import Story, processes_of
from recsys_assets_tests.pages.blocks import REPOSITORY
from recsys_assets_tests.pages.plan import WITH_A_STACK
from recsys_assets_tests.pages.reading import give, planned
from recsys_assets_tests.platform.homes import running_programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]


def test_stopping_everything_leaves_no_process_of_the_home(story: Story, running: DagsterApi) -> None:
    assert processes_of(story.settings)
    [command] = [each for each in planned(WITH_A_STACK, "README.md") if each.text.startswith("make down")]
    told = give(command.text, folder=REPOSITORY, **story.settings.environment())
    assert (told.returncode, told.stdout) == (0, "stopped\n")
    assert processes_of(story.settings) == []
    assert running_programs(story.settings) == {}
