"""Fixtures of the journeys: the story, played once, and after it the stack that runs on the same home.

Here: set-up, taking down, and the order of the tests. Not here: what is played (house.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_assets import home
from recsys_assets.processes import start_everything, stop_everything
from recsys_assets_tests.journeys import town
from recsys_assets_tests.journeys.dagster_api import DagsterApi
from recsys_assets_tests.journeys.house import Story, play

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the quiet home come before those of the running stack, whose sensors go on with the story."""
    ours = [place for place, item in enumerate(items) if HERE in item.path.parents]
    ordered = sorted((items[place] for place in ours), key=lambda item: "running" in getattr(item, "fixturenames", ()))
    for place, item in zip(ours, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="package")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The home after the story. This process works on it until the journeys are over."""
    settings = town.make_settings(tmp_path_factory.mktemp("town"))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in home.environment(settings).items():
            environment.setenv(name, value)
        try:
            yield play(settings)
        finally:
            stop_everything(settings)


@pytest.fixture(scope="package")
def running(story: Story) -> DagsterApi:
    """Everything that `recsys-assets up` starts, on the home of the story. It stops with the story."""
    for _ in start_everything(story.settings):
        pass
    return DagsterApi(story.settings)
